"""Ways to make clips of noise: the student's, and two that its teacher is sampled with."""

from collections.abc import Callable

import torch
from diffusers import DPMSolverMultistepScheduler
from torch import Tensor

from ...diffusion import BASE, LATENT_RANGE, MOTION, Model, alpha_bar_at, clamped, ddim, guided, lcm
from .recipe import Animated

# (what makes the clips, noise (N, F, 4, h, w), a prompt each, random numbers) -> latents
Sampler = Callable[[Animated, Tensor, list[str], torch.Generator], Tensor]


def animatelcm(steps: int) -> Sampler:
    """The published consistency sampler, without guidance."""

    def sample(animated: Animated, x: Tensor, prompts: list[str], generator: torch.Generator) -> Tensor:
        return lcm(animated.guided_by(prompts)[0], x, MOTION, steps, generator)

    return sample


def ddim_guided(steps: int, cfg: float) -> Sampler:
    def sample(animated: Animated, x: Tensor, prompts: list[str], _generator: torch.Generator) -> Tensor:
        return ddim(_with_guidance(animated, prompts, cfg), x, MOTION, steps)

    return sample


def ddim_of_images(steps: int) -> Sampler:
    """With the image model's own betas and no guidance: what one gets who leaves the acceleration out."""

    def sample(animated: Animated, x: Tensor, prompts: list[str], _generator: torch.Generator) -> Tensor:
        return ddim(animated.guided_by(prompts)[0], x, BASE, steps)

    return sample


def dpm_guided(steps: int, cfg: float) -> Sampler:
    """DPM-Solver++ (2M), diffusers' own, on the timesteps and with the clamped x0 of `ddim_guided`."""

    def sample(animated: Animated, x: Tensor, prompts: list[str], _generator: torch.Generator) -> Tensor:
        model = _with_guidance(animated, prompts, cfg)
        scheduler = DPMSolverMultistepScheduler(
            beta_start=MOTION.beta_start,
            beta_end=MOTION.beta_end,
            beta_schedule=MOTION.spacing,
            final_sigmas_type="zero",
        )
        scheduler.set_timesteps(steps)
        for t in scheduler.timesteps:
            rows = t.expand(len(x))
            _, epsilon = clamped(x, model(x, rows), alpha_bar_at(MOTION, rows, x), LATENT_RANGE)
            x = scheduler.step(epsilon, t, x).prev_sample
        return x

    return sample


def _with_guidance(animated: Animated, prompts: list[str], cfg: float) -> Model:
    conditional, unconditional = animated.guided_by(prompts)
    if cfg == 1:
        return conditional
    return lambda x, t: guided(conditional(x, t), unconditional(x, t), cfg)
