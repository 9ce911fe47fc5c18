"""Diffusion in the paper's letters: alpha-bar, noising, the two predictions, and DDIM sampling with guidance."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from ..sampling.schedule import T2V, Schedule, alphas_cumprod, boundary_scalings, timesteps

BASE = Schedule(0.00085, 0.012, "scaled_linear", 50)  # of images, as SD1.5
MOTION = T2V  # of motion modules
LATENT_RANGE = 4.5  # of plain scenes; a predicted x0 is clamped to it while the teacher samples

Model = Callable[[Tensor, Tensor], Tensor]  # (x, timestep of each row) -> noise


def alpha_bar(schedule: Schedule, timestep: Tensor, x: Tensor) -> Tensor:
    """The share of signal at each row's timestep, shaped to multiply x; 1 at timestep -1, before any noise.

    Timesteps are on the CPU, wherever x is.
    """
    table = torch.cat((alphas_cumprod(schedule).float(), torch.ones(1)))
    return table[timestep].view(-1, *[1] * (x.ndim - 1)).to(x.device)


def add_noise(x0: Tensor, noise: Tensor, share: Tensor) -> Tensor:
    """x_t = sqrt(alpha-bar) x0 + sqrt(1 - alpha-bar) noise."""
    return share.sqrt() * x0 + (1 - share).sqrt() * noise


def predicted_x0(x: Tensor, noise: Tensor, share: Tensor) -> Tensor:
    """x0 = (x_t - sqrt(1 - alpha-bar) noise) / sqrt(alpha-bar)."""
    return (x - (1 - share).sqrt() * noise) / share.sqrt()


def denoising_loss(predicted: Tensor, noise: Tensor, share: Tensor) -> Tensor:
    """The error of a noise prediction, weighted as an error of v (Salimans and Ho): 1 / alpha-bar, at most 100.

    Our choice. Else hardly any gradient comes from nearly pure noise, where colour, place and direction are decided.
    """
    return ((predicted - noise).square() / share.clamp(min=0.01)).mean()


def guided(conditional: Tensor, unconditional: Tensor, cfg: float | Tensor) -> Tensor:
    """Classifier-free guidance; 1 is none."""
    return unconditional + cfg * (conditional - unconditional)


def ddim_step(
    x: Tensor, noise: Tensor, share: Tensor, next_share: Tensor, latent_range: float = LATENT_RANGE
) -> Tensor:
    """One step of the probability-flow ODE; x0 is clamped to what latents can be, as guidance overshoots."""
    x0 = predicted_x0(x, noise, share).clamp(-latent_range, latent_range)
    return add_noise(x0, (x - share.sqrt() * x0) / (1 - share).sqrt(), next_share)


@torch.no_grad()
def ddim(model: Model, x: Tensor, schedule: Schedule, steps: int) -> Tensor:
    """Sample with DDIM (eta 0) from pure noise x on `steps` evenly spaced timesteps, clamping what x0 may be."""
    ladder = torch.linspace(999, -1, steps + 1).round().long()
    for now, then in itertools.pairwise(ladder):
        share, next_share = (alpha_bar(schedule, t.expand(1), x) for t in (now, then))
        x = ddim_step(x, model(x, now.expand(len(x))), share, next_share)
    return x


def consistency(x: Tensor, noise: Tensor, timestep: Tensor, share: Tensor) -> Tensor:
    """f(x, c, t) = c_skip x + c_out x0: what the student learns to make the same at every t of a path."""
    c_skip, c_out = (c.view(share.shape).float().to(x.device) for c in boundary_scalings(timestep))
    return c_skip * x + c_out * predicted_x0(x, noise, share)


@torch.no_grad()
def lcm(model: Model, x: Tensor, schedule: Schedule, steps: int, generator: torch.Generator) -> Tensor:
    """The published consistency sampler: jump to the end, add fresh noise for the next timestep, jump again."""
    ladder = timesteps(schedule, steps)
    for now, then in zip(ladder, [*ladder[1:], None], strict=True):
        t = now.expand(len(x))
        x0 = consistency(x, model(x, t), t, alpha_bar(schedule, t, x))
        if then is None:
            return x0
        fresh = torch.randn(x.shape, generator=generator).to(x.device)
        x = add_noise(x0, fresh, alpha_bar(schedule, then.expand(len(x)), x))
    raise AssertionError("a ladder has at least one step")
