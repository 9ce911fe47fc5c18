"""Schedules: the published numbers, and what holds for all of them."""

from math import prod

import pytest
import torch
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
    alphas_cumprod,
    boundary_scalings,
    sigmas,
    solver_grid,
    step_sigmas,
    timesteps,
)
from hypothesis import given
from hypothesis import strategies as st

PRESETS = [T2V, I2V, COMMUNITY_LCM, COMMUNITY_LCM_100, COMMUNITY_LCM_ANIMATEDIFF, COMMUNITY_LCM_AVERAGE, ANIMATEDIFF]


@pytest.mark.parametrize(
    ("schedule", "expected_timesteps", "expected_sigmas"),
    [
        (T2V, [999, 749, 499, 249], [25.146, 6.557, 2.276, 0.867]),
        (I2V, [999, 749, 499, 249], [41.668, 8.747, 2.635, 0.930]),
        (COMMUNITY_LCM, [999, 759, 499, 259], [14.615, 4.261, 1.613, 0.719]),
    ],
    ids=["t2v", "i2v", "community"],
)
def test_four_steps_are_the_published_ones(
    schedule: Schedule, expected_timesteps: list[int], expected_sigmas: list[float]
) -> None:
    assert timesteps(schedule, 4).tolist() == expected_timesteps
    assert step_sigmas(schedule, 4).tolist() == pytest.approx([*expected_sigmas, 0.0], abs=5e-4)


# AnimateDiff-Evolved's names, and what they mean in its code, written anew with plain numbers: betas evenly spaced, or
# their square roots; the mean of the noise levels of two; of a distilled model, every k-th timestep from the end on.


def even(first: float, last: float) -> list[float]:
    return [first + (last - first) * i / 999 for i in range(1000)]


def levels(betas: list[float]) -> list[float]:
    shares = [prod(1.0 - beta for beta in betas[: t + 1]) for t in range(1000)]
    return [((1.0 - share) / share) ** 0.5 for share in shares]


def mean(one: list[float], other: list[float]) -> list[float]:
    return [(a + b) / 2 for a, b in zip(one, other, strict=True)]


SQRT_LINEAR = levels(even(0.00085, 0.012))
LINEAR = levels([root**2 for root in even(0.00085**0.5, 0.012**0.5)])


@pytest.mark.parametrize(
    ("schedule", "noise", "timesteps_of_the_grid"),
    [
        (ANIMATEDIFF, SQRT_LINEAR, 1000),
        (AVERAGE, mean(SQRT_LINEAR, LINEAR), 1000),
        (COMMUNITY_LCM, LINEAR, 50),
        (COMMUNITY_LCM_100, LINEAR, 100),
        (COMMUNITY_LCM_ANIMATEDIFF, SQRT_LINEAR, 50),
        (COMMUNITY_LCM_AVERAGE, mean(SQRT_LINEAR, LINEAR), 50),
    ],
    ids=["sqrt_linear", "avg(sqrt_linear,linear)", "lcm", "lcm[100_ots]", "lcm >> sqrt_linear", "lcm avg"],
)
def test_the_communitys_schedules(schedule: Schedule, noise: list[float], timesteps_of_the_grid: int) -> None:
    assert sigmas(schedule).tolist() == pytest.approx(noise, rel=1e-9)
    assert solver_grid(schedule).tolist() == list(range(999, -1, -1000 // timesteps_of_the_grid))[::-1]
    shares = alphas_cumprod(schedule)
    assert ((1 - shares) / shares).sqrt().tolist() == pytest.approx(noise, rel=1e-9)


def test_eight_steps_of_a_hundred() -> None:
    assert timesteps(T2V, 8).tolist() == [999, 879, 749, 629, 499, 379, 249, 129]


@given(st.sampled_from(PRESETS), st.data())
def test_a_schedule_descends_on_the_grid(schedule: Schedule, data: st.DataObject) -> None:
    denoise = data.draw(st.floats(0.05, 1.0))
    steps = data.draw(st.integers(1, int(schedule.original_steps * denoise)))
    levels = step_sigmas(schedule, steps, denoise)
    assert (levels.diff() < 0).all() and levels[-1] == 0
    assert torch.isin(timesteps(schedule, steps, denoise), solver_grid(schedule)).all()
    assert len(levels) == steps + 1


@given(st.sampled_from(PRESETS), st.floats(0.05, 0.9), st.integers(1, 2))
def test_less_denoise_starts_at_less_noise(schedule: Schedule, denoise: float, steps: int) -> None:
    assert step_sigmas(schedule, steps, denoise)[0] < step_sigmas(schedule, steps)[0]


@pytest.mark.parametrize(
    ("steps", "denoise", "message"),
    [
        (0, 1.0, r"at denoise 1\. Choose 1 to 100 steps\."),
        (101, 1.0, r"has 100 timesteps at denoise 1\. Choose 1 to 100 steps\."),
        (30, 0.2, r"has 20 timesteps at denoise 0\.2\. Choose 1 to 20 steps, or a higher denoise\."),
        (8, 0.015, r"has 1 timestep at denoise 0\.015\. Choose 1 step, or a higher denoise\."),
        (1, 0.005, r"has 0 timesteps at denoise 0\.005\. Choose a higher denoise\."),
        (4, 0.0, r"denoise is 0"),
    ],
)
def test_what_does_not_fit_is_explained(steps: int, denoise: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        timesteps(T2V, steps, denoise)


def test_the_consistency_function_is_the_identity_at_timestep_0() -> None:
    assert [float(scaling) for scaling in boundary_scalings(torch.tensor(0.0))] == [1.0, 0.0]
