"""Save AnimateLCM Video: where the file is, what the page is told, what the file remembers."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import comfy.model_management
import folder_paths
import pytest
import torch
from animatelcm.nodes.save_video import AnimateLCMSaveVideo
from animatelcm.video.frames import VideoError
from animatelcm.video.probe import SoundStream, describe
from comfy.cli_args import args
from comfy_api.input_impl import VideoFromFile
from comfy_extras.nodes_video import CreateVideo, GetVideoComponents

GRAPH = SimpleNamespace(prompt={"1": {"class_type": "X"}}, extra_pnginfo={"workflow": {"nodes": []}})


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    monkeypatch.setattr(folder_paths, "get_output_directory", lambda: str(tmp_path))
    yield tmp_path


def save(graph: SimpleNamespace = GRAPH, **inputs: Any) -> Any:
    node = type("Node", (AnimateLCMSaveVideo,), {"hidden": graph})
    defaults = {
        "fps": 8.0,
        "filename_prefix": "clips/video",
        "format": "MP4 (H.264)",
        "quality": 80,
        "ping_pong": False,
    }
    return node.execute(**{"images": torch.rand(4, 32, 32, 3), **defaults, **inputs})


@pytest.mark.parametrize(
    ("format", "suffix"),
    [
        ("MP4 (H.264)", "mp4"),
        ("WebM (VP9)", "webm"),
        ("GIF", "gif"),
        ("MP4 (H.265)", "mp4"),
        ("MP4 (AV1)", "mp4"),
        ("MOV (ProRes)", "mov"),
        ("WebP", "webp"),
    ],
)
def test_files_are_numbered_and_shown(output: Path, format: str, suffix: str) -> None:
    for number in (1, 2):
        shown = save(format=format).ui.as_dict()
        name = f"video_{number:05}_.{suffix}"
        assert (output / "clips" / name).stat().st_size
        assert shown["images"] == [{"filename": name, "subfolder": "clips", "type": "output"}]
        # The page would take an animated GIF for a video, which it cannot play
        assert tuple(shown.get("animated", (False,))) == (format != "GIF",)


def test_a_sequence_is_a_folder_of_pictures(output: Path) -> None:
    for number in (1, 2):
        shown = save(format="PNG sequence").ui.as_dict()
        folder = f"clips/video_{number:05}_"
        names = [f"{picture:05}.png" for picture in (1, 2, 3, 4)]
        assert sorted(path.name for path in (output / folder).iterdir()) == names
        assert shown["images"] == [{"filename": name, "subfolder": folder, "type": "output"} for name in names]
        assert "animated" not in shown


def test_sound_is_saved(output: Path) -> None:
    tone = torch.sin(torch.arange(48000) / 10)[None, None]
    save(audio={"waveform": tone, "sample_rate": 48000})
    save()
    sounds = [describe(path).sound for path in sorted((output / "clips").iterdir())]
    assert sounds == [SoundStream(48000, 1), None]


class Lazy(Mapping[str, Any]):
    """Sound that is read when it is asked for, as other packs hand it over."""

    def __getitem__(self, key: str) -> Any:
        return {"waveform": torch.ones(1, 2, 48000), "sample_rate": 48000}[key]

    def __iter__(self) -> Iterator[str]:
        return iter(("waveform", "sample_rate"))

    def __len__(self) -> int:
        return 2


def test_sound_may_be_read_when_it_is_asked_for(output: Path) -> None:
    save(audio=Lazy())
    assert describe(output / "clips" / "video_00001_.mp4").sound == SoundStream(48000, 2)


def test_comfyuis_own_video_nodes_fit_before_and_after(output: Path) -> None:
    tone = {"waveform": 0.5 * torch.sin(torch.arange(48000) / 10)[None, None], "sample_rate": 48000}
    (video,) = CreateVideo.execute(torch.rand(8, 32, 32, 3), 8.0, tone).args
    images, audio, fps, *_ = GetVideoComponents.execute(video).args  # newer versions say more
    save(images=images, fps=fps, audio=audio)
    saved = GetVideoComponents.execute(VideoFromFile(str(output / "clips" / "video_00001_.mp4"))).args
    assert saved[0].shape == images.shape and saved[2] == 8.0
    assert saved[1]["sample_rate"] == 48000 and saved[1]["waveform"].abs().max() > 0.3


@pytest.mark.parametrize("audio", [7, {}, {"waveform": torch.zeros(2, 8), "sample_rate": 8000}, {"sample_rate": 8000}])
def test_what_is_no_sound_is_named(output: Path, audio: Any) -> None:
    with pytest.raises(ValueError, match="audio of 'Save AnimateLCM Video' is .*Expected an AUDIO"):
        save(audio=audio)


def test_the_file_remembers_the_graph_unless_told_not_to(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save()
    monkeypatch.setattr(args, "disable_metadata", True)
    save()
    first, second = (path.read_bytes() for path in sorted((output / "clips").iterdir()))
    assert b'{"1":{"class_type":"X"}}' in first and b'{"nodes":[]}' in first
    assert b"class_type" not in second


def test_a_name_outside_the_output_folder_is_refused(output: Path) -> None:
    with pytest.raises(Exception, match="outside the output folder"):
        save(filename_prefix="../../elsewhere")


@pytest.mark.parametrize("extra", [[1, 2], "text", 7, True])
def test_extra_metadata_that_is_no_dictionary_is_left_out(
    output: Path, extra: Any, caplog: pytest.LogCaptureFixture
) -> None:
    save(SimpleNamespace(prompt={"1": {}}, extra_pnginfo=extra))
    assert b'{"1":{}}' in (output / "clips" / "video_00001_.mp4").read_bytes()
    assert "extra_pnginfo is no dictionary" in caplog.text


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("x" * 250, "'x+\\.\\.\\.x+' could not be saved: the name is too long for this disk. Choose a shorter one"),
        ("x" * 300 + "/video", "the name is too long for this disk"),
        ("a\0b", "cannot be a file's name .*Choose another filename_prefix"),
        ("half \ud800", "cannot be a file's name .*Choose another filename_prefix"),
    ],
)
def test_a_name_that_cannot_be_is_said_before_the_work(output: Path, prefix: str, expected: str) -> None:
    images = torch.full((4, 32, 32, 3), torch.nan)  # which the work would have found
    with pytest.raises(VideoError, match=expected):
        save(images=images, filename_prefix=prefix)
    assert not [path for path in output.rglob("*") if path.is_file()]


def test_frames_that_are_no_numbers_are_refused(output: Path) -> None:
    images = torch.rand(4, 32, 32, 3)
    images[2, 3, 4, 1] = torch.nan
    with pytest.raises(VideoError, match="Frame 2 has values that are not numbers"):
        save(images=images)
    assert not list((output / "clips").iterdir())


def test_a_folder_that_is_a_link_is_followed(output: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whoever put it there has the server's disk; a graph cannot."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (output / "clips").symlink_to(elsewhere)
    save()
    assert [path.name for path in elsewhere.iterdir()] == ["video_00001_.mp4"]


def test_what_is_unfinished_is_in_comfyuis_temporary_folder(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_paths, "get_temp_directory", lambda: str(output / "temp"))
    save()
    assert (output / "temp").is_dir() and not list((output / "temp").iterdir())


def test_an_interrupt_stops_it_and_leaves_nothing(output: Path) -> None:
    comfy.model_management.interrupt_current_processing()
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        save()
    assert not list((output / "clips").iterdir())


def test_an_unknown_format_is_said_before_the_run() -> None:
    assert AnimateLCMSaveVideo.validate_inputs("GIF") is True
    assert "the text 'AVI'. Expected one of: MP4" in str(AnimateLCMSaveVideo.validate_inputs("AVI"))
