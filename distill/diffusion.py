"""Diffusion in the paper's letters: alpha-bar, noising, the two predictions, and DDIM sampling with guidance."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from ..sampling.schedule import T2V, Schedule, alphas_cumprod, boundary_scalings, timesteps

BASE = Schedule(0.00085, 0.012, "scaled_linear", 50)  # of images, as SD1.5
MOTION = T2V  # of motion modules
LATENT_RANGE = 4.5  # of plain scenes; a predicted x0 is clamped to it while the teacher samples

Model = Callable[[Tensor, Tensor], Tensor]  # (x, timestep of each row) -> predicted noise, epsilon


def alpha_bar_at(schedule: Schedule, timestep: Tensor, x: Tensor) -> Tensor:
    """Alpha-bar, the share of signal, at each row's timestep, shaped to multiply x; 1 at timestep -1, before any noise.

    Timesteps are on the CPU, wherever x is.
    """
    table = torch.cat((alphas_cumprod(schedule).float(), torch.ones(1)))
    return table[timestep].view(-1, *[1] * (x.ndim - 1)).to(x.device)


def add_noise(x0: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """x_t = sqrt(alpha-bar) x0 + sqrt(1 - alpha-bar) noise."""
    return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise


def predicted_x0(x: Tensor, epsilon: Tensor, alpha_bar: Tensor) -> Tensor:
    """x0 = (x_t - sqrt(1 - alpha-bar) epsilon) / sqrt(alpha-bar)."""
    return (x - (1 - alpha_bar).sqrt() * epsilon) / alpha_bar.sqrt()


def clamped(x: Tensor, epsilon: Tensor, alpha_bar: Tensor, latent_range: float) -> tuple[Tensor, Tensor]:
    """A noise prediction's x0, clamped to what latents can be, and the noise prediction that has that x0."""
    x0 = predicted_x0(x, epsilon, alpha_bar).clamp(-latent_range, latent_range)
    return x0, (x - alpha_bar.sqrt() * x0) / (1 - alpha_bar).sqrt()


def denoising_loss(predicted: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """The error of a noise prediction, weighted as an error of v (Salimans and Ho): 1 / alpha-bar, at most 100.

    Our choice. Else hardly any gradient comes from nearly pure noise, where colour, place and direction are decided.
    """
    return ((predicted - noise).square() / alpha_bar.clamp(min=0.01)).mean()


def guided(conditional: Tensor, unconditional: Tensor, cfg: float | Tensor) -> Tensor:
    """Classifier-free guidance; 1 is none."""
    return unconditional + cfg * (conditional - unconditional)


def ddim_step(
    x: Tensor, epsilon: Tensor, alpha_bar: Tensor, next_alpha_bar: Tensor, latent_range: float = LATENT_RANGE
) -> Tensor:
    """One step of the probability-flow ODE; x0 is clamped to what latents can be, as guidance overshoots."""
    return add_noise(*clamped(x, epsilon, alpha_bar, latent_range), next_alpha_bar)


@torch.no_grad()
def ddim(model: Model, x: Tensor, schedule: Schedule, steps: int) -> Tensor:
    """Sample with DDIM (eta 0) from pure noise x on `steps` evenly spaced timesteps, clamping what x0 may be."""
    ladder = torch.linspace(999, -1, steps + 1).round().long()
    for now, then in itertools.pairwise(ladder):
        alpha_bar, next_alpha_bar = (alpha_bar_at(schedule, t.expand(1), x) for t in (now, then))
        x = ddim_step(x, model(x, now.expand(len(x))), alpha_bar, next_alpha_bar)
    return x


def consistency(x: Tensor, epsilon: Tensor, timestep: Tensor, alpha_bar: Tensor) -> Tensor:
    """f(x, c, t) = c_skip x + c_out x0: what the student learns to make the same at every t of a path."""
    c_skip, c_out = (c.view(alpha_bar.shape).float().to(x.device) for c in boundary_scalings(timestep))
    return c_skip * x + c_out * predicted_x0(x, epsilon, alpha_bar)


@torch.no_grad()
def lcm(model: Model, x: Tensor, schedule: Schedule, steps: int, generator: torch.Generator) -> Tensor:
    """The published consistency sampler: jump to the end, add fresh noise for the next timestep, jump again."""
    ladder = timesteps(schedule, steps)
    for now, then in zip(ladder, [*ladder[1:], None], strict=True):
        t = now.expand(len(x))
        x0 = consistency(x, model(x, t), t, alpha_bar_at(schedule, t, x))
        if then is None:
            return x0
        fresh = torch.randn(x.shape, generator=generator).to(x.device)
        x = add_noise(x0, fresh, alpha_bar_at(schedule, then.expand(len(x)), x))
    raise AssertionError("a ladder has at least one step")
