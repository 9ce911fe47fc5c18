"""The model_sampling object: on the grid for every sampler, and safe from ComfyUI's restoring of buffers by path."""

from collections.abc import Iterator
from types import SimpleNamespace

import comfy.model_sampling
import comfy.samplers
import pytest
import torch
from animatelcm.sampling.model_sampling import ConsistencySampling, ScheduledSampling
from animatelcm.sampling.schedule import (
    ANIMATEDIFF,
    AVERAGE,
    COMMUNITY_LCM,
    COMMUNITY_LCM_100,
    COMMUNITY_LCM_ANIMATEDIFF,
    COMMUNITY_LCM_AVERAGE,
    I2V,
    T2V,
    Schedule,
    sigmas,
    solver_grid,
    step_sigmas,
    timesteps,
)
from comfy_extras import nodes_model_advanced

PRESETS = pytest.mark.parametrize("schedule", [T2V, I2V, COMMUNITY_LCM], ids=["t2v", "i2v", "community"])


@PRESETS
def test_timestep_and_sigma_are_inverse_on_the_grid(schedule: Schedule) -> None:
    sampling = ConsistencySampling(schedule)
    grid = solver_grid(schedule)
    assert torch.equal(sampling.timestep(sampling.sigma(grid)), grid)
    assert torch.equal(sampling.timestep(sigmas(schedule)[grid].float()), grid)
    assert sampling.timestep(torch.tensor(5.0)).shape == ()


@PRESETS
@pytest.mark.parametrize("steps", [1, 2, 4, 8, 25])
def test_ksamplers_simple_scheduler_hits_the_published_timesteps(schedule: Schedule, steps: int) -> None:
    levels = comfy.samplers.calculate_sigmas(ConsistencySampling(schedule), "simple", steps)
    torch.testing.assert_close(levels, step_sigmas(schedule, steps))


@pytest.mark.parametrize("schedule", [T2V, I2V], ids=["t2v", "i2v"])
@pytest.mark.parametrize("steps", [1, 2, 4, 5])
def test_ksamplers_sgm_uniform_scheduler_hits_them_too(schedule: Schedule, steps: int) -> None:
    levels = comfy.samplers.calculate_sigmas(ConsistencySampling(schedule), "sgm_uniform", steps)
    torch.testing.assert_close(levels, step_sigmas(schedule, steps))


@PRESETS
@pytest.mark.parametrize("scheduler", comfy.samplers.SCHEDULER_NAMES)
def test_every_scheduler_of_ksampler_descends(schedule: Schedule, scheduler: str) -> None:
    sampling = ConsistencySampling(schedule)
    levels = comfy.samplers.calculate_sigmas(sampling, scheduler, 8)
    assert (levels.diff() <= 0).all()
    assert torch.isin(sampling.timestep(levels[levels > 0]), solver_grid(schedule)).all()


def test_percent_runs_over_the_noise_levels() -> None:
    sampling = ConsistencySampling(T2V)
    assert sampling.percent_to_sigma(0.0) > 1e6
    assert sampling.percent_to_sigma(0.5) == pytest.approx(float(step_sigmas(T2V, 2)[1]), rel=0.1)
    assert sampling.percent_to_sigma(1.0) == 0.0


# ComfyUI issue #16490: dynamic VRAM backs buffers up by path, for all clones together, and restores them at load.


def back_up(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: buffer.clone() for name, buffer in model.named_buffers()}


def restore(model: torch.nn.Module, backup: dict[str, torch.Tensor]) -> None:
    for path, buffer in backup.items():
        owner, _, name = path.rpartition(".")
        target = model.get_submodule(owner)
        getattr(target, name)
        target.register_buffer(name, buffer)


class CheckpointsOwn(comfy.model_sampling.ModelSamplingDiscrete, comfy.model_sampling.EPS):
    pass


@pytest.fixture
def unet() -> Iterator[SimpleNamespace]:
    own = CheckpointsOwn()
    model = torch.nn.Module()
    model.model_sampling = own
    yield SimpleNamespace(model=model, own=own, table=own.sigmas.clone())


@PRESETS
def test_base_motion_base_motion_keeps_both_tables(unet: SimpleNamespace, schedule: Schedule) -> None:
    ours = ConsistencySampling(schedule)
    expected = ours.sigmas.clone()
    backup: dict[str, torch.Tensor] = {}
    for sampling in (unet.own, ours, unet.own, ours):
        unet.model.model_sampling = sampling
        restore(unet.model, backup)
        backup |= back_up(unet.model)
        assert torch.equal(unet.own.sigmas, unet.table)
        assert torch.equal(ours.sigmas, expected)
        assert ours.timestep(ours.sigma_max) == 999
    assert timesteps(schedule, 4)[0] == 999


def test_it_has_nothing_to_save_or_restore() -> None:
    sampling = ConsistencySampling(T2V)
    assert not dict(sampling.named_buffers())
    assert not sampling.state_dict()
    assert not list(sampling.parameters())


