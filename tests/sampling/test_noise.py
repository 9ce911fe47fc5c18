"""Random numbers: reproducible per frame, and in two streams."""

import pytest
import torch
from animatelcm.sampling.noise import frame_noise, held, initial_noise, repeated, step_noise
from hypothesis import given, settings
from hypothesis import strategies as st

seeds = st.integers(0, 2**64 - 1)
lengths = st.integers(1, 20)


def test_initial_noise_is_ksamplers() -> None:
    import comfy.sample

    expected = comfy.sample.prepare_noise(torch.zeros(16, 4, 64, 64), 42)
    assert torch.equal(initial_noise((16, 4, 64, 64), 42), expected)


@pytest.mark.parametrize("numbers", [[4, 5, 6], [2, 2, 2], [3, 0, 3]])
def test_frames_have_the_noise_of_their_numbers(numbers: list[int]) -> None:
    """A latent's "batch_index", for which ComfyUI's samplers draw the same."""
    import comfy.sample

    shape = (3, 4, 64, 64)
    assert torch.equal(initial_noise(shape, 42, numbers), comfy.sample.prepare_noise(torch.zeros(shape), 42, numbers))
    assert torch.equal(step_noise(shape, 42, 1.0, numbers), step_noise((7, *shape[1:]), 42, 1.0)[numbers])


@given(seeds, lengths, lengths)
@settings(max_examples=20, deadline=None)
def test_noise_of_a_frame_does_not_depend_on_the_frames_after_it(seed: int, short: int, more: int) -> None:
    for noise in (initial_noise, lambda shape, seed: step_noise(shape, seed, 1)):
        assert torch.equal(noise((short + more, 4, 8, 8), seed)[:short], noise((short, 4, 8, 8), seed))


@given(seeds, st.floats(0.01, 15), lengths, st.data())
@settings(max_examples=20, deadline=None)
def test_step_noise_of_a_window_is_the_clips(seed: int, sigma: float, frames: int, data: st.DataObject) -> None:
    clip = step_noise((frames, 4, 8, 8), seed, sigma)
    frame = data.draw(st.integers(0, frames - 1))
    assert torch.equal(clip[frame], frame_noise((4, 8, 8), seed, sigma, frame))


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_every_seed_level_frame_and_stream_has_noise_of_its_own(seed: int) -> None:
    shape = (3, 4, 8, 8)
    streams = (initial_noise(shape, seed), step_noise(shape, seed, 0), step_noise(shape, seed, 1))
    frames = torch.cat([*streams, step_noise(shape, (seed + 1) % 2**64, 0)]).flatten(1)
    likeness = torch.corrcoef(frames) - torch.eye(len(frames))
    assert likeness.abs().max() < 0.35  # 256 numbers each: standard deviation 1/16


def test_noise_is_standard_normal() -> None:
    noise = step_noise((64, 4, 32, 32), 7, 2)
    assert abs(noise.mean()) < 0.01
    assert abs(noise.std() - 1) < 0.01


# Noise that repeats


@given(seeds, lengths, lengths, st.integers(2, 8), st.integers(1, 4), st.floats(0, 1))
@settings(max_examples=20, deadline=None)
def test_repeated_noise_of_a_frame_does_not_depend_on_the_frames_after_it(
    seed: int, short: int, more: int, length: int, apart: int, strength: float
) -> None:
    clip = initial_noise((short + more, 4, 2, 2), seed)
    whole, part = (repeated(held(noise, apart), length, strength) for noise in (clip, clip[:short]))
    assert torch.equal(whole[:short], part)


@given(st.integers(1, 40), st.integers(2, 16))
def test_every_stretch_has_every_noise_once(start: int, length: int) -> None:
    numbers = repeated(torch.arange(80.0)[:, None], length, 1.0)[:, 0]
    assert sorted(numbers[start : start + length].tolist()) == list(range(length))


def test_held_noise_changes_every_so_many_frames() -> None:
    assert held(torch.arange(10)[:, None], 4)[:, 0].tolist() == [0, 0, 0, 0, 4, 4, 4, 4, 8, 8]


def test_at_strength_0_nothing_repeats() -> None:
    noise = initial_noise((40, 4, 2, 2), 5)
    assert torch.equal(repeated(noise, 16, 0.0), noise)


def test_repeated_noise_is_standard_normal_at_every_strength() -> None:
    noise = repeated(initial_noise((64, 4, 64, 64), 7), 16, 0.5)
    assert abs(noise[16:].mean()) < 0.01
    assert abs(noise[16:].std() - 1) < 0.01
