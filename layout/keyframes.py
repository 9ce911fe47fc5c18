"""One place of a box at one moment, and the way from there to the next.

Places and sizes are shares of the picture: x and y, from 0 at its left and top to 1 at its right and bottom, are those
of a box's upper left corner. A layout fits videos of every size, and of every length: a box stays where its last
keyframe has put it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from reprlib import repr as short
from typing import Any

import torch
from torch import Tensor

from .errors import LayoutError

RANGES = {"frame": (0, 4095), "x": (-2.0, 3.0), "y": (-2.0, 3.0), "width": (0.01, 2.0), "height": (0.01, 2.0)}

# From the share of the time between two keyframes that has passed, 0 to 1, to the share of the way
EASINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda time: time,
    "ease": lambda time: time * time * (3 - 2 * time),  # smoothstep
    "ease in": lambda time: time * time,
    "ease out": lambda time: time * (2 - time),
    "hold": torch.zeros_like,
}


@dataclass(frozen=True)
class Keyframe:
    """Where a box is at a frame, counted from 0, and the easing with which it leaves for the next keyframe.

    Raises:
        LayoutError: if a number is out of its range, or there is no such easing.
    """

    frame: int
    x: float
    y: float
    width: float
    height: float
    easing: str = "linear"

    def __post_init__(self) -> None:
        for name, (least, most) in RANGES.items():
            check_number(name, getattr(self, name), least, most)
        if self.easing not in EASINGS:
            raise LayoutError(f"There is no easing {short(self.easing)}. There are: {', '.join(EASINGS)}.", "easing")


def places(keyframes: Sequence[Keyframe], frames: Tensor) -> Tensor:
    """Return x, y, width and height at `frames`, (N,) and float64, as (N, 4).

    `keyframes`, one at least, are in the order of their frames; before the first the place is the first one's.
    """
    moments = torch.tensor([keyframe.frame for keyframe in keyframes], dtype=torch.float64)
    written = torch.tensor([[k.x, k.y, k.width, k.height] for k in keyframes], dtype=torch.float64)
    easings = torch.tensor([list(EASINGS).index(keyframe.easing) for keyframe in keyframes])
    later = torch.searchsorted(moments, frames, right=True)
    start, end = (later - 1).clamp(min=0), later.clamp(max=len(keyframes) - 1)
    time = ((frames - moments[start]) / (moments[end] - moments[start]).clamp(min=1)).clamp(0, 1)
    shares = torch.stack([ease(time) for ease in EASINGS.values()])
    share = shares.gather(0, easings[start][None])[0, :, None]
    return written[start] + share * (written[end] - written[start])


def check_number(name: str, value: Any, least: float, most: float) -> None:
    """Refuse what is no finite number in a range; where the range is of whole numbers, what is not whole."""
    kinds, what = ((int,), "a whole number") if isinstance(least, int) else ((int, float), "a number")
    if type(value) not in kinds or not math.isfinite(value):
        raise LayoutError(f"{name} is {short(value)}. Expected {what} from {least:g} to {most:g}.", name)
    if not least <= value <= most:
        raise LayoutError(f"{name} {value:g} is out of range. Expected {least:g} to {most:g}.", name)
