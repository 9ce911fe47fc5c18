"""What boxes look like to a model: the mask of each, and hints for ControlNets."""

import colorsys
from collections.abc import Callable

import torch
from torch import Tensor

from .boxes import Layout

GOLDEN = 0.618034  # turns the hue so that the next colour is far from all earlier ones


def masks(layout: Layout, frames: int, width: int, height: int) -> Tensor:
    """Return how much of each pixel each box covers, (boxes, frames, height, width), 0 to 1, exactly."""
    left, top, right, bottom = _pixels(layout.rectangles(frames), width, height)
    return _covered(left, top, right, bottom, width, height)


def outline(rectangles: Tensor, width: int, height: int, line: float) -> Tensor:
    """Return how much of each pixel the lines along rectangles' edges cover, (..., height, width), 0 to 1.

    `rectangles` are left, top, right and bottom, (..., 4), as shares; the lines, in pixels, lie inside of them.
    """
    left, top, right, bottom = _pixels(rectangles, width, height)
    inside = _covered(left + line, top + line, right - line, bottom - line, width, height)
    return _covered(left, top, right, bottom, width, height) - inside


def hints(layout: Layout, frames: int, width: int, height: int, kind: str, line: float) -> Tensor:
    """Return a ControlNet's hint for each frame, (frames, height, width, 3), RGB in 0 to 1 on black.

    Args:
        layout: the boxes.
        frames: how many frames, from 0.
        width: of a frame in pixels.
        height: of a frame in pixels.
        kind: one of `HINTS`.
        line: width of lines in pixels; they lie inside of their box.
    """
    return HINTS[kind](layout, frames, width, height, line)


def colour(layout: Layout, index: int) -> tuple[float, float, float]:
    """Return red, green and blue of a box, 0 to 1: its own, or one that differs from its neighbours'."""
    written = layout.boxes[index].colour
    if written:
        red, green, blue = (int(written[i : i + 2], 16) / 255 for i in (1, 3, 5))
        return red, green, blue
    return colorsys.hsv_to_rgb(index * GOLDEN % 1, 0.75, 1.0)


def outlines(layout: Layout, frames: int, width: int, height: int, line: float) -> Tensor:
    """White lines along the boxes' edges, as edge and line ControlNets know them."""
    return _white(outline(layout.rectangles(frames), width, height, line))


def filled(layout: Layout, frames: int, width: int, height: int, line: float) -> Tensor:
    """White boxes."""
    return _white(masks(layout, frames, width, height))


def segmentation(layout: Layout, frames: int, width: int, height: int, line: float) -> Tensor:
    """Boxes in their colours; a later one covers an earlier one."""
    picture = torch.zeros(frames, height, width, 3)
    for i, mask in enumerate(masks(layout, frames, width, height)):
        picture = torch.lerp(picture, torch.tensor(colour(layout, i)), mask[..., None])
    return picture


def scribbles(layout: Layout, frames: int, width: int, height: int, line: float) -> Tensor:
    """White ellipses in the boxes, as one would scribble a thing: three lines thick, if the box has room for it."""
    left, top, right, bottom = _pixels(layout.rectangles(frames), width, height)
    across = (torch.arange(width) + 0.5 - (left + right)[..., None] / 2)[..., None, :]
    down = (torch.arange(height) + 0.5 - (top + bottom)[..., None] / 2)[..., :, None]
    thickness = torch.minimum(right - left, bottom - top).div(2).clamp(max=3 * line)
    radius_x, radius_y = (
        ((high - low - thickness) / 2)[..., None, None] for low, high in ((left, right), (top, bottom))
    )
    level = torch.hypot(across / radius_x, down / radius_y)
    slope = torch.hypot(across / radius_x**2, down / radius_y**2) / level.clamp(min=1e-6)
    distance = (level - 1).abs() / slope.clamp(min=1e-6)  # in pixels, to first order
    drawn = (thickness[..., None, None] / 2 + 0.5 - distance).clamp(0, 1)
    return _white(torch.minimum(drawn, masks(layout, frames, width, height)))


HINTS: dict[str, Callable[[Layout, int, int, int, float], Tensor]] = {
    "outline": outlines,
    "filled": filled,
    "segmentation": segmentation,
    "scribble": scribbles,
}


def _pixels(rectangles: Tensor, width: int, height: int) -> tuple[Tensor, ...]:
    """Left, top, right and bottom in pixels, (...) each."""
    return (rectangles * torch.tensor([width, height, width, height])).unbind(-1)


def _covered(left: Tensor, top: Tensor, right: Tensor, bottom: Tensor, width: int, height: int) -> Tensor:
    """The share of each pixel that rectangles cover, (..., height, width)."""
    return _between(top, bottom, height)[..., :, None] * _between(left, right, width)[..., None, :]


def _between(low: Tensor, high: Tensor, pixels: int) -> Tensor:
    """The share of each pixel of a row that lies between two places, (..., pixels)."""
    start = torch.arange(pixels, dtype=low.dtype)
    return (torch.minimum(high[..., None], start + 1) - torch.maximum(low[..., None], start)).clamp(0, 1)


def _white(drawn: Tensor) -> Tensor:
    """Of (boxes, frames, height, width), the picture of all, (frames, height, width, 3)."""
    nothing = drawn.new_zeros(1, *drawn.shape[1:])
    return torch.cat((nothing, drawn)).amax(0)[..., None].repeat(1, 1, 1, 3)
