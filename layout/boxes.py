"""Boxes over time: the small value that layout nodes hand to each other.

Places and sizes are shares of the picture: x and y, from 0 at its left and top to 1 at its right and bottom, are those
of a box's upper left corner. A layout fits videos of every size, and of every length: a box stays where its last
keyframe has put it.
"""

import bisect
import itertools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

RANGES = {"frame": (0, 4095), "x": (-2.0, 3.0), "y": (-2.0, 3.0), "width": (0.01, 2.0), "height": (0.01, 2.0)}
COLOUR = re.compile(r"#[0-9a-fA-F]{6}")

EASINGS: dict[str, Callable[[float], float]] = {
    "linear": lambda time: time,
    "ease": lambda time: time * time * (3 - 2 * time),  # smoothstep
    "ease in": lambda time: time * time,
    "ease out": lambda time: time * (2 - time),
    "hold": lambda time: 0.0,
}


class LayoutError(ValueError):
    """A layout, or a part of it, does not make sense; `path` are the keys and indices down to what is wrong."""

    def __init__(self, message: str, *path: str | int) -> None:
        super().__init__(message)
        self.path = path


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
            raise LayoutError(f"There is no easing '{self.easing}'. There are: {', '.join(EASINGS)}.", "easing")


@dataclass(frozen=True)
class Box:
    """A named box, the prompt of what is in it, and its keyframes, kept in the order of their frames.

    `colour`, such as "#96053d", is the one it has in segmentation hints; without one it gets one of its own.

    Raises:
        LayoutError: if it has no name or no keyframe, two at one frame, or a colour that is none.
    """

    name: str
    keyframes: tuple[Keyframe, ...]
    prompt: str = ""
    colour: str = ""

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise LayoutError("A box has no name. Give it one, such as 'fox'.", "name")
        if not self.keyframes:
            raise LayoutError(f"The box '{self.name}' has no keyframe. Give it one, for frame 0.", "keyframes")
        if self.colour and not COLOUR.fullmatch(self.colour):
            raise LayoutError(f"'{self.colour}' is no colour. Expected red, green and blue, as '#96053d'.", "colour")
        ordered = tuple(sorted(self.keyframes, key=lambda keyframe: keyframe.frame))
        for one, other in itertools.pairwise(ordered):
            if one.frame == other.frame:
                message = f"The box '{self.name}' has two keyframes at frame {one.frame}. Leave one out."
                raise LayoutError(message, "keyframes")
        object.__setattr__(self, "keyframes", ordered)

    def at(self, frame: float) -> tuple[float, float, float, float]:
        """Return x, y, width and height at a frame; before the first keyframe they are the first one's."""
        later = bisect.bisect_right([keyframe.frame for keyframe in self.keyframes], frame)
        start = self.keyframes[max(0, later - 1)]
        end = self.keyframes[min(later, len(self.keyframes) - 1)]
        length = max(1, end.frame - start.frame)
        share = EASINGS[start.easing](min(1.0, max(0.0, (frame - start.frame) / length)))
        x, y, width, height = (
            one + share * (other - one) for one, other in zip(_place(start), _place(end), strict=True)
        )
        return x, y, width, height


@dataclass(frozen=True)
class Layout:
    """Boxes; a later one is in front of an earlier one.

    Raises:
        LayoutError: if two have the same name.
    """

    boxes: tuple[Box, ...] = ()

    def __post_init__(self) -> None:
        seen = set()
        for i, box in enumerate(self.boxes):
            if box.name in seen:
                message = f"There are two boxes named '{box.name}'. Rename one, or give one box several keyframes."
                raise LayoutError(message, "boxes", i, "name")
            seen.add(box.name)

    def with_keyframe(self, name: str, prompt: str, keyframe: Keyframe) -> "Layout":
        """Return a layout with one more keyframe of a box: a new box, or, where there is one of that name, that one.

        An empty prompt leaves an existing box's as it is.

        Raises:
            LayoutError: if the box has a keyframe at that frame, or another prompt.
        """
        boxes = list(self.boxes)
        for i, box in enumerate(boxes):
            if box.name == name:
                boxes[i] = replace(box, keyframes=(*box.keyframes, keyframe), prompt=_one_prompt(box, prompt))
                return Layout(tuple(boxes))
        return Layout((*boxes, Box(name, (keyframe,), prompt)))

    def rectangles(self, frames: int) -> Tensor:
        """Return left, top, right and bottom of each box in each frame, (boxes, frames, 4), as shares."""
        places = torch.tensor([[box.at(frame) for frame in range(frames)] for box in self.boxes])
        places = places.view(len(self.boxes), frames, 4)
        return torch.cat((places[..., :2], places[..., :2] + places[..., 2:]), dim=-1)


def check_number(name: str, value: Any, least: float, most: float) -> None:
    """Refuse what is no finite number in a range; where the range is of whole numbers, what is not whole."""
    kinds, what = ((int,), "a whole number") if isinstance(least, int) else ((int, float), "a number")
    if type(value) not in kinds or not math.isfinite(value):
        raise LayoutError(f"{name} is {value!r}. Expected {what} from {least:g} to {most:g}.", name)
    if not least <= value <= most:
        raise LayoutError(f"{name} {value:g} is out of range. Expected {least:g} to {most:g}.", name)


def _place(keyframe: Keyframe) -> tuple[float, float, float, float]:
    return keyframe.x, keyframe.y, keyframe.width, keyframe.height


def _one_prompt(box: Box, prompt: str) -> str:
    if box.prompt and prompt and prompt != box.prompt:
        raise LayoutError(
            f"The box '{box.name}' is '{box.prompt}' at one keyframe and '{prompt}' at another. A box has one prompt: "
            "leave it empty at all but the first, or give the second box another name."
        )
    return box.prompt or prompt
