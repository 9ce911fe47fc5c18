"""The loss of one step of a consistency model, for images and clips: with a teacher (LCM, algorithm 1) or without."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..sampling.schedule import Schedule, solver_grid
from .diffusion import Model, add_noise, alpha_bar, consistency, ddim_step, guided

HUBER_C = 0.001
LONGEST_STEP = 10  # of the teacher's solver, in timesteps of the grid (our choice)


@dataclass(frozen=True)
class Networks:
    """The three networks of a step, each a function (x, timestep) -> noise; the teacher also without the prompt."""

    online: Model
    target: Model
    teacher: Model
    teacher_unconditional: Model


def distillation_loss(networks: Networks, x0: Tensor, schedule: Schedule, cfg: tuple[float, float]) -> Tensor:
    """How much the online network's answer at t differs from the target's one solver step of the teacher further on.

    The solver's steps skip up to `LONGEST_STEP` timesteps of the grid (LCM paper, section 4.3), so that what is learned
    near x0 reaches pure noise in few hops. Half of the rows start in the noisier half of the grid (our choice): a
    clip's path is laid out there, and a sample of few steps spends most of them there.

    Args:
        networks: see `Networks`.
        x0: clean latents, one row per prompt.
        schedule: its grid is the solver's.
        cfg: the range that the teacher's guidance is drawn from, per row; it is baked into the student.
    """
    grid = solver_grid(schedule)
    t = grid[_starts(len(grid), len(x0))]
    skipped = torch.randint(1, LONGEST_STEP + 1, (len(x0),))
    earlier = (t - skipped * (grid[1] - grid[0])).clamp(min=0)
    share, earlier_share = (alpha_bar(schedule, s, x0) for s in (t, earlier))
    x = add_noise(x0, torch.randn_like(x0), share)
    with torch.no_grad():
        weight = cfg[0] + (cfg[1] - cfg[0]) * torch.rand_like(share)
        epsilon = guided(networks.teacher(x, t), networks.teacher_unconditional(x, t), weight)
        x_earlier = ddim_step(x, epsilon, share, earlier_share)
        goal = consistency(x_earlier, networks.target(x_earlier, earlier), earlier, earlier_share)
    return pseudo_huber(consistency(x, networks.online(x, t), t, share) - goal)


def training_loss(online: Model, target: Model, x0: Tensor, schedule: Schedule) -> Tensor:
    """Consistency training: two noisings of x0 with the same noise take the place of a teacher's solver step.

    Half of the rows step one timestep of the grid, as published; the others all the way to x0 (our choice: where a
    condition says nearly everything about x0, what is learned there need not wander up the schedule step by step).

    Args:
        online: the network that trains.
        target: its moving average.
        x0: clean latents.
        schedule: its grid is the steps'.
    """
    grid = solver_grid(schedule)
    t = grid[torch.randint(len(grid), (len(x0),))]
    earlier = torch.where(torch.rand(len(x0)) < 0.5, t - (grid[1] - grid[0]), -1)
    share, earlier_share = (alpha_bar(schedule, s.clamp(min=-1), x0) for s in (t, earlier))
    epsilon = torch.randn_like(x0)
    x, x_earlier = (add_noise(x0, epsilon, s) for s in (share, earlier_share))
    earlier = earlier.clamp(min=0)
    with torch.no_grad():
        goal = consistency(x_earlier, target(x_earlier, earlier), earlier, earlier_share)
    return pseudo_huber(consistency(x, online(x, t), t, share) - goal)


def _starts(timesteps: int, rows: int) -> Tensor:
    lowest = torch.where(torch.rand(rows) < 0.5, timesteps // 2, 0)
    return lowest + ((timesteps - lowest) * torch.rand(rows)).long()


def pseudo_huber(difference: Tensor) -> Tensor:
    """sqrt(d^2 + c^2) - c, with the published c."""
    return ((difference**2 + HUBER_C**2).sqrt() - HUBER_C).mean()
