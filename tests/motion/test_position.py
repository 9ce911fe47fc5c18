"""The sinusoid equals what AnimateDiff's and diffusers' code builds."""

import math

import pytest
import torch
from animatelcm.motion.position import kept_sinusoid, sinusoid
from diffusers.models.embeddings import SinusoidalPositionalEmbedding


@pytest.mark.parametrize("channels", [32, 320, 640, 1280])
@pytest.mark.parametrize("frames", [1, 24, 32, 64])
def test_equals_diffusers(frames: int, channels: int) -> None:
    theirs = SinusoidalPositionalEmbedding(channels, max_seq_length=frames).pe[0]
    torch.testing.assert_close(sinusoid(frames, channels), theirs, rtol=0, atol=1e-5)  # theirs has float32 angles


def test_is_sine_and_cosine_of_falling_frequencies() -> None:
    encoding = sinusoid(20, 320)
    assert encoding[7, 0].item() == pytest.approx(math.sin(7))
    assert encoding[7, 1].item() == pytest.approx(math.cos(7))
    assert encoding[7, 100].item() == pytest.approx(math.sin(7 / 10000 ** (100 / 320)))


def test_a_shorter_clip_has_the_first_positions_of_a_longer_one() -> None:
    assert torch.equal(sinusoid(8, 64), sinusoid(32, 64)[:8])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_is_rounded_once(dtype: torch.dtype) -> None:
    assert torch.equal(sinusoid(32, 64, dtype), sinusoid(32, 64).to(dtype))


def test_what_a_clip_needs_is_kept_and_what_a_file_may_ask_for_is_not() -> None:
    assert sinusoid(64, 1280) is sinusoid(64, 1280)
    kept = kept_sinusoid.cache_info().currsize
    for frames in range(4000, 4006):
        assert sinusoid(frames, 1280).shape == (frames, 1280)
    assert kept_sinusoid.cache_info().currsize == kept
