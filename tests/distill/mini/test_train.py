"""The training loop: it learns, averages, and goes on where it was stopped."""

from pathlib import Path

import pytest
import torch
from animatelcm.distill.distillation import move_average
from animatelcm.distill.mini.train import Budget, TrainingStep, save, train
from torch import Tensor, nn

X = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
TRUTH = torch.linspace(-1, 1, 8)


def regress(run: Path, minutes: float) -> tuple[dict[str, Tensor], list[float]]:
    torch.manual_seed(0)
    network, spent = nn.Linear(8, 1, bias=False), []

    def loss(now: TrainingStep) -> Tensor:
        spent.append(now.spent)
        return (network(X)[:, 0] - X @ TRUTH).square().mean()

    return train("line", run, network, loss, Budget(minutes, batch=1, learning_rate=1e-1, ema=0.9)), spent


def test_it_learns_and_returns_the_average(tmp_path: Path) -> None:
    weights, spent = regress(tmp_path, minutes=0.02)
    torch.testing.assert_close(weights["weight"][0], TRUTH, rtol=0, atol=2e-2)
    assert 0 == spent[0] < spent[-1] <= 1


def test_a_stopped_stage_goes_on_where_it_was(tmp_path: Path) -> None:
    regress(tmp_path, minutes=0.01)
    first = torch.load(tmp_path / "line.train.pt", weights_only=True)
    _, spent = regress(tmp_path, minutes=0.02)
    second = torch.load(tmp_path / "line.train.pt", weights_only=True)
    assert spent[0] == pytest.approx(0.5, abs=0.2)
    assert second["steps"] == first["steps"] + len(spent)


def test_a_finished_stage_does_nothing_more(tmp_path: Path) -> None:
    weights, _ = regress(tmp_path, minutes=0.01)
    again, spent = regress(tmp_path, minutes=0.01)
    assert spent == []
    assert torch.equal(weights["weight"], again["weight"])


def test_the_moving_average_keeps_its_share() -> None:
    average, current = [torch.tensor([1.0])], [torch.tensor([3.0])]
    move_average(average, current, keep=0.75)
    assert average[0].item() == 1.5


def test_saving_leaves_no_partial_file(tmp_path: Path) -> None:
    save(tmp_path / "a.pt", {"x": torch.ones(2)})
    with pytest.raises(RuntimeError, match="interrupted"):
        save(tmp_path / "a.pt", {"x": _Unsaveable()})
    assert torch.equal(torch.load(tmp_path / "a.pt", weights_only=True)["x"], torch.ones(2))
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


class _Unsaveable:
    def __reduce__(self) -> str:
        raise RuntimeError("interrupted")
