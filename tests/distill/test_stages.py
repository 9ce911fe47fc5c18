"""Every stage in turn, a second each: all files are made, they load in ComfyUI, and the results are written."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from animatelcm.distill import stages
from animatelcm.distill.evaluation import tables
from animatelcm.distill.export import NAME, export
from animatelcm.distill.scenes import SIZE
from PIL import Image
from safetensors import safe_open

SECOND = 1 / 60


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A family that was trained for a second per stage."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "POOL_CLIPS", 8)
        patch.setattr(stages, "STYLE_CLIPS", 4)
        for name, stage in stages.STAGES.items():
            stage(folder) if name == "pool" else stage(folder, minutes=SECOND)
    return folder


def test_every_stage_leaves_its_result(run: Path) -> None:
    assert {path.stem for path in run.glob("*.pt")} >= set(stages.STAGES)


def test_the_image_model_starts_from_the_trained_text_encoder(run: Path) -> None:
    key = "text_model.embeddings.token_embedding.weight"
    trained = stages.load_text(run)[key]
    untrained = stages.build_base()["text"].state_dict()[key]
    used = stages.load_base(run)["text"].state_dict()[key]
    assert (used - trained).abs().mean() < (used - untrained).abs().mean()


def test_distillation_leaves_the_image_model_and_the_teacher_alone(run: Path) -> None:
    teacher, student = (stages.load_motion(run, stage).state_dict() for stage in ("motion", "lcm_video"))
    assert any(not torch.equal(teacher[key], student[key]) for key in teacher)


def test_every_file_says_what_it_is(run: Path, tmp_path: Path) -> None:
    for path in export(run, tmp_path):
        with safe_open(path, "pt") as file:
            assert "synthetic" in file.metadata()["title"]
            assert all(file.get_tensor(key).dtype != torch.float32 for key in file.keys())  # noqa: SIM118
        assert path.name.startswith(NAME)


def test_the_results_have_a_row_for_every_cell(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "RESULTS": tmp_path / "RESULTS.md",
        "SHEETS": tmp_path,
        "PROMPTS": 10,
        "REAL_CLIPS": 20,
    }.items():
        monkeypatch.setattr(tables, name, value)
    made = tables.TABLES[1]
    fewer = replace(made, cells=tuple(replace(cell, prompts=10) for cell in made.cells))
    monkeypatch.setattr(tables, "TABLES", (fewer,))
    tables.evaluate(run)
    written = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert all(f"| {cell.name} | 10 |" in written for cell in made.cells)
    with Image.open(tmp_path / f"{made.title.lower()}.png") as sheet:
        assert sheet.height >= len(made.cells) * SIZE
