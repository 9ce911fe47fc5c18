"""Boxes over time: the small value that layout nodes hand to each other."""

import itertools
import re
from dataclasses import dataclass, replace
from reprlib import repr as short

import torch
from torch import Tensor

from .errors import LayoutError
from .keyframes import Keyframe, places

COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
MOST_BOXES = 1000


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
            raise LayoutError(f"The box {short(self.name)} has no keyframe. Give it one, for frame 0.", "keyframes")
        if self.colour and not COLOUR.fullmatch(self.colour):
            raise LayoutError(
                f"{short(self.colour)} is no colour. Expected red, green and blue, as '#96053d'.", "colour"
            )
        ordered = tuple(sorted(self.keyframes, key=lambda keyframe: keyframe.frame))
        for one, other in itertools.pairwise(ordered):
            if one.frame == other.frame:
                message = f"The box {short(self.name)} has two keyframes at frame {one.frame}. Leave one out."
                raise LayoutError(message, "keyframes")
        object.__setattr__(self, "keyframes", ordered)

    def at(self, frame: float) -> tuple[float, float, float, float]:
        """Return x, y, width and height at a frame; before the first keyframe they are the first one's."""
        x, y, width, height = places(self.keyframes, torch.tensor([frame], dtype=torch.float64))[0].tolist()
        return x, y, width, height


@dataclass(frozen=True)
class Layout:
    """Boxes; a later one is in front of an earlier one.

    Raises:
        LayoutError: if two have the same name, or there are more than `MOST_BOXES`.
    """

    boxes: tuple[Box, ...] = ()

    def __post_init__(self) -> None:
        check_count(len(self.boxes))
        seen = set()
        for i, box in enumerate(self.boxes):
            if box.name in seen:
                message = f"There are two boxes named {short(box.name)}. Rename one, or give one box several keyframes."
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
        moments = torch.arange(frames, dtype=torch.float64)
        if not self.boxes:
            return torch.zeros(0, frames, 4)
        corner, size = torch.stack([places(box.keyframes, moments) for box in self.boxes]).float().split(2, dim=-1)
        return torch.cat((corner, corner + size), dim=-1)


def check_count(boxes: int) -> None:
    """Refuse more boxes than any picture shows."""
    if boxes > MOST_BOXES:
        raise LayoutError(f"The layout has {boxes} boxes. It may have {MOST_BOXES} at most: leave some out.", "boxes")


def _one_prompt(box: Box, prompt: str) -> str:
    if box.prompt and prompt and prompt != box.prompt:
        raise LayoutError(
            f"The box {short(box.name)} is {short(box.prompt)} at one keyframe and {short(prompt)} at another. "
            "A box has one prompt: leave it empty at all but the first, or give the second box another name."
        )
    return box.prompt or prompt
