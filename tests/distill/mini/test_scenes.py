"""Scenes: what a seed fixes, what is held out, what stays inside the image, what captions say."""

import pytest
import torch
from animatelcm.distill.mini.scenes import (
    COLOURS,
    FRAMES,
    FRONT,
    LOOKS,
    MOVEMENTS,
    NIGHT,
    SHAPES,
    SIZE,
    boxes,
    caption,
    draw_scenes,
    held_out,
    mirror,
    partial_caption,
    render,
    signed_distance,
    velocity,
)

TIMES = torch.arange(FRAMES, dtype=torch.float32)


def test_a_seed_fixes_the_scenes() -> None:
    assert torch.equal(draw_scenes(20, seed=1).x, draw_scenes(20, seed=1).x)
    assert not torch.equal(draw_scenes(20, seed=1).x, draw_scenes(20, seed=2).x)


def test_about_a_tenth_of_the_combinations_is_held_out() -> None:
    combinations = [(c, s, m) for c in COLOURS for s in SHAPES for m in MOVEMENTS]
    assert 0.05 < sum(held_out(*names) for names in combinations) / len(combinations) < 0.15


def test_training_and_evaluation_share_no_combination() -> None:
    for evaluation in (False, True):
        scenes = draw_scenes(200, seed=6, evaluation=evaluation)
        assert len(scenes) == 200
        for colour, shape, movement in zip(scenes.colour, scenes.shape, scenes.movement, strict=True):
            assert held_out(COLOURS[colour], SHAPES[shape], MOVEMENTS[movement]) == evaluation


def test_a_shape_never_has_the_colour_of_its_background() -> None:
    scenes = draw_scenes(200, seed=7)
    captions = [caption(scenes, i) for i in range(len(scenes))]
    assert not any("blue" in text.split()[2] and "blue background" in text for text in captions)


def test_shapes_stay_inside_the_image() -> None:
    images = render(draw_scenes(50, seed=8), TIMES)
    assert images.shape == (50, FRAMES, 3, SIZE, SIZE)
    corner = images[..., :1, :1]
    for edge in (images[..., 0, :], images[..., -1, :], images[..., 0], images[..., -1]):
        assert torch.allclose(edge, corner[..., 0].expand_as(edge), atol=1e-6)


def test_a_box_touches_the_shape_on_all_sides() -> None:
    scenes = draw_scenes(60, seed=8)
    left, top, right, bottom = (boxes(scenes, TIMES) * SIZE).unbind(-1)
    x, y = (
        getattr(scenes, name)[:, None] + v[:, None] * TIMES
        for name, v in zip("xy", velocity(scenes.movement, scenes.speed), strict=True)
    )
    inside = signed_distance(scenes.shape, x, y, scenes.radius) < 0
    for low, high, covered in ((left, right, inside.any(2)), (top, bottom, inside.any(3))):
        centres = torch.arange(SIZE) + 0.5
        first = torch.where(covered, centres, SIZE).amin(-1)
        last = torch.where(covered, centres, 0.0).amax(-1)
        assert ((first - low > -0.01) & (first - low < 2)).all()  # a corner may lie between two pixels' centres
        assert ((high - last > -0.01) & (high - last < 2)).all()


def test_a_mirrored_scene_is_the_clip_mirrored() -> None:
    scenes = draw_scenes(10, seed=9)
    assert torch.allclose(render(mirror(scenes), TIMES), render(scenes, TIMES).flip(-1), atol=1e-3)


def test_what_moves_has_a_bright_front_and_what_stands_still_has_none() -> None:
    scenes = draw_scenes(60, seed=11)
    clips = render(scenes, TIMES[:1])[:, 0]
    vx, vy = velocity(scenes.movement, torch.ones(60))
    for index, clip in enumerate(clips):
        inside = (signed_distance(scenes.shape, scenes.x[:, None], scenes.y[:, None], scenes.radius) < -2)[index, 0]
        bright = inside & ((clip.amax(0) - clip.amin(0)) < 0.02)  # the one thing without a hue
        if MOVEMENTS[scenes.movement[index]] == "standing still":
            assert not bright.any()
            continue
        sunk = 0.31 * scenes.radius[index] if SHAPES[scenes.shape[index]] == "triangle" else 0
        y, x = (axis + 0.5 for axis in inside.nonzero(as_tuple=True))
        ahead = vx[index] * (x - scenes.x[index]) + vy[index] * (y - scenes.y[index] - sunk)
        begins = FRONT * scenes.radius[index]
        assert bright[inside][ahead > begins + 1].all(), caption(scenes, index)
        assert not bright[inside][ahead < begins - 1].any(), caption(scenes, index)


def test_a_caption_says_everything() -> None:
    words = caption(draw_scenes(1, seed=10), 0)
    assert words.startswith("a ")
    assert words.endswith(" background")


def test_a_tenth_of_the_captions_is_empty_and_movement_can_be_left_out() -> None:
    scenes, generator = draw_scenes(500, seed=11), torch.Generator().manual_seed(0)
    captions = [partial_caption(scenes, i, generator, movement=0.0) for i in range(len(scenes))]
    assert 0.05 < sum(not text for text in captions) / len(captions) < 0.15
    assert not any("moving" in text or "standing" in text for text in captions)


@pytest.mark.parametrize("look", LOOKS)
def test_a_look_changes_shapes_and_the_night_the_ground(look: str) -> None:
    scenes = draw_scenes(20, seed=8)
    plain, drawn = (render(scenes, TIMES[:1], name) for name in ("plain", look))
    outside = signed_distance(scenes.shape, scenes.x[:, None], scenes.y[:, None], scenes.radius)[:, :, None] > 1
    ground = (NIGHT if look == "night" else 1.0) * plain
    torch.testing.assert_close(torch.where(outside, drawn, 0), torch.where(outside, ground, 0))
    assert torch.equal(drawn, plain) == (look == "plain")
    assert drawn.min() >= 0
    assert drawn.max() <= 1
