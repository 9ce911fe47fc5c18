"""The ground truth from pixels: what a clip shows, measured without any learned judge.

The background is the median of a frame's border; what differs from it is the shape. Measured for clips of shape
(N, F, 3, H, W) in 0..1, one value per clip.
"""

import math
from dataclasses import dataclass, fields

import torch
from scipy import ndimage
from torch import Tensor

from ..scenes import COLOURS, DIRECTIONS, PALETTE, SHAPES, Scenes

VISIBLE = 0.2  # RGB distance from the background; the closest colour of the palette is at 0.45
STILL_BELOW = 0.5  # pixels per frame, half of the slowest scene's: a drift is no movement
COHERENT_BELOW = 2.0  # pixels that the centre may stray from a straight, even path (root mean square)
# A circle covers 0.79 of its bounding box, a square all of it; a triangle's rows have a skewness of -0.57, the others
# none. The VAE rounds corners: the limits leave more room on their side.
SQUARE_ABOVE = 0.84
TRIANGLE_BELOW = -0.2
SMALLEST = 60  # pixels of a shape


@dataclass(frozen=True)
class Measurement:
    """What clips show; every field is a tensor of shape (N,).

    Attributes:
        colour: index into COLOURS, or their count for a shape without a hue.
        shape: index into SHAPES.
        movement: index into DIRECTIONS, or their count for a shape that stands still.
        speed: in pixels per frame.
        one_blob: every frame shows one connected shape.
        coherent: the centre moves evenly on a straight line.
        flicker: standard deviation of the area over its mean.
        blur: width of the shape's edge in pixels; about 1 as drawn.
    """

    colour: Tensor
    shape: Tensor
    movement: Tensor
    speed: Tensor
    one_blob: Tensor
    coherent: Tensor
    flicker: Tensor
    blur: Tensor


def measure(clips: Tensor) -> Measurement:
    """Measure one clip after the other: (N, F, 3, H, W) in 0..1."""
    rows = [_measure(clip) for clip in clips]
    return Measurement(*(torch.stack(column) for column in zip(*rows, strict=True)))


def covered(clip: Tensor) -> Tensor:
    """How much of each pixel the shape covers, (F, H, W) in 0..1, of one clip (F, 3, H, W)."""
    distance, _, contrast = _distance(clip)
    return _filled((distance / contrast).clamp(0, 1))


def scores(shown: Measurement, asked: Scenes) -> dict[str, Tensor]:
    """For each clip, whether it shows what was asked: (N,) each, 0 or 1 (speed, flicker and blur are sizes)."""
    matches = {name: getattr(shown, name) == getattr(asked, name) for name in ("colour", "shape", "movement")}
    plain = {field.name: getattr(shown, field.name) for field in fields(shown) if field.name not in matches}
    return {name: value.float() for name, value in (matches | plain).items()}


def _measure(clip: Tensor) -> tuple[Tensor, ...]:
    coloured, cover = _distance(clip)[1], covered(clip)
    area = cover.sum((1, 2))
    movement, speed, straying = _path(cover, area)
    return (
        _colour(coloured),
        _shape(cover, area),
        movement,
        speed,
        torch.tensor(all(_is_one_blob(frame) for frame in cover > 0.5)),
        straying < COHERENT_BELOW,
        area.std() / area.mean().clamp(min=1),
        edge_width(cover),
    )


def edge_width(cover: Tensor) -> Tensor:
    """Mean width of the edges of what covers pixels (F, H, W) in 0..1, in pixels; 0 where there is no edge.

    Across an edge of width w, the slope is 1 / w along w pixels: the sum of slopes over the sum of their squares is w.
    """
    slope = torch.hypot(cover.diff(dim=-1)[:, :-1], cover.diff(dim=-2)[..., :-1])
    return slope.sum() / slope.square().sum().clamp(min=1e-6)


def _distance(clip: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How far each pixel is from its frame's background (F, H, W), those (P, 3) that differ and have a hue, and how far
    most of what differs is."""
    border = torch.cat([clip[:, :, 0], clip[:, :, -1], clip[:, :, :, 0], clip[:, :, :, -1]], dim=2)
    background = border.median(dim=2).values
    distance = (clip - background[:, :, None, None]).square().sum(1).sqrt()
    visible = distance > VISIBLE
    coloured = visible & (clip.amax(1) - clip.amin(1) > VISIBLE)  # a bright front is not
    pixels = clip.permute(0, 2, 3, 1)[coloured]
    contrast = distance[visible].quantile(0.25) if visible.any() else torch.tensor(VISIBLE)
    return distance * (distance > VISIBLE / 2), pixels, contrast


def _colour(pixels: Tensor) -> Tensor:
    """The nearest one to the median pixel, (P, 3), in full light: what lies in shadow has the same colour."""
    if not len(pixels):
        return torch.tensor(len(COLOURS))
    palette = _lit(torch.tensor([PALETTE[name] for name in COLOURS]))
    return (palette - _lit(pixels).median(dim=0).values).square().sum(1).argmin()


def _lit(colours: Tensor) -> Tensor:
    return colours / colours.amax(1, keepdim=True)


def _shape(cover: Tensor, area: Tensor) -> Tensor:
    """By the share of the bounding box that is covered, and by how bottom-heavy it is; the median over frames."""
    area = area.clamp(min=1)
    fill = area / (cover.amax(1).sum(1) * cover.amax(2).sum(1)).clamp(min=1)
    rows, y = cover.sum(2), torch.arange(cover.shape[1]) + 0.5
    from_centre = y - ((rows * y).sum(1) / area)[:, None]
    second, third = ((rows * from_centre**power).sum(1) / area for power in (2, 3))
    if (third / second.clamp(min=1e-3) ** 1.5).median() < TRIANGLE_BELOW:
        return torch.tensor(SHAPES.index("triangle"))
    return torch.tensor(SHAPES.index("square" if fill.median() > SQUARE_ABOVE else "circle"))


def _filled(cover: Tensor) -> Tensor:
    """Fill what is enclosed along rows and along columns, so that an outline counts as its shape: (F, H, W)."""

    def along(dim: int) -> Tensor:
        forth = cover.cummax(dim).values
        back = cover.flip(dim).cummax(dim).values.flip(dim)
        return torch.minimum(forth, back)

    return torch.minimum(along(1), along(2))


def _path(cover: Tensor, area: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Direction and size of the least-squares velocity of the centre, and how far the centre strays from that path."""
    pixels = torch.arange(cover.shape[-1]) + 0.5
    weight = area.clamp(min=1e-3)
    centre = torch.stack([(cover.sum(1) * pixels).sum(1) / weight, (cover.sum(2) * pixels).sum(1) / weight], dim=1)
    time = torch.arange(len(cover)) - (len(cover) - 1) / 2
    centred = centre - centre.mean(0)
    vx, vy = velocity = (time[:, None] * centred).sum(0) / time.square().sum()
    straying = (centred - time[:, None] * velocity).square().sum(1).mean().sqrt()
    if velocity.norm() < STILL_BELOW:
        return torch.tensor(len(DIRECTIONS)), velocity.norm(), straying
    return (torch.atan2(-vy, vx) / (math.pi / 4)).round().long() % len(DIRECTIONS), velocity.norm(), straying


def _is_one_blob(mask: Tensor) -> bool:
    labels, count = ndimage.label(mask.numpy())
    sizes = [int((labels == i + 1).sum()) for i in range(count)]
    return bool(sizes) and SMALLEST <= max(sizes) < mask.numel() / 2 and max(sizes) > 0.95 * sum(sizes)
