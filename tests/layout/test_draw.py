"""Masks and hints: what they cover, to a part of a pixel."""

import colorsys

import pytest
import torch
from animatelcm.layout.boxes import Box, Layout
from animatelcm.layout.draw import HINTS, colour, hints, masks, outline
from animatelcm.layout.keyframes import Keyframe
from hypothesis import given
from hypothesis import strategies as some
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


def overlap(low: float, high: float, start: float, end: float) -> float:
    return float(max(0, min(high, end) - max(low, start)))


@given(*(some.floats(low, high) for low, high in ((-2, 3), (-2, 3), (0.01, 2), (0.01, 2))))
def test_every_pixel_is_covered_by_the_area_that_the_box_has_in_it(
    x: float, y: float, width: float, height: float
) -> None:
    """To 1e-4 of a pixel: places are float32, up to 5 times the picture's size."""
    found = masks(Layout((Box("box", (Keyframe(0, x, y, width, height),)),)), 1, 7, 5)[0, 0]
    sides = [[overlap(7 * x, 7 * (x + width), i, i + 1) for i in range(7)]]
    sides += [[overlap(5 * y, 5 * (y + height), i, i + 1) for i in range(5)]]
    across, down = (torch.tensor(side) for side in sides)
    torch.testing.assert_close(found, torch.outer(down, across), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("box", "area"),
    [
        ((-20, -20, 70, 60), WIDTH * HEIGHT),
        ((38.5, -3, 10, 10), 1.5 * 7),
        ((-10, 4, 10, 10), 0),
        ((4, 32, 10, 10), 0),
        ((40, 32, 10, 10), 0),
    ],
)
def test_what_is_outside_of_the_picture_covers_nothing(box: tuple[float, ...], area: float) -> None:
    found = masks(Layout((still(*box),)), 1, WIDTH, HEIGHT)
    assert found.min() >= 0 and found.max() <= 1
    assert found.sum() == pytest.approx(area, abs=1e-3)


def test_masks_follow_their_box() -> None:
    layout = Layout((Box("box", (Keyframe(0, 0.0, 0.0, 0.2, 0.25), Keyframe(4, 0.8, 0.75, 0.2, 0.25))),))
    for frame, mask in enumerate(masks(layout, FRAMES, WIDTH, HEIGHT)[0]):
        left, top = 8 * frame, 6 * frame
        torch.testing.assert_close(mask[top : top + 8, left : left + 8], torch.ones(8, 8))
        assert mask.sum() == pytest.approx(8 * 8, abs=1e-3)


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
@pytest.mark.parametrize("line", [0.5, 2.0, 3.0])
@pytest.mark.parametrize("box", [(8, 6, 20, 18), (2, 3, 36, 24), (10, 4, 18, 26)])
def test_nothing_is_drawn_outside_of_the_box(kind: str, line: float, box: tuple[int, int, int, int]) -> None:
    x, y, width, height = box
    found = drawn(kind, still(*box), line=line)
    assert found[y : y + height, x : x + width].any()
    found[y : y + height, x : x + width] = 0
    assert not found.gt(1e-5).any()  # places are float32


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


@pytest.mark.parametrize("line", [0.5, 1.0, 2.25, 8.0])
def test_an_outlines_area_is_its_lines(line: float) -> None:
    found = drawn("outline", still(8.25, 6.5, 20, 18), line=line)[..., 0]
    assert found.sum() == pytest.approx(20 * 18 - (20 - 2 * line) * (18 - 2 * line), abs=1e-2)


def test_an_outline_is_cut_where_the_picture_ends() -> None:
    found = drawn("outline", still(-5, 6, 20, 40), line=2.0)[..., 0]
    expected = torch.zeros(HEIGHT, WIDTH)
    expected[6:, :15] = 1
    expected[8:, :13] = 0
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


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


def test_the_edge_of_a_box_in_front_is_mixed_with_what_is_behind_it() -> None:
    boxes = still(0, 0, 40, 32, "a", "#ff0000"), still(8.75, 8, 10, 10, "b", "#0000ff")
    torch.testing.assert_close(drawn("segmentation", *boxes)[12, 8], torch.tensor([0.75, 0.0, 0.25]))


def test_a_colour_is_as_it_is_written() -> None:
    layout = Layout((still(0, 0, 1, 1, "a", "#96053d"), still(0, 0, 1, 1, "b", "#00FF80")))
    assert colour(layout, 0) == (150 / 255, 5 / 255, 61 / 255)
    assert colour(layout, 1) == (0.0, 1.0, 128 / 255)


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


@pytest.mark.parametrize(("width", "height", "line"), [(4, 4, 2.0), (6, 30, 2.0), (38, 8, 1.0), (1.5, 1.5, 9.0)])
def test_a_scribble_stays_in_a_box_too_small_for_its_line(width: float, height: float, line: float) -> None:
    box = still(1, 1, width, height)
    found = drawn("scribble", box, line=line)
    assert found.sum() > 0
    assert (found <= drawn("filled", box) + 1e-6).all()
