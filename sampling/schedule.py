"""Noise schedules and the discrete steps of latent consistency models."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

TRAIN_TIMESTEPS = 1000
SIGMA_DATA = 0.5
TIMESTEP_SCALING = 10.0


Spacing = Literal["linear", "scaled_linear", "average"]


@dataclass(frozen=True)
class Schedule:
    """How noise grows with the timestep, and the grid of timesteps that a consistency model was distilled on.

    Attributes:
        beta_start: noise variance of the first timestep.
        beta_end: noise variance of the last timestep.
        spacing: what is spaced evenly between them: "linear" the betas, "scaled_linear" their square roots. These are
            diffusers' names; ComfyUI calls them "sqrt_linear" and "linear". "average": the mean of their noise levels.
        original_steps: solver steps of the distillation, the timesteps of the grid; `TRAIN_TIMESTEPS` where the model
            is no consistency model, but one that predicts noise at every timestep.
        interpolated: whether a noise level between two of the grid is what lies between them, as in ComfyUI's own LCM,
            which the community's workflows are tuned on; else it is taken down to the grid.
    """

    beta_start: float
    beta_end: float
    spacing: Spacing
    original_steps: int
    interpolated: bool = False

    @property
    def distilled(self) -> bool:
        """Whether it is a consistency model's."""
        return self.original_steps < TRAIN_TIMESTEPS


T2V = Schedule(0.00085, 0.012, "linear", 100)
I2V = Schedule(0.00085, 0.014, "linear", 200)
ANIMATEDIFF = Schedule(0.00085, 0.012, "linear", TRAIN_TIMESTEPS)
AVERAGE = Schedule(0.00085, 0.012, "average", TRAIN_TIMESTEPS)
# LCM-LoRA's own, and its variants in AnimateDiff-Evolved
COMMUNITY_LCM = Schedule(0.00085, 0.012, "scaled_linear", 50, interpolated=True)
COMMUNITY_LCM_100 = replace(COMMUNITY_LCM, original_steps=100)
COMMUNITY_LCM_ANIMATEDIFF = replace(COMMUNITY_LCM, spacing="linear")
COMMUNITY_LCM_AVERAGE = replace(COMMUNITY_LCM, spacing="average")


def alphas_cumprod(schedule: Schedule) -> Tensor:
    """Return the share of signal left at each timestep, (1000,), float64 (the paper's alpha-bar)."""
    if schedule.spacing == "average":
        return 1.0 / (1.0 + sigmas(schedule) ** 2)
    if schedule.spacing == "linear":
        betas = torch.linspace(schedule.beta_start, schedule.beta_end, TRAIN_TIMESTEPS, dtype=torch.float64)
    else:
        roots = torch.linspace(schedule.beta_start**0.5, schedule.beta_end**0.5, TRAIN_TIMESTEPS, dtype=torch.float64)
        betas = roots**2
    return torch.cumprod(1.0 - betas, dim=0)


def sigmas(schedule: Schedule) -> Tensor:
    """Return the noise level at each timestep, (1000,), float64: sigma = sqrt((1 - alpha-bar) / alpha-bar)."""
    if schedule.spacing == "average":
        linear, scaled = (sigmas(replace(schedule, spacing=spacing)) for spacing in ("linear", "scaled_linear"))
        return (linear + scaled) / 2
    alpha_bar = alphas_cumprod(schedule)
    return ((1.0 - alpha_bar) / alpha_bar).sqrt()


def solver_grid(schedule: Schedule) -> Tensor:
    """Return the timesteps of the distillation solver, ascending, (original_steps,), int64: t_i = i * k - 1."""
    k = TRAIN_TIMESTEPS // schedule.original_steps
    return torch.arange(1, schedule.original_steps + 1) * k - 1


def timesteps(schedule: Schedule, steps: int, denoise: float = 1.0) -> Tensor:
    """Return the timesteps of a `steps`-step sample, descending, (steps,), int64.

    Args:
        schedule: the schedule the model was distilled on.
        steps: number of consistency steps, at least 1.
        denoise: share of the grid to run over, in (0, 1]; below 1 a given latent is kept in part.

    Raises:
        ValueError: if that share of the grid has fewer timesteps than `steps`, or a number is out of range.
    """
    if not 0.0 < denoise <= 1.0:
        raise ValueError(f"denoise is {denoise:g}. Expected more than 0 and at most 1.")
    grid = solver_grid(schedule)[: int(schedule.original_steps * denoise)].flip(0)
    if not 1 <= steps <= len(grid):
        remedies = {0: [], 1: ["1 step"]}.get(len(grid), [f"1 to {len(grid)} steps"])
        remedies += ["a higher denoise"] if denoise < 1 else []
        raise ValueError(
            f"{steps} steps do not fit: this schedule has {len(grid)} timestep{'s' if len(grid) != 1 else ''} at "
            f"denoise {denoise:g}. Choose {', or '.join(remedies)}."
        )
    return grid[torch.arange(steps) * len(grid) // steps]


def step_sigmas(schedule: Schedule, steps: int, denoise: float = 1.0) -> Tensor:
    """Return the noise level of each of `steps` steps and a final 0, (steps + 1,), float32. See `timesteps`."""
    levels = sigmas(schedule)[timesteps(schedule, steps, denoise)]
    return torch.cat((levels, levels.new_zeros(1))).float()


def boundary_scalings(timestep: Tensor) -> tuple[Tensor, Tensor]:
    """Return c_skip and c_out, which make the consistency function the identity at timestep 0 (LCM paper, section 4.1).

    f(x, t) = c_skip(t) * x + c_out(t) * x0, with sigma_data 0.5 and timestep scaling 10.
    """
    scaled = timestep * TIMESTEP_SCALING
    total = scaled**2 + SIGMA_DATA**2
    return SIGMA_DATA**2 / total, scaled / total.sqrt()
