"""What each frame is told: one prompt, or a mix of two on the way from one keyframe to the next."""

import bisect
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# The share of the next keyframe's prompt, over the time from one to the next, both 0 to 1
MIXINGS: dict[str, Callable[[float], float]] = {
    "linear": lambda time: time,
    "ease": lambda time: time * time * (3 - 2 * time),  # smoothstep
    "hold": lambda time: 0.0,
}


@dataclass(frozen=True)
class Mix:
    """What a frame is told: (1 - share) of one prompt and share of another, 0 <= share < 1."""

    one: str
    other: str
    share: float


@dataclass(frozen=True)
class Stretch:
    """Neighbouring frames that are told the same prompt, or are on the way from the same one to the same other."""

    first: int
    last: int
    mixes: tuple[Mix, ...]

    def __str__(self) -> str:
        frames = f"{self.first}" if self.first == self.last else f"{self.first} to {self.last}"
        start, end = self.mixes[0], self.mixes[-1]
        if start.share == 0:
            return f"{frames}: {start.one}"
        shares = sorted(
            {f"{100 * mix.share:.0f} %": mix.share for mix in (start, end)}.items(), key=lambda pair: pair[1]
        )
        return f"{frames}: {' to '.join(share for share, _ in shares)} of the way from '{start.one}' to '{start.other}'"


def mixes(prompts: Mapping[int, str], frames: int, mixing: str) -> list[Mix]:
    """Return what each of `frames` frames is told.

    Before the first keyframe that is the first one's prompt, after the last the last one's.

    Args:
        prompts: at least one, by the number of their frame, ascending.
        frames: of the clip.
        mixing: one of MIXINGS.
    """
    keyframes = list(prompts)
    return [_mix(prompts, keyframes, frame, MIXINGS[mixing]) for frame in range(frames)]


def _mix(prompts: Mapping[int, str], keyframes: list[int], frame: int, shape: Callable[[float], float]) -> Mix:
    later = bisect.bisect_right(keyframes, frame)
    start, end = keyframes[max(0, later - 1)], keyframes[min(later, len(keyframes) - 1)]
    one, other = prompts[start], prompts[end]
    if one == other or not start < frame < end:
        return Mix(one, one, 0.0)
    share = shape((frame - start) / (end - start))
    return Mix(one, other if share else one, share)


def stretches(told: Sequence[Mix]) -> list[Stretch]:
    """Return the frames of a clip in stretches."""
    found = []
    for _, group in itertools.groupby(enumerate(told), key=lambda pair: (pair[1].one, pair[1].other)):
        numbers, mixed = zip(*group, strict=True)
        found.append(Stretch(numbers[0], numbers[-1], tuple(mixed)))
    return found


def mixed(encoded: Mapping[str, Tensor], told: Sequence[Mix]) -> Tensor:
    """Return one row per frame, (frames, ...), of the prompts' encodings, (1, ...) each."""
    numbers = {prompt: i for i, prompt in enumerate(encoded)}
    table = torch.cat(list(encoded.values()))
    one, other = (
        table[[numbers[name] for name in names]] for names in zip(*((m.one, m.other) for m in told), strict=True)
    )
    shares = torch.tensor([mix.share for mix in told]).to(table)
    return torch.lerp(one, other, shares.view(-1, *[1] * (table.ndim - 1)))


def as_long_as_each_other(encoded: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Repeat the tokens of encodings, (1, tokens, channels), until all have as many.

    Attention to a text that stands there twice is the same as to the text once: the softmax's weights are halved.
    """
    tokens = math.lcm(*(text.shape[1] for text in encoded.values()))
    return {prompt: text.repeat(1, tokens // text.shape[1], 1) for prompt, text in encoded.items()}
