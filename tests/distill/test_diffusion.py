"""Training's own samplers equal diffusers' schedulers, and its loss the error of v."""

import pytest
import torch
from animatelcm.distill.diffusion import (
    BASE,
    LATENT_RANGE,
    MOTION,
    add_noise,
    alpha_bar_at,
    ddim,
    denoising_loss,
    guided,
    lcm,
    predicted_x0,
)
from animatelcm.sampling.schedule import Schedule
from diffusers import DDIMScheduler, LCMScheduler
from torch import Tensor

from ..relative_error import relative_error

SHAPE = (2, 16, 4, 8, 8)


def betas(schedule: Schedule) -> dict[str, object]:
    return {
        "beta_start": schedule.beta_start,
        "beta_end": schedule.beta_end,
        "beta_schedule": schedule.spacing,
    }


def model(x: Tensor, timestep: Tensor) -> Tensor:
    """Some prediction that depends on both."""
    return 0.8 * x + 0.1 * (timestep.view(-1, *[1] * (x.ndim - 1)) / 1000)


def start() -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("schedule", [BASE, MOTION], ids=["base", "motion"])
@pytest.mark.parametrize("steps", [1, 4, 25])
def test_ddim_equals_diffusers(schedule: Schedule, steps: int) -> None:
    scheduler = DDIMScheduler(
        **betas(schedule), clip_sample=True, clip_sample_range=LATENT_RANGE, timestep_spacing="trailing"
    )
    scheduler.set_timesteps(steps)
    x = start()
    for t in scheduler.timesteps:
        x = scheduler.step(model(x, t), t, x, use_clipped_model_output=True).prev_sample
    assert relative_error(ddim(model, start(), schedule, steps), x) < 1e-4


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
def test_lcm_equals_diffusers(steps: int) -> None:
    scheduler = LCMScheduler(**betas(MOTION), original_inference_steps=MOTION.original_steps, clip_sample=False)
    scheduler.set_timesteps(steps)
    x, generator = start(), torch.Generator().manual_seed(1)
    for t in scheduler.timesteps:
        x = scheduler.step(model(x, t), t, x, generator=generator).prev_sample
    ours = lcm(model, start(), MOTION, steps, torch.Generator().manual_seed(1))
    assert relative_error(ours, x) < 1e-4


def test_noising_is_undone_by_the_noise() -> None:
    x0, noise = start(), torch.randn(SHAPE)
    alpha_bar = alpha_bar_at(MOTION, torch.tensor([999, 0]), x0)
    assert relative_error(predicted_x0(add_noise(x0, noise, alpha_bar), noise, alpha_bar), x0) < 1e-4


def test_nothing_is_noised_at_the_end() -> None:
    assert alpha_bar_at(BASE, torch.tensor([-1]), start()).item() == 1.0


def test_guidance_of_one_is_the_prompt_alone() -> None:
    conditional, unconditional = start(), torch.randn(SHAPE)
    torch.testing.assert_close(guided(conditional, unconditional, 1.0), conditional)


def test_the_loss_is_the_error_of_v() -> None:
    """v = sqrt(alpha-bar) noise - sqrt(1 - alpha-bar) x0, at the same x."""
    x0, noise, predicted = start(), torch.randn(SHAPE), torch.randn(SHAPE)
    alpha_bar = alpha_bar_at(BASE, torch.tensor([600, 100]), x0)
    x = add_noise(x0, noise, alpha_bar)

    def v(noise: Tensor) -> Tensor:
        return alpha_bar.sqrt() * noise - (1 - alpha_bar).sqrt() * predicted_x0(x, noise, alpha_bar)

    expected = (v(predicted) - v(noise)).square().mean()
    torch.testing.assert_close(denoising_loss(predicted, noise, alpha_bar), expected, rtol=1e-4, atol=0)
