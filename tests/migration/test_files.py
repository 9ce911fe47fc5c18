"""`python dev.py migrate`: what is written where, and what is said."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest
from animatelcm.migration.files import migrate
from animatelcm.migration.move import move

from .build import Json
from .cases import CASES
from .workflows import Recipe, built

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = built(Recipe(schedule="autoselect")).page()


def saved(folder: Path, document: Json, **options: object) -> Path:
    path = folder / "dance.json"
    path.write_text(json.dumps(document, **options), encoding="utf-8")
    return path


def run(*arguments: object) -> tuple[int, list[str]]:
    """The exit status and the lines of `dev.py migrate`, with a Python that has nothing installed."""
    command = [sys.executable, "-E", "-S", str(ROOT / "dev.py"), "migrate", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert not done.stderr
    return done.returncode, done.stdout.splitlines()


def test_a_file_is_moved_beside_with_nothing_installed(tmp_path: Path) -> None:
    path = saved(tmp_path, WORKFLOW)
    status, said = run(path)
    written = tmp_path / "dance.animatelcm.json"
    assert (status, said[-1]) == (0, f"Wrote {written}")
    assert json.loads(written.read_text()) == move(WORKFLOW).document
    assert json.loads(path.read_text()) == WORKFLOW
    assert {file.name for file in tmp_path.iterdir()} == {"dance.json", "dance.animatelcm.json"}


def test_check_writes_nothing(tmp_path: Path) -> None:
    status, said = run(saved(tmp_path, WORKFLOW), "--check")
    assert status == 0
    assert any("becomes Load AnimateLCM Motion Module and Apply AnimateLCM" in line for line in said)
    assert [file.name for file in tmp_path.iterdir()] == ["dance.json"]


def test_in_place_keeps_the_name_and_the_layout_of_lines(tmp_path: Path) -> None:
    said: list[str] = []
    for indent in (None, 2):
        path = saved(tmp_path, WORKFLOW, indent=indent)
        assert migrate([path], check=False, in_place=True, say=said.append) == 0
        assert json.loads(path.read_text()) == move(WORKFLOW).document
        assert ("\n" in path.read_text()) == bool(indent)


def test_a_graph_that_still_needs_ade_is_told_by_the_status(tmp_path: Path) -> None:
    said: list[str] = []
    path = saved(tmp_path, built(CASES["gen1_prompt_schedule"].recipe).api())
    assert migrate([path], check=True, in_place=False, say=said.append) == 1
    assert "still needs AnimateDiff-Evolved" in said[0]


def test_a_graph_without_ade_is_left_alone(tmp_path: Path) -> None:
    said: list[str] = []
    path = saved(tmp_path, json.loads((ROOT / "workflows" / "text_to_video.json").read_text()))
    assert migrate([path], check=False, in_place=False, say=said.append) == 0
    assert said == [f"{path}: There is no AnimateDiff-Evolved node in this graph."]
    assert [file.name for file in tmp_path.iterdir()] == ["dance.json"]


def test_a_file_that_is_there_already_is_kept(tmp_path: Path) -> None:
    path, said = saved(tmp_path, WORKFLOW), []
    other = tmp_path / "dance.animatelcm.json"
    other.write_text("mine")
    assert migrate([path], check=False, in_place=False, say=said.append) == 1
    assert said == [f"{other} is there already. Move it away, or use --in-place."]
    assert other.read_text() == "mine"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "There is no file"),
        (b"<html>", "is no JSON: Expecting value in line 1."),
        (b"\x89PNG\r\n\x1a\n\xff", "cannot be read as text"),
        (b'{"a": 1}', "This is no graph of ComfyUI."),
        (b"[" * 100_000, "is nested deeper than any workflow"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_and_the_next_is_moved(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    path, said = saved(tmp_path, WORKFLOW), []
    wrong = tmp_path / "wrong.json"
    if content is not None:
        wrong.write_bytes(content)
    assert migrate([wrong, path], check=False, in_place=False, say=said.append) == 1
    assert words in said[0] and str(wrong) in said[0]
    assert said[-1] == f"Wrote {tmp_path / 'dance.animatelcm.json'}"


def test_where_nothing_can_be_written_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    path, said = saved(tmp_path, WORKFLOW), []
    for way in ("write_text", "unlink"):
        monkeypatch.setattr(Path, way, refuse)
    assert migrate([path], check=False, in_place=False, say=said.append) == 1
    target = tmp_path / "dance.animatelcm.json"
    assert said == [f"{target} cannot be written: read-only file system. Choose a folder that can be written to."]
    assert [file.name for file in tmp_path.iterdir()] == ["dance.json"]


def test_no_copy_is_written_where_every_node_stays(tmp_path: Path) -> None:
    shown = {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}}
    path, said = saved(tmp_path, {"1": {"class_type": "ADE_CameraPoseBasic", "inputs": {}}, "2": shown}), []
    assert migrate([path], check=False, in_place=False, say=said.append) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["dance.json"]
