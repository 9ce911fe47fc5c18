"""What boxes look like to a model: the mask of each, and hints for ControlNets."""

import colorsys
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from .boxes import Layout

GOLDEN = 0.618034  # turns the hue so that the next colour is far from all earlier ones
Colour = tuple[float, float, float]


def masks(layout: Layout, frames: int, width: int, height: int) -> Tensor:
    """Return how much of each pixel each box covers, (boxes, frames, height, width), 0 to 1, exactly."""
    return filled(layout.rectangles(frames), width, height)


def hints(
    layout: Layout,
    frames: int,
    width: int,
    height: int,
    kind: str,
    line: float,
    on_frame: Callable[[int, int], None] = lambda done, total: None,
) -> Tensor:
    """Return a ControlNet's hint for each frame, (frames, height, width, 3), RGB in 0 to 1 on black.

    Besides the result it needs the memory of a few frames.

    Args:
        layout: the boxes.
        frames: how many frames, from 0.
        width: of a frame in pixels.
        height: of a frame in pixels.
        kind: one of `HINTS`.
        line: width of lines in pixels; they lie inside of their box.
        on_frame: called with the number of a frame that was drawn, and how many there are.
    """
    pictures = torch.zeros(frames, height, width, 3)
    rectangles = layout.rectangles(frames)
    colours = [colour(layout, i) for i in range(len(layout.boxes))]
    for frame in range(frames):
        drawn = (HINTS[kind](rectangle, width, height, line) for rectangle in rectangles[:, frame])
        if kind == SEGMENTATION:
            _paint(pictures[frame], drawn, colours)
        else:
            pictures[frame] = _united(drawn, width, height)[..., None]
        on_frame(frame, frames)
    return pictures


def colour(layout: Layout, index: int) -> Colour:
    """Return red, green and blue of a box, 0 to 1: its own, or one that differs from its neighbours'."""
    written = layout.boxes[index].colour
    if written:
        red, green, blue = (int(written[i : i + 2], 16) / 255 for i in (1, 3, 5))
        return red, green, blue
    return colorsys.hsv_to_rgb(index * GOLDEN % 1, 0.75, 1.0)


def outline(rectangles: Tensor, width: int, height: int, line: float) -> Tensor:
    """Return how much of each pixel the lines along rectangles' edges cover, (..., height, width), 0 to 1.

    `rectangles` are left, top, right and bottom, (..., 4), as shares; the lines, in pixels, lie inside of them.
    """
    left, top, right, bottom = _pixels(rectangles, width, height)
    inside = _covered(left + line, top + line, right - line, bottom - line, width, height)
    return _covered(left, top, right, bottom, width, height) - inside


def filled(rectangles: Tensor, width: int, height: int, line: float = 0.0) -> Tensor:
    """Return how much of each pixel rectangles, (..., 4) as shares, cover, (..., height, width), 0 to 1."""
    left, top, right, bottom = _pixels(rectangles, width, height)
    return _covered(left, top, right, bottom, width, height)


def scribble(rectangles: Tensor, width: int, height: int, line: float) -> Tensor:
    """Return ellipses in rectangles, (..., 4) as shares, as one would scribble a thing, (..., height, width), 0 to 1.

    They are drawn three lines thick, if the rectangle has room for it.
    """
    left, top, right, bottom = _pixels(rectangles, width, height)
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
    return torch.minimum(drawn, _covered(left, top, right, bottom, width, height))


SEGMENTATION = "segmentation"
HINTS: dict[str, Callable[[Tensor, int, int, float], Tensor]] = {
    "outline": outline,  # white lines along the boxes' edges, as edge and line ControlNets know them
    "filled": filled,
    SEGMENTATION: filled,  # in the boxes' colours
    "scribble": scribble,
}


def _united(drawn: Iterable[Tensor], width: int, height: int) -> Tensor:
    """All that is drawn, (height, width) each, in one picture of that shape."""
    picture = torch.zeros(height, width)
    for part in drawn:
        torch.maximum(picture, part, out=picture)
    return picture


def _paint(picture: Tensor, drawn: Iterable[Tensor], colours: Sequence[Colour]) -> None:
    """Paint what is drawn, (height, width) each, on a picture (height, width, 3); a later one covers an earlier one."""
    for part, colour in zip(drawn, colours, strict=True):
        picture.lerp_(torch.tensor(colour), part[..., None])


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
