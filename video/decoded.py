"""Frames that are made from latents when they are asked for: a long video never lies in memory as a whole."""

from collections.abc import Callable, Sequence
from typing import overload

from torch import Tensor

from .frames import VideoError

AT_A_TIME = 4  # a VAE takes some hundred times the memory of a frame to decode it


class Decoded(Sequence[Tensor]):
    """The frames of latents, decoded a few at a time; those last asked for are kept.

    Args:
        latents: (frames, channels, height, width).
        decode: makes of some of them (frames, height, width, 3), 0 to 1.
        at_a_time: how many are decoded together.

    Raises:
        VideoError: if the latents are not one per frame.
    """

    def __init__(self, latents: Tensor, decode: Callable[[Tensor], Tensor], at_a_time: int = AT_A_TIME) -> None:
        if latents.ndim != 4 or not len(latents):
            raise VideoError(
                f"The latent has the shape {tuple(latents.shape)}. Expected one per frame: (frames, channels, height "
                "/ 8, width / 8), as 'Empty AnimateLCM Latent' and the samplers behind it make them."
            )
        self._latents = latents
        self._decode = decode
        self._at_a_time = at_a_time
        self._kept: tuple[int, Tensor] | None = None

    def __len__(self) -> int:
        return len(self._latents)

    @overload
    def __getitem__(self, index: int) -> Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> list[Tensor]: ...
    def __getitem__(self, index: int | slice) -> Tensor | list[Tensor]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        first = index // self._at_a_time * self._at_a_time
        if self._kept is None or self._kept[0] != first:
            self._kept = None  # before the next ones are made
            self._kept = (first, self._decode(self._latents[first : first + self._at_a_time]))
        return self._kept[1][index - first]