# The schedules of models that are not distilled


@pytest.fixture
def comfys() -> CheckpointsOwn:
    """ComfyUI's own sampling object on AnimateDiff's noise levels."""
    return CheckpointsOwn(SimpleNamespace(sampling_settings={"beta_schedule": "sqrt_linear"}))


def test_animatediffs_schedule_is_comfyuis_sqrt_linear(comfys: CheckpointsOwn) -> None:
    ours = ScheduledSampling(ANIMATEDIFF)
    torch.testing.assert_close(ours.sigmas, comfys.sigmas, rtol=1e-5, atol=0)  # theirs is summed in float32
    between = torch.linspace(0, 999, 77)
    torch.testing.assert_close(ours.sigma(between), comfys.sigma(between), rtol=1e-4, atol=0)
    assert torch.equal(ours.timestep(ours.sigmas), comfys.timestep(comfys.sigmas))


@pytest.mark.parametrize("scheduler", comfy.samplers.SCHEDULER_NAMES)
def test_every_scheduler_gives_comfyuis_noise_levels(comfys: CheckpointsOwn, scheduler: str) -> None:
    ours, theirs = (
        comfy.samplers.calculate_sigmas(sampling, scheduler, 20)
        for sampling in (ScheduledSampling(ANIMATEDIFF), comfys)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=0)


@pytest.mark.parametrize("schedule", [ANIMATEDIFF, AVERAGE], ids=["sqrt_linear", "average"])
def test_a_model_that_is_not_distilled_predicts_noise_and_no_more(schedule: Schedule) -> None:
    sampling = ScheduledSampling(schedule)
    x, noise = torch.randn(2, 2, 4, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    sigma = torch.tensor([0.5, 3.0], dtype=torch.float64)
    denoised = sampling.calculate_denoised(sigma, noise, x)
    torch.testing.assert_close(denoised, x - sigma[:, None, None, None] * noise, rtol=1e-12, atol=0)


# The community's schedules


class ComfysLcm(nodes_model_advanced.ModelSamplingDiscreteDistilled, nodes_model_advanced.LCM):
    """ComfyUI's own sampling object for LCM, which AnimateDiff-Evolved uses too."""


class ComfysLcm100(ComfysLcm):
    original_timesteps = 100


def comfys_lcm(beta_schedule: str, kind: type[ComfysLcm] = ComfysLcm) -> ComfysLcm:
    return kind(SimpleNamespace(sampling_settings={"beta_schedule": beta_schedule}))


def comfys_lcm_average() -> ComfysLcm:
    average, other = comfys_lcm("linear"), comfys_lcm("sqrt_linear")
    average.set_sigmas((average.sigmas + other.sigmas) / 2)
    return average


@pytest.mark.parametrize("scheduler", ["normal", "sgm_uniform", "simple", "ddim_uniform", "karras"])
@pytest.mark.parametrize(
    ("schedule", "theirs"),
    [
        (COMMUNITY_LCM, comfys_lcm("linear")),
        (COMMUNITY_LCM_100, comfys_lcm("linear", ComfysLcm100)),
        (COMMUNITY_LCM_ANIMATEDIFF, comfys_lcm("sqrt_linear")),
        (COMMUNITY_LCM_AVERAGE, comfys_lcm_average()),
    ],
    ids=["lcm", "lcm[100_ots]", "lcm >> sqrt_linear", "lcm avg(sqrt_linear,linear)"],
)
def test_the_communitys_schedules_give_comfyuis_noise_levels_and_timesteps(
    schedule: Schedule, theirs: ComfysLcm, scheduler: str
) -> None:
    ours = ConsistencySampling(schedule)
    for steps in (4, 8, 11):
        levels = comfy.samplers.calculate_sigmas(ours, scheduler, steps)
        torch.testing.assert_close(levels, comfy.samplers.calculate_sigmas(theirs, scheduler, steps), rtol=1e-4, atol=0)
        nearest, next = (levels[:-1].log() - ours.log_sigmas[:, None]).abs().topk(2, dim=0, largest=False).values
        clear = levels[:-1][next - nearest > 1e-3]  # halfway between two, rounding decides
        assert torch.equal(ours.timestep(clear), theirs.timestep(clear))


def test_the_communitys_consistency_function_is_comfyuis() -> None:
    x, noise = torch.randn(2, 2, 4, 3, 3, generator=torch.Generator().manual_seed(1))
    sigma = torch.tensor([0.5, 12.0])
    ours, theirs = ConsistencySampling(COMMUNITY_LCM), comfys_lcm("linear")
    given = sigma[:, None, None, None] * x, noise
    torch.testing.assert_close(
        ours.calculate_denoised(sigma, given[1], given[0]),
        theirs.calculate_denoised(sigma, given[1], given[0]),
        rtol=1e-4,
        atol=1e-4,
    )
