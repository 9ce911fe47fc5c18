"""Windows over a long clip: which frames are seen together at a step, and what share each window has in a frame.

A motion module sees one window of frames at a time. Where two windows meet, the movement may break; so where they meet
changes from step to step, and a join of one step is in the middle of a window of the next. What is where is decided in
the first steps: there a window has every n-th frame of the whole clip.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

Window = tuple[int, ...]  # numbers of frames, in their order
FROM_AFAR, MOVING, FIXED, UNIFORM, LOOPED = "from afar", "moving", "fixed", "uniform", "looped uniform"
PYRAMID, FLAT = "pyramid", "flat"
LAYOUTS, WEIGHTS = (FROM_AFAR, MOVING, FIXED, UNIFORM, LOOPED), (PYRAMID, FLAT)


class WindowError(ValueError):
    """Windows that cannot cover a clip."""


@dataclass(frozen=True)
class WindowPlan:
    """How windows are laid over a clip.

    Attributes:
        length: the most frames of a window, at least 2.
        overlap: the frames that two neighbours share, less than the length.
        loop: whether the last frame leads into the first; windows then go over the end.
        layout: "moving" changes where windows meet from step to step; "from afar" does so too, after a first quarter of
            the steps whose windows have every n-th frame; "fixed" does not, and all windows are of the whole length;
            "uniform" adds windows of every 2nd, 4th ... frame up to `stride`, as AnimateDiff's first implementations
            did; "looped uniform" is the same, but goes over the end even where nothing loops.
        stride: for the uniform ones, how many such distances there are: 1 is neighbouring frames only.
        weights: of a frame in its window, "pyramid" (the more the nearer to the middle) or "flat".

    Raises:
        WindowError: if a number is out of its range.
    """

    length: int = 16
    overlap: int = 2
    loop: bool = False
    layout: str = FROM_AFAR
    stride: int = 1
    weights: str = PYRAMID

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.length:
            raise WindowError(
                f"Windows of {self.length} frames cannot overlap by {self.overlap}. Choose an overlap from 0 to "
                f"{self.length - 1}."
            )

    def far_steps(self, frames: int, steps: int) -> int:
        """Return how many of the first steps see a clip of `frames` frames from afar.

        The last step never does, and a loop has no far end to look at.
        """
        if self.layout != FROM_AFAR or self.loop or frames <= self.length or steps < 2:
            return 0
        return max(1, steps // 4)

    def distance(self, frames: int) -> int:
        """Return how many frames are between two of a window that sees the whole of a clip."""
        return -(-frames // self.length)

    def distances(self, frames: int) -> list[int]:
        """Return the distances between frames of uniform windows, without those that make one longer than the clip."""
        return [2**i for i in range(self.stride) if (self.length - 1) * 2**i < frames]


@lru_cache(maxsize=256)
def windows(plan: WindowPlan, frames: int, step: int, steps: int) -> tuple[Window, ...]:
    """Return the windows at a step, counted from 0, of `steps`; each of the clip's frames is in at least one."""
    if frames <= plan.length:
        return (tuple(range(frames)),)
    if plan.layout in (UNIFORM, LOOPED):
        return tuple(_uniform(plan, frames, step))
    if plan.layout == FIXED:
        return tuple(_ring(plan, frames, 0.0) if plan.loop else _whole(plan, frames))
    far = plan.far_steps(frames, steps)
    if step < far:
        return tuple(_far(plan, frames))
    return tuple((_ring if plan.loop else _row)(plan, frames, halving(step - far)))


def shares(windows: Sequence[Window], weights: str) -> list[list[float]]:
    """Return the share of each window in each of its frames: those of a frame add up to 1."""
    raw = [_weights(len(window), weights) for window in windows]
    total: dict[int, float] = {}
    for window, values in zip(windows, raw, strict=True):
        for frame, value in zip(window, values, strict=True):
            total[frame] = total.get(frame, 0.0) + value
    return [
        [value / total[frame] for frame, value in zip(window, values, strict=True)]
        for window, values in zip(windows, raw, strict=True)
    ]


