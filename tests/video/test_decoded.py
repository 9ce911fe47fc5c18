"""Frames made when they are asked for: the same as all at once, a few in memory at a time."""

import weakref

import pytest
import torch
from animatelcm.video.decoded import Decoded
from animatelcm.video.frames import VideoError
from animatelcm.video.write import playing_order
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor


def decode(latents: Tensor) -> Tensor:
    """Stands in for a VAE: (frames, 4, 2, 2) to (frames, 2, 2, 3)."""
    return latents[:, :3].movedim(1, -1) * 2


def latents(frames: int) -> Tensor:
    return torch.rand(frames, 4, 2, 2, generator=torch.Generator().manual_seed(0))


@given(st.integers(1, 20), st.integers(1, 6), st.booleans())
def test_frames_are_those_of_decoding_all_at_once(frames: int, at_a_time: int, ping_pong: bool) -> None:
    made = Decoded(latents(frames), decode, at_a_time)
    order = playing_order(len(made), ping_pong)
    assert torch.equal(torch.stack([made[index] for index in order]), decode(latents(frames))[order])
    assert torch.equal(torch.stack(made[:]), decode(latents(frames)))


def test_no_more_than_a_few_are_in_memory() -> None:
    alive: list[weakref.ref[Tensor]] = []

    def counted(some: Tensor) -> Tensor:
        assert len(some) <= 4
        assert not [frames for frames in alive if frames() is not None]
        frames = decode(some)
        alive.append(weakref.ref(frames))
        return frames

    made = Decoded(latents(40), counted)
    for index in range(40):
        made[index]
    assert len(alive) == 10  # each is decoded once


@pytest.mark.parametrize("shape", [(1, 4, 16, 8, 8), (4, 8, 8), (0, 4, 8, 8)])
def test_latents_that_are_not_one_per_frame_are_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(VideoError, match=r"The latent has the shape \(\d, .*Expected one per frame"):
        Decoded(torch.zeros(shape), decode)
