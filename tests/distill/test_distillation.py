"""The loss of consistency distillation: nought for a consistent student, and only the student learns from it."""

from dataclasses import replace

import pytest
import torch
from animatelcm.distill.diffusion import MOTION, Model, alpha_bar_at
from animatelcm.distill.distillation import (
    HUBER_C,
    Networks,
    Solver,
    distillation_loss,
    pseudo_huber,
    training_loss,
)
from torch import Tensor

X0 = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)).clamp(-2, 2)
PLAIN = Solver(MOTION, cfg=(1.0, 1.0))


def knowing(x0: Tensor) -> Model:
    """The exact noise prediction of data that is this one image."""

    def model(x: Tensor, timestep: Tensor) -> Tensor:
        alpha_bar = alpha_bar_at(MOTION, timestep, x)
        return (x - alpha_bar.sqrt() * x0) / (1 - alpha_bar).sqrt()

    return model


def loss(networks: Networks, rows: int = 64, solver: Solver = PLAIN) -> Tensor:
    torch.manual_seed(0)
    return distillation_loss(networks, X0.expand(rows, -1, -1, -1), solver)


def test_a_consistent_student_has_no_loss() -> None:
    exact = knowing(X0)
    assert loss(Networks(exact, exact, exact, exact)) < 1e-3


def test_a_student_of_something_else_has_its_distance_as_loss() -> None:
    exact = knowing(X0)
    off = loss(Networks(knowing(X0 + 0.5), exact, exact, exact))
    torch.testing.assert_close(off, torch.tensor(0.5), rtol=0.02, atol=0)


@pytest.mark.parametrize("solver", [PLAIN, replace(PLAIN, longest_step=10, noisy=0.5)], ids=["published", "skipping"])
def test_the_teacher_skips_up_to_the_longest_step_and_starts_where_asked(solver: Solver) -> None:
    """The grid has 100 timesteps, ten apart: what is asked of the student and of the target tells the step between."""
    asked: dict[str, Tensor] = {}
    exact = knowing(X0)
    loss(Networks(_noting(asked, "t"), _noting(asked, "earlier"), exact, exact), 4000, solver)
    t, skipped = asked["t"], (asked["t"] - asked["earlier"]) // 10
    assert set(t.tolist()) == set(range(9, 1000, 10))
    assert set(skipped[t > 100].tolist()) == set(range(1, solver.longest_step + 1))
    assert asked["earlier"].min() == 0
    torch.testing.assert_close((t >= 500).float().mean(), torch.tensor(0.5 + solver.noisy / 2), rtol=0.05, atol=0)


def test_guidance_goes_away_from_the_empty_prompt() -> None:
    """With weight w, the teacher's x0 lies w times as far from the unconditional one as the conditional one does."""
    exact, plain = knowing(X0), knowing(X0 - 0.2)
    networks = Networks(knowing(X0 + 0.4), knowing(X0 + 0.4), exact, plain)
    assert loss(networks, solver=replace(PLAIN, cfg=(3.0, 3.0))) < 1e-2


def test_the_teachers_x0_is_clamped() -> None:
    """A teacher of something far off, clamped, leads to where a student of the clamped data is."""
    exact, near = knowing(X0), knowing(X0.clamp(-1, 1))
    far = replace(PLAIN, latent_range=1.0)
    assert loss(Networks(near, near, exact, exact), solver=far) < loss(Networks(near, near, exact, exact)) / 2


def test_training_without_a_teacher_is_nought_for_a_consistent_network() -> None:
    torch.manual_seed(0)
    assert training_loss(knowing(X0), knowing(X0), X0.expand(64, -1, -1, -1), MOTION) < 1e-3


@pytest.mark.parametrize("to_data", [0.0, 0.5, 1.0])
def test_training_without_a_teacher_goes_to_the_data_in_a_share_of_the_rows(to_data: float) -> None:
    """And to the target, which is off by 1, in the others."""
    torch.manual_seed(0)
    found = training_loss(knowing(X0), knowing(X0 + 1), X0.expand(4000, -1, -1, -1), MOTION, to_data)
    torch.testing.assert_close(found, torch.tensor(1 - to_data), rtol=0.05, atol=0.01)


def test_gradients_reach_the_online_network_alone_without_a_teacher() -> None:
    online, target = (torch.zeros(1, requires_grad=True) for _ in range(2))
    exact = knowing(X0)
    training_loss(_shifted(exact, online), _shifted(exact, target), X0.expand(8, -1, -1, -1), MOTION).backward()
    assert online.grad is not None
    assert target.grad is None


def test_gradients_reach_the_student_alone() -> None:
    offsets = {name: torch.zeros(1, requires_grad=True) for name in ("online", "target", "teacher")}
    exact = knowing(X0)
    shifted = {name: _shifted(exact, offset) for name, offset in offsets.items()}
    loss(replace(Networks(exact, exact, exact, exact), **shifted)).backward()
    assert offsets["online"].grad is not None
    assert offsets["target"].grad is None
    assert offsets["teacher"].grad is None


def _noting(asked: dict[str, Tensor], name: str) -> Model:
    def model(x: Tensor, timestep: Tensor) -> Tensor:
        asked[name] = timestep
        return torch.zeros_like(x)

    return model


def _shifted(model: Model, offset: Tensor) -> Model:
    return lambda x, t: model(x, t) + offset


def test_pseudo_huber_is_the_published_one() -> None:
    d = torch.tensor([0.0, 0.003, -2.0], dtype=torch.float64)
    expected = ((d**2 + HUBER_C**2) ** 0.5 - HUBER_C).mean()
    assert HUBER_C == 0.001
    torch.testing.assert_close(pseudo_huber(d), expected)
