"""Weights over the frames and places of a clip: gamma, and the scale of the temporal attention's scores."""

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Weight = float | Tensor
"""One number, or one for each frame and place, (frames, height, width); the last frame's hold on."""


def weight_over(values: float | Sequence[float], mask: Tensor | None = None) -> Weight:
    """Return the product of numbers and masks.

    Args:
        values: one number, or one for each frame.
        mask: one picture, or one for each frame, (frames, height, width), of any size.
    """
    if mask is None and not isinstance(values, Sequence):
        return values
    each = values if isinstance(values, Sequence) else [values]
    numbers = torch.tensor(each, dtype=torch.float32)[:, None, None]
    if mask is None:
        return numbers
    every = range(max(len(numbers), len(mask)))
    return _rows(numbers, every) * _rows(mask.float().cpu(), every)


def of_frames(weight: Weight, numbers: Iterable[int], device: torch.device) -> Weight:
    """Return the weights, (len(numbers), height, width), of the frames of those numbers; a number as it is."""
    return weight if not isinstance(weight, Tensor) else _rows(weight, numbers).to(device)


def at_places(weight: Weight, features: Tensor) -> Weight:
    """Return what weighs features (rows, channels, height, width): (frames, 1, height, width), or one for all."""
    if not isinstance(weight, Tensor) or weight.ndim == 0:
        return weight
    pictures = weight[:, None]
    if weight.shape[1:] != (1, 1):
        pictures = F.interpolate(pictures, features.shape[-2:], mode="bilinear")
    return pictures.to(features.dtype)


def _rows(weight: Tensor, numbers: Iterable[int]) -> Tensor:
    return weight[[min(number, len(weight) - 1) for number in numbers]]
