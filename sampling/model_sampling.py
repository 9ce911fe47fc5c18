"""The comfy side of sampling: a schedule as the "model_sampling" object of a MODEL."""

from collections.abc import Sequence
from typing import Any

import comfy.model_sampling
import comfy.samplers
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from .consistency import sample_consistency
from .schedule import TRAIN_TIMESTEPS, Schedule, boundary_scalings, sigmas, solver_grid, step_sigmas


class ScheduledSampling(comfy.model_sampling.ModelSamplingDiscrete, comfy.model_sampling.EPS):
    """The noise levels of a schedule, for a model that predicts the noise at each of its timesteps.

    The tables are plain attributes. As buffers they would not be safe: ComfyUI's dynamic VRAM restores buffers by
    attribute path, and writes the table of another clone of the checkpoint onto this object (ComfyUI issue #16490).
    """

    def __init__(self, schedule: Schedule) -> None:
        torch.nn.Module.__init__(self)  # the next constructor in line would build ComfyUI's own schedule
        self.schedule = schedule
        self.num_timesteps = TRAIN_TIMESTEPS
        self.sigma_data = 1.0  # EPS: the latent itself has no scale of its own
        self.grid = solver_grid(schedule)
        self.set_sigmas(sigmas(schedule)[self.grid])

    def set_sigmas(self, sigmas: Tensor) -> None:
        """Take the noise level at each timestep of the grid, ascending."""
        self.sigmas = sigmas.float()
        self.log_sigmas = sigmas.log().float()

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Ignore a table that ComfyUI restores by path: it belongs to another object."""
        if name not in ("sigmas", "log_sigmas"):
            super().register_buffer(name, tensor, persistent=persistent)

    def timestep(self, sigma: Tensor) -> Tensor:
        """Return the timestep of the grid whose noise level is nearest, in the shape of `sigma`."""
        distance = sigma.log().reshape(1, -1) - self.log_sigmas.to(sigma.device)[:, None]
        return self.grid.to(sigma.device)[distance.abs().argmin(dim=0)].view(sigma.shape)


class ConsistencySampling(ScheduledSampling):
    """Noise levels on the grid that a consistency model was distilled on, and its consistency function."""

    def sigma(self, timestep: Tensor) -> Tensor:
        """Return the noise level at `timestep`, taken down to the grid unless the schedule interpolates.

        Schedulers ask for timesteps between those of the grid ("sgm_uniform" for 751.5 where the grid has 749); the
        model knows no other levels.
        """
        stride = self.grid[0] + 1
        index = (timestep.float().cpu() - self.grid[0]) / stride
        if self.schedule.interpolated:
            return super().sigma(index).to(timestep.device)
        index = (index + 1e-3).floor().long().clamp(0, len(self.grid) - 1)
        return self.sigmas[index].to(timestep.device)

    def calculate_denoised(self, sigma: Tensor, model_output: Tensor, model_input: Tensor) -> Tensor:
        """The consistency function: c_out * x0 + c_skip * x_t, where x_t is `model_input` scaled to unit variance."""
        c_skip, c_out = boundary_scalings(self.timestep(sigma))
        column = (-1,) + (1,) * (model_output.ndim - 1)
        x0 = super().calculate_denoised(sigma, model_output, model_input)
        x_t = self.calculate_input(sigma, model_input)
        return c_out.view(column) * x0 + c_skip.view(column) * x_t


class ScheduleError(ValueError):
    """A model cannot be sampled on a schedule."""


def apply_schedule(model: ModelPatcher, schedule: Schedule) -> ModelPatcher:
    """Return a clone of `model` that samples on `schedule`.

    Raises:
        ScheduleError: if the model was trained to predict anything but the noise.
    """
    check_predicts_noise(model.get_model_object("model_sampling"))
    patched = model.clone()
    sampling = ConsistencySampling if schedule.distilled else ScheduledSampling
    patched.add_object_patch("model_sampling", sampling(schedule))
    return patched


def check_predicts_noise(sampling: Any) -> None:
    """Refuse a model_sampling object, a checkpoint's or another node's, of a model that predicts anything else.

    It is asked, not its class: where x_t is 0 and the prediction 1, at noise level 1, noise leaves x0 = -1, v -0.7, and
    a picture 1.
    """
    one = torch.ones(1, 1, 1, 1)
    x0 = float(sampling.calculate_denoised(torch.ones(1), one, torch.zeros_like(one)))
    of_noise, zero_snr = abs(x0 + 1) < 0.1, getattr(sampling, "zsnr", False)
    if not of_noise or zero_snr:
        what = "ends in pure noise (zero SNR)" if of_noise else "predicts v or the picture, not the noise"
        raise ScheduleError(
            f"This model {what}. Consistency steps need an ordinary SD1.5 model (EPS): load one, take a node such as "
            "ModelSamplingDiscrete away that comes before 'Apply AnimateLCM', or keep the model's own schedule."
        )


def schedule_of(model: ModelPatcher) -> Schedule | None:
    """Return the schedule that `apply_schedule` gave the model, or None where it has ComfyUI's or another node's."""
    return getattr(model.get_model_object("model_sampling"), "schedule", None)


def sample_sigmas(model: ModelPatcher, steps: int, denoise: float) -> Tensor:
    """Return the noise levels of `steps` steps and a final 0, on the model's own schedule where it has none of ours."""
    schedule = schedule_of(model)
    if schedule is not None:
        return step_sigmas(schedule, steps, denoise)
    total = int(steps / denoise)
    levels = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", total)
    return levels[-(steps + 1) :]


def consistency_sampler(numbers: Sequence[int] | None = None) -> Any:
    """Return ComfyUI's SAMPLER of the consistency step; `numbers` are the frames', see `initial_noise`."""
    return comfy.samplers.KSAMPLER(sample_consistency, {"numbers": numbers})
