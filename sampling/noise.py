"""The two streams of random numbers: the noise a sample starts from, and the noise its steps add.

Both are drawn frame by frame on the CPU in float32: a frame's noise is the same on every device and in every version of
ComfyUI, and depends neither on how many frames follow it nor on how the clip is cut into windows.
"""

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor


def initial_noise(shape: Sequence[int], seed: int, numbers: Sequence[int] | None = None) -> Tensor:
    """Return the noise that sampling starts from, (frames, channels, height, width), float32.

    The frames are drawn one after the other from one generator. For sides that are multiples of 16 pixels, KSampler
    draws the same at once.

    Args:
        shape: of the noise.
        seed: of the generator.
        numbers: of the frames, where they are others than 0, 1, 2, ...: a latent's "batch_index".
    """
    numbers = range(shape[0]) if numbers is None else numbers
    generator, wanted = torch.Generator().manual_seed(seed), set(numbers)
    drawn = {}
    for number in range(max(numbers) + 1):
        noise = torch.randn(tuple(shape[1:]), generator=generator)
        if number in wanted:
            drawn[number] = noise
    return torch.stack([drawn[number] for number in numbers])


def step_noise(shape: Sequence[int], seed: int, sigma: float, numbers: Sequence[int] | None = None) -> Tensor:
    """Return the fresh noise of a step to the noise level `sigma`, (frames, channels, height, width), float32."""
    numbers = range(shape[0]) if numbers is None else numbers
    return torch.stack([frame_noise(shape[1:], seed, sigma, number) for number in numbers])


def frame_noise(shape: Sequence[int], seed: int, sigma: float, frame: int) -> Tensor:
    """Return one frame's noise of one step, from a generator of its own: the seed of it hashes all three numbers.

    The level counts, not the number of the step: a sample that is split in two goes on with new noise.
    """
    return torch.randn(tuple(shape), generator=_generator(seed, f"{sigma:.4f}", frame))


def repeated(noise: Tensor, length: int, strength: float) -> Tensor:
    """Return noise, (frames, ...), whose frames from number `length` on repeat the first `length`, again and again.

    What is seen in one window is then seen in the next: FreeNoise's idea (https://arxiv.org/abs/2310.15169), but in the
    same order each time, so that every stretch of `length` frames has every noise once.

    Args:
        noise: standard normal, independent from frame to frame.
        length: in frames.
        strength: 0 to 1, the share of the repeated noise in a frame's variance; at 0 nothing is repeated.
    """
    first, more = noise[:length], noise[length:]
    again = noise[torch.arange(len(noise))[length:] % length]
    return torch.cat((first, math.sqrt(strength) * again + math.sqrt(1 - strength) * more))


def held(noise: Tensor, frames: int) -> Tensor:
    """Return noise, (frames, ...), that changes every so many frames only: it is the first one's of each such group."""
    numbers = torch.arange(len(noise))
    return noise[numbers - numbers % frames]


def _generator(*numbers: object) -> torch.Generator:
    digest = hashlib.blake2b(" ".join(map(str, numbers)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big"))
