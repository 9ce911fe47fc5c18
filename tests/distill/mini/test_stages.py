"""Every stage in turn, a second each: all files are made, they load in ComfyUI, and the results are written."""

import shutil
from pathlib import Path

import pytest
import torch
from animatelcm.distill.mini import stages
from animatelcm.distill.mini.export import FILES, MODELS, NAME, export
from animatelcm.distill.mini.restore import restore
from safetensors import safe_open
from safetensors.torch import load_file

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


def test_a_student_that_is_there_is_trained_on(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("lcm_video.train.pt"))
    teacher = stages.load_motion(run, "motion").state_dict()
    torch.save({key: value + 1 for key, value in teacher.items()}, folder / "lcm_video.pt")
    stages.train_lcm_video(folder, minutes=SECOND)
    student = stages.load_motion(folder, "lcm_video").state_dict()
    assert all((student[key] - teacher[key]).mean() > 0.9 for key in teacher)


def test_every_file_says_what_it_is(run: Path, tmp_path: Path) -> None:
    for path in export(run, tmp_path):
        with safe_open(path, "pt") as file:
            assert "synthetic" in file.metadata()["title"]
            assert all(file.get_tensor(key).dtype != torch.float32 for key in file.keys())  # noqa: SIM118
        assert path.name.startswith(NAME)


def test_a_run_is_restored_from_its_files_and_keeps_what_it_has(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path)
    (tmp_path / "layout.pt").write_bytes(own := (run / "layout.pt").read_bytes())
    restore(tmp_path, tmp_path)
    assert (tmp_path / "layout.pt").read_bytes() == own
    for stage in {"vae", *FILES} - {"layout"}:
        expected, found = (torch.load(folder / f"{stage}.pt") for folder in (run, tmp_path))
        assert expected.keys() == found.keys()
        for key, value in expected.items():
            rounded = value.half().to(value.dtype) if value.is_floating_point() else value
            torch.testing.assert_close(found[key], rounded, rtol=0, atol=0, msg=f"{stage} {key}")


def test_the_shipped_family_is_restored_and_exported_as_it_was(tmp_path: Path) -> None:
    restore(tmp_path)
    for path in export(tmp_path, tmp_path):
        shipped, again = load_file(MODELS / path.relative_to(tmp_path)), load_file(path)
        assert shipped.keys() == again.keys()
        assert all(torch.equal(shipped[key], again[key]) for key in shipped), path.name
