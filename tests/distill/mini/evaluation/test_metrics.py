"""The measures say of real clips what was asked, and of anything else that it is not."""

import pytest
import torch
import torch.nn.functional as F
from animatelcm.distill.mini.evaluation.metrics import covered, edge_width, measure, scores
from animatelcm.distill.mini.scenes import COLOURS, DIRECTIONS, FRAMES, SIZE, draw_scenes, render, signed_distance

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


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_the_blur_of_a_ramp_is_its_width(width: int) -> None:
    ramp = ((torch.arange(SIZE) - 20) / width).clamp(0, 1).expand(FRAMES, SIZE, SIZE)
    assert edge_width(ramp).item() == pytest.approx(width, rel=1e-5)


def test_a_blurred_clip_has_wider_edges() -> None:
    clips = render(draw_scenes(4, seed=8), TIMES)
    blurred = gaussian_blur(clips.flatten(0, 1), sigma=2.0).unflatten(0, clips.shape[:2])
    assert (measure(blurred).blur > 2 * measure(clips).blur).all()


def test_a_drift_of_six_pixels_in_a_clip_stands_still() -> None:
    clip = torch.full((1, FRAMES, 3, SIZE, SIZE), 0.5)
    for frame in range(FRAMES):
        left = 10 + round(frame * 6 / (FRAMES - 1))
        clip[:, frame, 0, 20:40, left : left + 20] = 0.95
    assert measure(clip).movement.item() == len(DIRECTIONS)


def gaussian_blur(images: torch.Tensor, sigma: float) -> torch.Tensor:
    offsets = torch.arange(-6, 7, dtype=torch.float32)
    kernel = torch.softmax(-0.5 * (offsets / sigma) ** 2, 0)
    padded = F.pad(images, (6, 6, 6, 6), mode="replicate")
    weights = (kernel[:, None] * kernel).expand(3, 1, 13, 13)
    return F.conv2d(padded, weights, groups=3)
