"""Cells are made once from the same weights, go on after a kill, and say how far their numbers spread."""

from pathlib import Path

import pytest
import torch
from animatelcm.distill.lora import Lora
from animatelcm.distill.mini import stages
from animatelcm.distill.mini.autoencoder import build_autoencoder
from animatelcm.distill.mini.evaluation import cells
from animatelcm.distill.mini.evaluation.cells import Cell, Rows, measured, with_error
from animatelcm.distill.mini.evaluation.recipe import Animated, Recipe, combine
from animatelcm.distill.mini.evaluation.samplers import animatelcm
from animatelcm.distill.mini.scenes import SIZE
from animatelcm.distill.mini.unet import build_motion, build_unet
from PIL import Image
from torch import Tensor

PROMPTS = 4


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A family of random weights, in a folder as training leaves it."""
    monkeypatch.setattr(cells, "PART", 2)
    monkeypatch.setattr(cells, "BATCH", 1)
    lora = Lora(build_unet())
    for up in lora.up.values():
        torch.nn.init.normal_(up, std=0.02)
    parts = {"vae": build_autoencoder(), "base": stages.build_base(), "lcm_image": lora, "lcm_video": build_motion()}
    for name, part in parts.items():
        torch.save(part.state_dict(), tmp_path / f"{name}.pt")
    return tmp_path


class Counted:
    """A sampler that knows how often it was asked, and gives up when it is told to."""

    def __init__(self, lives: int = 100) -> None:
        self.asked, self.lives = 0, lives

    def __call__(self, animated: Animated, x: Tensor, prompts: list[str], generator: torch.Generator) -> Tensor:
        if self.asked == self.lives:
            raise KeyboardInterrupt
        self.asked += 1
        return animatelcm(1)(animated, x, prompts, generator)


def rows_of(run: Path, sampler: Counted, until: float = float("inf"), **recipe: float) -> Rows:
    cell = Cell("DDIM, one step", Recipe(**recipe), sampler, 1, PROMPTS)
    return measured(run, "Some table", cell, until, run / "cells")


def test_a_cell_is_made_once(run: Path) -> None:
    sampler = Counted()
    first = rows_of(run, sampler)
    again = rows_of(run, sampler)
    assert sampler.asked == PROMPTS
    assert len(first["features"]) == PROMPTS
    for name, column in first.items():
        torch.testing.assert_close(again[name], column, rtol=1e-3, atol=1e-6)  # kept in half precision


def test_a_killed_cell_goes_on_from_its_last_part(run: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        rows_of(run, Counted(lives=3))
    rest = Counted()
    rows_of(run, rest)
    assert rest.asked == 2
    resumed = rows_of(run, Counted())
    for path in (run / "cells").iterdir():
        path.unlink()
    rows_of(run, Counted())
    whole = rows_of(run, Counted())
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


def test_no_part_is_begun_after_the_time_is_spent(run: Path) -> None:
    sampler = Counted()
    assert rows_of(run, sampler, until=0.0) == {}
    assert sampler.asked == 0


def test_a_cell_keeps_numbers_and_a_strip_of_frames_and_no_half_file(run: Path) -> None:
    rows_of(run, Counted())
    assert sorted(path.name for path in (run / "cells").iterdir()) == [
        "some_table_ddim_one_step.png",
        "some_table_ddim_one_step.safetensors",
    ]
    with Image.open(run / "cells" / "some_table_ddim_one_step.png") as strip:
        assert strip.height == SIZE


@pytest.mark.parametrize("stage", ["base", "lcm_image", "lcm_video", "vae"])
def test_new_weights_are_measured_again(run: Path, stage: str) -> None:
    rows_of(run, Counted())
    weights = torch.load(run / f"{stage}.pt")
    torch.save({name: 1.01 * w if w.is_floating_point() else w for name, w in weights.items()}, run / f"{stage}.pt")
    again = Counted()
    rows_of(run, again)
    assert again.asked == PROMPTS


def test_other_strengths_are_measured_again(run: Path) -> None:
    rows_of(run, Counted())
    again = Counted()
    rows_of(run, again, gamma=0.5)
    assert again.asked == PROMPTS


@pytest.mark.parametrize(("recipe", "strength"), [(Recipe(), 0.8), (Recipe(beta=0.5), 0.5), (Recipe(beta=0.0), 0.0)])
def test_the_residuals_are_added_at_their_strength(run: Path, recipe: Recipe, strength: float) -> None:
    base, lora = stages.load_base(run), stages.load_lora(run)
    layer = "mid_block.resnets.0.conv1"
    expected = base["unet"].get_parameter(f"{layer}.weight").double() + strength * lora.residual(layer).double()
    found = combine(run, recipe).base["unet"].get_parameter(f"{layer}.weight")
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-7)


def test_the_error_of_a_mean_is_the_textbooks() -> None:
    values = torch.randn(4000, generator=torch.Generator().manual_seed(0))
    errors = []
    for part in values.split(100):
        value, error = with_error(lambda index, part=part: part[index].mean().item(), len(part))
        assert value == pytest.approx(part.mean().item())
        errors.append(error**2)
    # The jackknife over 8 groups spreads much by itself, and is right on average
    assert (sum(errors) / len(errors)) ** 0.5 == pytest.approx(0.1, rel=0.2)
