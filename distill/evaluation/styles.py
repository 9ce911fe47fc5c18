"""Whether clips show a style, from pixels: each has a sign that the others lack.

The rim of a shape is as wide as an outline, its core what lies farther in. What styles draw with is bright, or dark on
a white background; a moving shape's front is too, which is less than half of it.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..scenes import LINE, SIZE, STRIPE, STRIPES
from .metrics import VISIBLE, covered

BRIGHT, DARK = 0.98, 0.1
NEAR = 0.35  # RGB distance at which it is the same colour, as the VAE blurs narrow lines
MOST = 0.6  # least share of a rim or core
STRIPED_BELOW = 0.5  # how much of the stripes is coloured, over how much of what is between them is; plainly 1
SHADED_ABOVE = 0.008  # how much farther from bright each row is than the one above it, over the mean; as drawn 0.017


def styled(clips: Tensor, style: str) -> Tensor:
    """For each clip (N, F, 3, 64, 64) in 0..1, whether it is in one of the STYLES but the plain one: (N,) bool."""
    return torch.tensor([_SIGNS[style](_Shape(clip)) for clip in clips])


class _Shape:
    """Of one clip: masks of the shape, its rim and its core, and each pixel's distance from bright and from the ground.

    All are of shape (F, H, W).
    """

    def __init__(self, clip: Tensor) -> None:
        ground = clip[:, :, 0, 0, None, None]
        tone = torch.where(ground.mean(1, keepdim=True) > 0.9, DARK, BRIGHT)
        self.inside = covered(clip) > 0.5
        self.rim = self.inside & ~_eroded(self.inside, round(LINE) - 1)
        self.core = _eroded(self.inside, round(LINE) + 1)
        self.from_bright = (clip - tone).square().sum(1).sqrt()
        self.from_ground = (clip - ground).square().sum(1).sqrt()


def _outlined(shape: _Shape) -> bool:
    return _mean(shape.from_bright < NEAR, shape.rim) > MOST > _mean(shape.from_bright < NEAR, shape.core)


def _hollow(shape: _Shape) -> bool:
    return _mean(shape.from_ground < VISIBLE, shape.core) > MOST


def _striped(shape: _Shape) -> bool:
    stripes = (torch.arange(SIZE) % STRIPES < STRIPE)[:, None]
    on, between = (_mean(shape.from_bright > NEAR, shape.core & rows) for rows in (stripes, ~stripes))
    return on < STRIPED_BELOW * between


def _shaded(shape: _Shape) -> bool:
    coloured = (shape.core & _eroded(shape.from_bright > NEAR, 1)).float()  # not the soft border of the front
    rows = torch.arange(SIZE)[:, None] * coloured
    below = (
        rows - coloured * rows.sum((1, 2), keepdim=True) / coloured.sum((1, 2), keepdim=True).clamp(min=1)
    ).flatten()
    slope = (below * shape.from_bright.flatten()).sum() / below.square().sum().clamp(min=1)
    return bool(slope > SHADED_ABOVE * _mean(shape.from_bright, coloured.bool()))


_SIGNS: dict[str, Callable[[_Shape], bool]] = {
    "outlined": _outlined,
    "hollow": _hollow,
    "striped": _striped,
    "shaded": _shaded,
}


def _eroded(mask: Tensor, pixels: int) -> Tensor:
    return F.max_pool2d((~mask).float()[:, None], 2 * pixels + 1, stride=1, padding=pixels)[:, 0] < 0.5


def _mean(values: Tensor, among: Tensor) -> float:
    return values[among].float().mean().item() if among.any() else 0.0
