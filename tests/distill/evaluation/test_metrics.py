"""The measures say of real clips what was asked, and of anything else that it is not."""

import pytest
import torch
from animatelcm.distill.evaluation.metrics import covered, measure, scores
from animatelcm.distill.scenes import COLOURS, DIRECTIONS, FRAMES, SIZE, draw_scenes, render, signed_distance

TIMES = torch.arange(FRAMES, dtype=torch.float32)


@pytest.mark.parametrize("style", ["plain", "hollow"])
def test_real_clips_score_full_marks(style: str) -> None:
    scenes = draw_scenes(40, seed=3)
    found = scores(measure(render(scenes, TIMES, style)), scenes)
    for name in ("colour", "shape", "movement", "one_blob", "coherent"):
        assert found[name].mean() == 1, name
    assert found["flicker"].max() < 0.02


def test_the_speed_is_the_scenes() -> None:
    scenes = draw_scenes(20, seed=6)
    expected = torch.where(scenes.movement < len(DIRECTIONS), scenes.speed, 0.0)
    torch.testing.assert_close(measure(render(scenes, TIMES)).speed, expected, rtol=0, atol=0.05)


def test_a_shape_covers_its_own_pixels() -> None:
    scenes = draw_scenes(8, seed=7)
    for i, clip in enumerate(render(scenes, TIMES[:1])):
        distance = signed_distance(scenes.shape, scenes.x[:, None], scenes.y[:, None], scenes.radius)[i]
        assert ((covered(clip) > 0.5) == (distance < 0)).float().mean() > 0.98


def test_noise_is_no_blob() -> None:
    assert not measure(torch.rand(4, FRAMES, 3, SIZE, SIZE)).one_blob.any()


def test_an_empty_clip_is_no_blob_and_stands_still() -> None:
    shown = measure(torch.full((1, FRAMES, 3, SIZE, SIZE), 0.5))
    assert not shown.one_blob.any()
    assert shown.movement.item() == 8


def test_a_shape_without_a_hue_has_none_of_the_colours() -> None:
    clip = torch.tensor([0.16, 0.31, 0.86])[:, None, None].repeat(1, FRAMES, 1, SIZE, SIZE)  # a blue background
    clip[..., 20:44, 20:44] = 0.98
    assert measure(clip).colour.item() == len(COLOURS)


def test_independent_frames_are_not_coherent() -> None:
    frames = render(draw_scenes(8 * FRAMES, seed=4), torch.zeros(1)).reshape(8, FRAMES, 3, SIZE, SIZE)
    assert not measure(frames).coherent.any()


def test_two_shapes_are_not_one_blob() -> None:
    scenes = draw_scenes(1, seed=5)
    clip = torch.full((1, FRAMES, 3, SIZE, SIZE), 0.5)
    clip[..., 5:25, 5:25] = clip[..., 35:55, 35:55] = 0.9
    assert scores(measure(clip), scenes)["one_blob"].item() == 0
