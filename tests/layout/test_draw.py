"""Masks and hints: what they cover, to a part of a pixel."""

import colorsys

import pytest
import torch
from animatelcm.layout.boxes import Box, Keyframe, Layout
from animatelcm.layout.draw import HINTS, colour, hints, masks, outline
from torch import Tensor

WIDTH, HEIGHT, FRAMES = 40, 32, 5
EVERY_KIND = pytest.mark.parametrize("kind", HINTS)


def still(x: float, y: float, width: float, height: float, name: str = "box", colour: str = "") -> Box:
    return Box(name, (Keyframe(0, x / WIDTH, y / HEIGHT, width / WIDTH, height / HEIGHT),), colour=colour)


def drawn(kind: str, *boxes: Box, line: float = 2.0) -> Tensor:
    return hints(Layout(boxes), 1, WIDTH, HEIGHT, kind, line)[0]


def test_a_mask_covers_as_much_as_the_box() -> None:
    layout = Layout((Box("box", (Keyframe(0, 0.11, 0.2, 0.31, 0.4), Keyframe(4, 0.63, 0.5, 0.31, 0.4))),))
    covered = masks(layout, FRAMES, WIDTH, HEIGHT)
    assert covered.shape == (1, FRAMES, HEIGHT, WIDTH)
    torch.testing.assert_close(covered.sum((2, 3)), torch.full((1, FRAMES), 0.31 * WIDTH * 0.4 * HEIGHT))


def test_a_pixel_at_the_edge_is_covered_in_part() -> None:
    (mask,) = masks(Layout((still(4.25, 8, 2.5, 1.5),)), 1, WIDTH, HEIGHT)[:, 0]
    torch.testing.assert_close(mask[8:10, 4:7], torch.tensor([[0.75, 1.0, 0.75], [0.375, 0.5, 0.375]]))
    assert mask.sum() == pytest.approx(2.5 * 1.5)


def test_a_box_that_is_outside_in_part_is_cut() -> None:
    (mask,) = masks(Layout((still(-5, 30, 10, 10),)), 1, WIDTH, HEIGHT)[:, 0]
    assert mask.sum() == pytest.approx(5 * 2, abs=1e-4)
    assert mask[30:, :5].eq(1).all()


def test_masks_follow_their_box() -> None:
    layout = Layout((Box("box", (Keyframe(0, 0.0, 0.0, 0.2, 0.25), Keyframe(4, 0.8, 0.75, 0.2, 0.25))),))
    for frame, mask in enumerate(masks(layout, FRAMES, WIDTH, HEIGHT)[0]):
        left, top = 8 * frame, 6 * frame
        torch.testing.assert_close(mask[top : top + 8, left : left + 8], torch.ones(8, 8))


@EVERY_KIND
def test_hints_are_pictures_in_0_to_1(kind: str) -> None:
    layout = Layout((still(4, 5, 20, 20, "a"), still(10, 2, 25, 12, "b")))
    found = hints(layout, FRAMES, WIDTH, HEIGHT, kind, 2.0)
    assert found.shape == (FRAMES, HEIGHT, WIDTH, 3)
    assert found.min() == 0 and 0.9 < found.max() <= 1


@EVERY_KIND
def test_a_layout_without_boxes_is_black(kind: str) -> None:
    assert not hints(Layout(), FRAMES, WIDTH, HEIGHT, kind, 2.0).any()


@EVERY_KIND
def test_nothing_is_drawn_outside_of_the_box(kind: str) -> None:
    found = drawn(kind, still(8, 6, 20, 18))
    found[6:24, 8:28] = 0
    assert not found.any()


def test_an_outline_is_as_wide_as_its_line() -> None:
    found = drawn("outline", still(8, 6, 20, 18), line=3.0)[..., 0]
    expected = torch.zeros(HEIGHT, WIDTH)
    expected[6:24, 8:28] = 1
    expected[9:21, 11:25] = 0
    assert torch.equal(found, expected)


def test_outlines_are_drawn_for_every_rectangle() -> None:
    rectangles = torch.tensor([[0.2, 0.25, 0.6, 0.75], [0.0, 0.0, 1.0, 1.0]])
    found = outline(rectangles, WIDTH, HEIGHT, 2.0)
    torch.testing.assert_close(found.sum((1, 2)), torch.tensor([16 * 16 - 12 * 12.0, 40 * 32 - 36 * 28.0]))


def test_a_line_wider_than_the_box_fills_it() -> None:
    box = still(8, 6, 5, 5)
    assert torch.equal(drawn("outline", box, line=9.0), drawn("filled", box))


def test_a_filled_hint_is_the_union_of_the_masks() -> None:
    boxes = still(4, 5, 20, 20, "a"), still(10, 2, 25, 12, "b")
    union = masks(Layout(boxes), 1, WIDTH, HEIGHT).amax(0)[0]
    assert torch.equal(drawn("filled", *boxes), union[..., None].expand(-1, -1, 3))


def test_a_later_box_is_in_front_in_its_own_colour() -> None:
    found = drawn("segmentation", still(4, 4, 20, 20, "a"), still(10, 10, 20, 20, "b", colour="#96053D"))
    torch.testing.assert_close(found[12, 12], torch.tensor([150, 5, 61]) / 255)
    torch.testing.assert_close(found[5, 5], torch.tensor(colorsys.hsv_to_rgb(0.0, 0.75, 1.0)))


def test_boxes_without_a_colour_get_different_ones() -> None:
    layout = Layout(tuple(still(0, 0, 1, 1, str(i)) for i in range(12)))
    colours = torch.tensor([colour(layout, i) for i in range(12)])
    assert (torch.cdist(colours, colours) + torch.eye(12)).min() > 0.1


def test_a_scribble_is_an_ellipse_with_three_times_the_line() -> None:
    found = drawn("scribble", still(4, 4, 32, 24), line=1.0)[..., 0]
    down, across = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    outer, inner = (torch.hypot((across - 20) / (16 - t), (down - 16) / (12 - t)) for t in (0.0, 3.0))
    ring = (outer < 1) & (inner > 1)
    assert found[ring & (outer < 0.93) & (inner > 1.1)].min() > 0.9
    assert found[(outer > 1.05) | (inner < 0.9)].max() < 0.1
    assert found.sum() == pytest.approx(torch.pi * (16 * 12 - 13 * 9), rel=0.02)
