"""The consistency sampler equals diffusers' LCMScheduler, step by step."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from animatelcm.sampling.consistency import sample_consistency
from animatelcm.sampling.model_sampling import ConsistencySampling
from animatelcm.sampling.noise import initial_noise, step_noise
from animatelcm.sampling.schedule import I2V, T2V, Schedule, step_sigmas, timesteps
from diffusers import LCMScheduler
from torch import Tensor

from ..read_back import ReadBack
from ..relative_error import relative_error

PRESETS = pytest.mark.parametrize("schedule", [T2V, I2V], ids=["t2v", "i2v"])
STEPS = pytest.mark.parametrize("steps", [1, 2, 4, 8])
SHAPE = (3, 4, 8, 8)


def reference(schedule: Schedule, steps: int, strength: float = 1.0) -> LCMScheduler:
    scheduler = LCMScheduler(
        beta_start=schedule.beta_start,
        beta_end=schedule.beta_end,
        beta_schedule=schedule.spacing,
        original_inference_steps=schedule.original_steps,
    )
    scheduler.set_timesteps(steps, strength=strength)
    return scheduler


def predicted_noise(x_t: Tensor, timestep: Tensor | float) -> Tensor:
    """A stand-in for the UNet: any smooth function of the scaled latent and the timestep."""
    return torch.sin(x_t * 1.3) + x_t.roll(1, 0) * 0.5 + float(timestep) / 1000


def denoiser(sampling: ConsistencySampling) -> Callable[..., Tensor]:
    def model(x: Tensor, sigma: Tensor, **extra: Any) -> Tensor:
        eps = predicted_noise(sampling.calculate_input(sigma, x), sampling.timestep(sigma)[0])
        return sampling.calculate_denoised(sigma, eps, x)

    return model


@STEPS
@PRESETS
@pytest.mark.parametrize("strength", [1.0, 0.6, 0.25])
def test_timesteps_and_sigmas_equal_diffusers(schedule: Schedule, steps: int, strength: float) -> None:
    scheduler = reference(schedule, steps, strength)
    assert timesteps(schedule, steps, strength).tolist() == scheduler.timesteps.tolist()
    alpha_bar = scheduler.alphas_cumprod.double()[scheduler.timesteps]
    expected = ((1 - alpha_bar) / alpha_bar).sqrt()
    # diffusers multiplies its thousand alphas in float32: that product, not the formula, is where the two differ
    torch.testing.assert_close(step_sigmas(schedule, steps, strength)[:-1].double(), expected, rtol=1e-5, atol=0)


@STEPS
@PRESETS
@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_a_trajectory_equals_diffusers(
    monkeypatch: pytest.MonkeyPatch, schedule: Schedule, steps: int, strength: float
) -> None:
    clean = torch.zeros(SHAPE) if strength == 1.0 else initial_noise(SHAPE, 5)
    noise = initial_noise(SHAPE, 11)
    sigmas = step_sigmas(schedule, steps, strength)
    fresh = [step_noise(SHAPE, 11, float(sigma)) for sigma in sigmas[1:]]

    scheduler = reference(schedule, steps, strength)
    x_t = noise if strength == 1.0 else scheduler.add_noise(clean, noise, scheduler.timesteps[:1])
    draws = iter(fresh)
    monkeypatch.setattr("diffusers.schedulers.scheduling_lcm.randn_tensor", lambda *args, **kwargs: next(draws))
    for timestep in scheduler.timesteps:
        step = scheduler.step(predicted_noise(x_t, timestep), timestep, x_t)
        x_t = step.prev_sample

    sampling = ConsistencySampling(schedule)
    x = sampling.noise_scaling(sigmas[:1], noise.clone(), clean, max_denoise=strength == 1.0)
    ours = sample_consistency(denoiser(sampling), x, sigmas, {"seed": 11}, disable=True)
    assert relative_error(ours, step.denoised) < 1e-5


def test_a_split_sample_equals_the_whole() -> None:
    def model(x: Tensor, sigma: Tensor, seed: int) -> Tensor:
        return x / (1 + sigma[0])

    sigmas = step_sigmas(T2V, 4)
    x = initial_noise(SHAPE, 0) * sigmas[0]
    options: dict[str, Any] = {"extra_args": {"seed": 3}, "disable": True}
    halfway = sample_consistency(model, x, sigmas[:3], **options)
    whole = sample_consistency(model, x, sigmas, **options)
    assert torch.equal(sample_consistency(model, halfway, sigmas[2:], **options), whole)


def test_every_prediction_is_reported_and_the_last_is_the_result() -> None:
    seen: list[dict[str, Any]] = []
    sigmas = step_sigmas(T2V, 4)
    x = initial_noise(SHAPE, 0) * sigmas[0]
    result = sample_consistency(lambda x, sigma: x / (1 + sigma[0]), x, sigmas, callback=seen.append, disable=True)
    assert [call["i"] for call in seen] == [0, 1, 2, 3]
    assert torch.equal(result, seen[-1]["denoised"])


def test_what_a_callback_raises_stops_before_the_next_prediction() -> None:
    calls = []

    def model(x: Tensor, sigma: Tensor) -> Tensor:
        calls.append(sigma)
        return x

    def interrupt(_: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample_consistency(model, torch.ones(SHAPE), step_sigmas(T2V, 4), callback=interrupt, disable=True)
    assert len(calls) == 1


def test_a_noise_sampler_replaces_the_steps_noise() -> None:
    x = torch.ones(SHAPE)
    sigmas = step_sigmas(T2V, 2)
    clean = sample_consistency(
        lambda x, sigma: x, x, sigmas, noise_sampler=lambda sigma, sigma_next: torch.full(SHAPE, 2.0), disable=True
    )
    assert torch.equal(clean, x + 2.0 * sigmas[1])


def test_no_number_is_read_back_in_a_step() -> None:
    model = denoiser_without_numbers(ConsistencySampling(T2V))
    with ReadBack() as read:
        torch.ones(1).item()
        assert read.count == 1
        sample_consistency(model, initial_noise(SHAPE, 1), step_sigmas(T2V, 8), disable=True)
    assert read.count == 1


def denoiser_without_numbers(sampling: ConsistencySampling) -> Callable[..., Tensor]:
    return lambda x, sigma, **_: sampling.calculate_denoised(sigma, sampling.calculate_input(sigma, x).sin(), x)
