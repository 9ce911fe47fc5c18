"""The loss of one step of a consistency model, for images and clips: with a teacher (LCM, algorithm 1) or without."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..sampling.schedule import Schedule, solver_grid
from .diffusion import Model, add_noise, alpha_bar_at, consistency, ddim_step, guided

HUBER_C = 0.001


@dataclass(frozen=True)
class Networks:
    """The three networks of a step, each a function (x, timestep) -> noise; the teacher also without the prompt."""

    online: Model
    target: Model
    teacher: Model
    teacher_unconditional: Model


@dataclass(frozen=True)
class Solver:
    """How the teacher leads from a timestep to an earlier one.

    Attributes:
        schedule: its grid is the solver's.
        cfg: the range that the teacher's guidance is drawn from, per row; it is baked into the student.
        longest_step: steps skip up to so many timesteps of the grid (LCM paper, section 4.3), so that what is learned
            near x0 reaches pure noise in few hops.
        noisy: share of the rows that start in the noisier half of the grid, beyond those that would anyway. A clip's
            path is laid out there, and a sample of few steps spends most of them there.
        latent_range: what the teacher's x0 is clamped to.
    """

    schedule: Schedule
    cfg: tuple[float, float]
    longest_step: int = 1
    noisy: float = 0.0
    latent_range: float = math.inf


def distillation_loss(networks: Networks, x0: Tensor, solver: Solver) -> Tensor:
    """How much the online network's answer at t differs from the target's one solver step of the teacher further on.

    Args:
        networks: see `Networks`. The online one is called last.
        x0: clean latents, one row per prompt.
        solver: see `Solver`.
    """
    schedule, grid = solver.schedule, solver_grid(solver.schedule)
    t = grid[_starts(len(grid), len(x0), solver.noisy)]
    skipped = torch.randint(1, solver.longest_step + 1, (len(x0),))
    earlier = (t - skipped * (grid[1] - grid[0])).clamp(min=0)
    alpha_bar, earlier_alpha_bar = (alpha_bar_at(schedule, s, x0) for s in (t, earlier))
    x = add_noise(x0, torch.randn_like(x0), alpha_bar)
    with torch.no_grad():
        weight = solver.cfg[0] + (solver.cfg[1] - solver.cfg[0]) * torch.rand_like(alpha_bar)
        epsilon = guided(networks.teacher(x, t), networks.teacher_unconditional(x, t), weight)
        x_earlier = ddim_step(x, epsilon, alpha_bar, earlier_alpha_bar, solver.latent_range)
        goal = consistency(x_earlier, networks.target(x_earlier, earlier), earlier, earlier_alpha_bar)
    return pseudo_huber(consistency(x, networks.online(x, t), t, alpha_bar) - goal)


def training_loss(online: Model, target: Model, x0: Tensor, schedule: Schedule, to_data: float = 0.0) -> Tensor:
    """Consistency training: two noisings of x0 with the same noise take the place of a teacher's solver step.

    Args:
        online: the network that trains.
        target: its moving average.
        x0: clean latents.
        schedule: its grid is the steps'.
        to_data: share of the rows that step all the way to x0 instead of one timestep of the grid (our choice: where a
            condition says nearly everything about x0, what is learned there need not wander up the schedule).
    """
    grid = solver_grid(schedule)
    t = grid[torch.randint(len(grid), (len(x0),))]
    earlier = torch.where(torch.rand(len(x0)) < to_data, -1, t - (grid[1] - grid[0]))
    alpha_bar, earlier_alpha_bar = (alpha_bar_at(schedule, s.clamp(min=-1), x0) for s in (t, earlier))
    epsilon = torch.randn_like(x0)
    x, x_earlier = (add_noise(x0, epsilon, s) for s in (alpha_bar, earlier_alpha_bar))
    earlier = earlier.clamp(min=0)
    with torch.no_grad():
        goal = consistency(x_earlier, target(x_earlier, earlier), earlier, earlier_alpha_bar)
    return pseudo_huber(consistency(x, online(x, t), t, alpha_bar) - goal)


def _starts(timesteps: int, rows: int, noisy: float) -> Tensor:
    lowest = torch.where(torch.rand(rows) < noisy, timesteps // 2, 0)
    return lowest + ((timesteps - lowest) * torch.rand(rows)).long()


def pseudo_huber(difference: Tensor) -> Tensor:
    """sqrt(d^2 + c^2) - c, with the published c."""
    return ((difference**2 + HUBER_C**2).sqrt() - HUBER_C).mean()


@torch.no_grad()
def move_average(average: Iterable[Tensor], current: Iterable[Tensor], keep: float) -> None:
    """In place: average = keep * average + (1 - keep) * current."""
    torch._foreach_lerp_(list(average), [c.detach() for c in current], 1 - keep)


def absorbed(step: int, keep: float) -> float:
    """The weight, 0 to 1, with which a target has taken in the acceleration LoRA after so many steps.

    The paper's initialization strategy: the target starts without it, and as a moving average of the online network it
    comes to have it.
    """
    return 1 - keep**step
