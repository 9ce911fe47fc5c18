"""RESULTS.md has a row for every cell that is known, and keeps what cannot be measured now."""

from pathlib import Path

import pytest
import torch
from animatelcm.distill.mini import stages
from animatelcm.distill.mini.autoencoder import build_autoencoder
from animatelcm.distill.mini.evaluation import cells, results, sweep
from animatelcm.distill.mini.evaluation.cells import Cell
from animatelcm.distill.mini.evaluation.recipe import Recipe
from animatelcm.distill.mini.evaluation.samplers import animatelcm
from animatelcm.distill.mini.evaluation.tables import TABLES, Table
from animatelcm.distill.mini.scenes import SIZE
from animatelcm.distill.mini.unet import build_motion
from PIL import Image

PROMPTS = 10
WITHOUT_LORA = Recipe(acceleration=None)
ONE = Cell("one", WITHOUT_LORA, animatelcm(1), 1, PROMPTS)
OTHER = Cell("other", Recipe(acceleration=None, gamma=0.0), animatelcm(1), 1, PROMPTS)
LACKING = Cell("lacking", Recipe("never_trained", None), animatelcm(1), 1, PROMPTS)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A family of random weights; few prompts, and everything is written elsewhere."""
    parts = {"vae": build_autoencoder(), "base": stages.build_base(), "lcm_video": build_motion()}
    for name, part in parts.items():
        torch.save(part.state_dict(), tmp_path / f"{name}.pt")
    monkeypatch.setattr(cells, "PART", PROMPTS)
    written = {"RESULTS": tmp_path / "RESULTS.md", "PICTURES": tmp_path, "PROMPTS": PROMPTS, "REAL_CLIPS": 20}
    for name, value in (written | {"LEAST": PROMPTS}).items():
        monkeypatch.setattr(results, name, value)
    return tmp_path


def written_of(run: Path, monkeypatch: pytest.MonkeyPatch, *tables: Table, minutes: float = float("inf")) -> str:
    monkeypatch.setattr(results, "TABLES", tables)
    results.measure_run(run, minutes, run / "cells")
    return (run / "RESULTS.md").read_text(encoding="utf-8")


def test_a_section_has_its_rows_its_test_and_its_sheet(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = written_of(run, monkeypatch, Table("Some", "Two.", (ONE, OTHER, LACKING), (("one", "other"),)))
    assert "| one | 1 | 10 |" in written
    assert "| other | 1 | 10 |" in written
    assert "lacking" not in written
    assert "| one | other | 10 |" in written
    with Image.open(run / "some_sheet.png") as sheet:
        assert sheet.height >= 2 * SIZE


def test_sections_that_cannot_be_measured_stay_as_they_are(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = "# Old\n\n## Second\n\nAs it was.\n\n## First\n\nTo be replaced.\n\n## Gone\n\nNo table of today.\n"
    (run / "RESULTS.md").write_text(old, encoding="utf-8")
    tables = Table("First", "Can.", (ONE,)), Table("Second", "Cannot.", (LACKING,))
    written = written_of(run, monkeypatch, *tables)
    assert "As it was." in written
    assert "To be replaced." not in written
    assert "## Gone" not in written
    assert written.index("| one | 1 | 10 |") < written.index("## Second")


def test_cells_are_there_once_in_every_table() -> None:
    names = [(table.title, cells.slug(cell.name)) for table in TABLES for cell in table.cells]
    assert len(names) == len(set(names))


def test_what_is_compared_is_in_the_table() -> None:
    for table in TABLES:
        assert {name for pair in table.compared for name in pair} <= {cell.name for cell in table.cells}


def test_settings_are_chosen_on_other_prompts_than_are_reported() -> None:
    chosen = {cell.seed for table in TABLES if table.title == "Guidance" for cell in table.cells}
    reported = {cell.seed for table in TABLES if table.title != "Guidance" for cell in table.cells}
    assert not chosen & reported


def test_the_sweep_draws_a_line_for_every_score(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = (*sweep.SHOWN, f"style_{sweep.STYLE}")
    rows = {
        sweep.cell(strength, value).name: {name: torch.rand(8, generator=generator) for name in scores}
        for strength, values in sweep.STRENGTHS.items()
        for value in values
    }
    sweep.draw_sweep(rows, tmp_path / "sweep.png")
    with Image.open(tmp_path / "sweep.png") as plot:
        counted = plot.convert("RGB").getcolors(100_000)
    assert len([colour for number, colour in counted if number > 200 and max(colour) - min(colour) > 40]) >= 4