def halving(step: int) -> float:
    """Return 0, 1/2, 1/4, 3/4, 1/8 ...: each as far as can be from all before (van der Corput's sequence)."""
    value, place = 0.0, 0.5
    while step:
        value += place * (step & 1)
        step, place = step >> 1, place / 2
    return value


def _weights(length: int, kind: str) -> list[float]:
    return [1.0] * length if kind == FLAT else [float(min(i + 1, length - i)) for i in range(length)]


def _far(plan: WindowPlan, frames: int) -> list[Window]:
    """Windows of every n-th frame of the clip, side by side."""
    distance = plan.distance(frames)
    return [tuple(range(start, frames, distance)) for start in range(distance)]


def _row(plan: WindowPlan, frames: int, phase: float) -> list[Window]:
    """Windows one after the other, all as long but the first and the last, moved back by a share of one."""
    count = -(-(frames - plan.overlap) // (plan.length - plan.overlap))
    step = (frames - plan.overlap) / count
    edges = [min(max(_rounded((i - phase) * step), 0), frames - plan.overlap) for i in range(count + 1 + (phase > 0))]
    shortest = plan.length // 2  # a motion module knows little of fewer
    found = []
    for start, end in itertools.pairwise(edges):
        stop = max(end + plan.overlap, shortest)
        found.append(tuple(range(min(start, frames - shortest), stop)))
    return found


def _ring(plan: WindowPlan, frames: int, phase: float) -> list[Window]:
    """Windows around a loop, all as long to within a frame, moved on by a share of one."""
    count = -(-frames // (plan.length - plan.overlap))
    shift = round(phase * frames / count)
    edges = [shift + _rounded(i * frames / count) for i in range(count + 1)]
    spans = [range(start, end + plan.overlap) for start, end in itertools.pairwise(edges)]
    return [tuple(frame % frames for frame in span) for span in spans]


def _rounded(position: float) -> int:
    """Round halves up: Python rounds them to even numbers, which may be two apart."""
    return math.floor(position + 0.5)


def _whole(plan: WindowPlan, frames: int) -> list[Window]:
    """Windows of the whole length; the last is moved back to end with the clip."""
    starts = [*range(0, frames - plan.length, plan.length - plan.overlap), frames - plan.length]
    return [tuple(range(start, start + plan.length)) for start in starts]


def _uniform(plan: WindowPlan, frames: int, step: int) -> list[Window]:
    """Windows of neighbouring frames, of every 2nd, 4th ... frame, begun somewhere else at each step."""
    begin, last = round(halving(step) * frames), frames - (0 if plan.loop else plan.overlap)
    found: list[Window] = []
    for distance in plan.distances(frames):
        first, room = begin + int(halving(step) * distance), plan.length * distance - plan.overlap
        starts = range(first, begin + last, room)
        found += [tuple((start + i * distance) % frames for i in range(plan.length)) for start in starts]
    return found if plan.loop or plan.layout == LOOPED else _within(found, plan.length, frames)


def _within(found: list[Window], length: int, frames: int) -> list[Window]:
    """Windows none of which goes over the end: those that did are moved back to end with the clip.

    Where the next window lacks the first frame after the end, neighbouring frames from there on are one more window.
    """
    kept: list[Window] = []
    for window, following in itertools.zip_longest(found, found[1:]):
        over = [other for one, other in itertools.pairwise(window) if other < one]
        if not over:
            kept.append(window)
            continue
        steps = [(frame - window[0]) % frames for frame in window]
        kept.append(tuple(frames - 1 - steps[-1] + step for step in steps))
        if over[0] not in (following or kept[0]):
            kept.append(tuple(range(over[0], over[0] + length)))
    return list(dict.fromkeys(kept))
