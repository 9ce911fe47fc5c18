"""Save AnimateLCM Video: where the file is, what the page is told, what the file remembers."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import comfy.model_management
import folder_paths
import pytest
import torch
from animatelcm.nodes.save_video import AnimateLCMSaveVideo
from comfy.cli_args import args

GRAPH = SimpleNamespace(prompt={"1": {"class_type": "X"}}, extra_pnginfo={"workflow": {"nodes": []}})


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    monkeypatch.setattr(folder_paths, "get_output_directory", lambda: str(tmp_path))
    yield tmp_path


def save(**inputs: Any) -> Any:
    node = type("Node", (AnimateLCMSaveVideo,), {"hidden": GRAPH})
    defaults = {
        "fps": 8.0,
        "filename_prefix": "clips/video",
        "format": "MP4 (H.264)",
        "quality": 80,
        "ping_pong": False,
    }
    return node.execute(images=torch.rand(4, 32, 32, 3), **{**defaults, **inputs})


@pytest.mark.parametrize(("format", "suffix"), [("MP4 (H.264)", "mp4"), ("WebM (VP9)", "webm"), ("GIF", "gif")])
def test_files_are_numbered_and_shown(output: Path, format: str, suffix: str) -> None:
    for number in (1, 2):
        shown = save(format=format).ui.as_dict()
        name = f"video_{number:05}_.{suffix}"
        assert (output / "clips" / name).stat().st_size
        assert shown["images"] == [{"filename": name, "subfolder": "clips", "type": "output"}]
        assert tuple(shown["animated"]) == (True,)


def test_the_file_remembers_the_graph_unless_told_not_to(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save()
    monkeypatch.setattr(args, "disable_metadata", True)
    save()
    first, second = (path.read_bytes() for path in sorted((output / "clips").iterdir()))
    assert b'{"1": {"class_type": "X"}}' in first and b'{"nodes": []}' in first
    assert b"class_type" not in second


def test_a_name_outside_the_output_folder_is_refused(output: Path) -> None:
    with pytest.raises(Exception, match="outside the output folder"):
        save(filename_prefix="../../elsewhere")


def test_an_interrupt_stops_it_and_leaves_nothing(output: Path) -> None:
    comfy.model_management.interrupt_current_processing()
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        save()
    assert not list((output / "clips").iterdir())


def test_an_unknown_format_is_said_before_the_run() -> None:
    assert AnimateLCMSaveVideo.validate_inputs("GIF") is True
    assert "'AVI' is not a format" in str(AnimateLCMSaveVideo.validate_inputs("AVI"))
