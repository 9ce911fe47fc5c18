"""Whether clips show a style, from pixels: each has a sign that the others lack.

The rim of a shape is as wide as an outline, its core what lies farther in. What styles draw with is bright, or dark on
a white background; a moving shape's front is too, which is less than half of it.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..scenes import BAND, DOT, LINE, SIZE
from .metrics import VISIBLE, covered

BRIGHT, DARK = 0.98, 0.1
NEAR = 0.35  # RGB distance at which it is the same colour, as the VAE blurs narrow lines
SOFT = 0.1  # radii of the shape on both sides of a dot's edge that do not count
MOST = 0.6  # least share of a rim or core
BANDED, BESIDE = 0.75, 0.85  # least share of a band that is bright, and most of what is beside it
BLACK = 0.4  # most of the brightest of R, G and B; every colour's is 0.67 and more


def styled(clips: Tensor, style: str) -> Tensor:
    """For each clip (N, F, 3, 64, 64) in 0..1, whether it is in one of the STYLES but the plain one: (N,) bool."""
    return torch.tensor([_SIGNS[style](_Shape(clip)) for clip in clips])


class _Shape:
    """Of one clip, (F, H, W) each: masks of the shape and parts of it, and what each pixel is like.

    Attributes:
        rim, core: as wide as an outline, and what lies farther in.
        middle, around: where a dot is, and the rest of the core.
        sides: all that is farther from the middle than a dot, but the edge.
        band: rows (F, H, 1) where a band is.
        from_bright, from_ground: RGB distance to what styles draw with, and to the background.
        brightest: of R, G and B.
    """

    def __init__(self, clip: Tensor) -> None:
        ground = clip[:, :, 0, 0, None, None]
        tone = torch.where(ground.mean(1, keepdim=True) > 0.9, DARK, BRIGHT)
        inside = covered(clip) > 0.5
        self.rim = inside & ~_eroded(inside, round(LINE) - 1)
        self.core = _eroded(inside, round(LINE) + 1)
        from_middle = _from_middle(inside)
        self.middle = self.core & (from_middle < DOT - SOFT)
        self.around = self.core & (from_middle > DOT + SOFT)
        self.sides = _eroded(inside, 1) & (from_middle > DOT + SOFT)
        middle, half_height = _middle(inside.any(2))
        self.band = (((torch.arange(SIZE) - middle).abs() / half_height) < BAND - SOFT)[:, :, None]
        self.from_bright = (clip - tone).square().sum(1).sqrt()
        self.from_ground = (clip - ground).square().sum(1).sqrt()
        self.brightest = clip.amax(1)


def _outlined(shape: _Shape) -> bool:
    return _mean(shape.from_bright < NEAR, shape.rim) > MOST > _mean(shape.from_bright < NEAR, shape.core)


def _hollow(shape: _Shape) -> bool:
    return _mean(shape.from_ground < VISIBLE, shape.core) > MOST


def _banded(shape: _Shape) -> bool:
    """A band is bright in its middle, as the core is not where there is an outline, and at its ends, as no dot is."""
    bright = shape.from_bright < NEAR
    ends, middle, beside = shape.sides & shape.band, shape.core & shape.band, shape.core & ~shape.band
    return min(_mean(bright, ends), _mean(bright, middle)) > BANDED and _mean(bright, beside) < BESIDE


def _dotted(shape: _Shape) -> bool:
    return _mean(shape.brightest < BLACK, shape.middle) > MOST > _mean(shape.brightest < BLACK, shape.around)


_SIGNS: dict[str, Callable[[_Shape], bool]] = {
    "outlined": _outlined,
    "hollow": _hollow,
    "banded": _banded,
    "dotted": _dotted,
}


def _from_middle(mask: Tensor) -> Tensor:
    """How far each pixel is from the middle of the mask's bounding box, in halves of its size: (F, H, W)."""
    x, half_width = _middle(mask.any(1))
    y, half_height = _middle(mask.any(2))
    pixels = torch.arange(SIZE)
    return torch.hypot((pixels - x)[:, None, :] / half_width[:, None], (pixels - y)[:, :, None] / half_height[:, None])


def _middle(profile: Tensor) -> tuple[Tensor, Tensor]:
    """Middle and half length of what is set in each row of (F, N), (F, 1) each; at least one pixel long."""
    pixels = torch.arange(SIZE)
    first, last = torch.where(profile, pixels, SIZE).amin(1), torch.where(profile, pixels, -1).amax(1)
    return (first + last)[:, None] / 2, ((last - first + 1)[:, None] / 2).clamp(min=0.5)


def _eroded(mask: Tensor, pixels: int) -> Tensor:
    return F.max_pool2d((~mask).float()[:, None], 2 * pixels + 1, stride=1, padding=pixels)[:, 0] < 0.5


def _mean(values: Tensor, among: Tensor) -> float:
    return values[among].float().mean().item() if among.any() else 0.0
