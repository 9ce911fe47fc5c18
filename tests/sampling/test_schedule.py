"""Schedules: the published numbers, and what holds for all of them."""

import pytest
import torch
from animatelcm.sampling.schedule import (
    COMMUNITY_LCM,
    I2V,
    T2V,
    Schedule,
    boundary_scalings,
    solver_grid,
    step_sigmas,
    timesteps,
)
from hypothesis import given
from hypothesis import strategies as st

PRESETS = [T2V, I2V, COMMUNITY_LCM]


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
    [(0, 1.0, "1 to 100 steps"), (101, 1.0, "1 to 100 steps"), (30, 0.2, "20 timesteps"), (4, 0.0, "denoise is 0")],
)
def test_what_does_not_fit_is_explained(steps: int, denoise: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        timesteps(T2V, steps, denoise)


def test_the_consistency_function_is_the_identity_at_timestep_0() -> None:
    assert [float(scaling) for scaling in boundary_scalings(torch.tensor(0.0))] == [1.0, 0.0]
