"""Load AnimateLCM Video: which files there are, and what is said of those that are not."""

import os
from collections.abc import Iterator
from pathlib import Path

import comfy.model_management
import folder_paths
import pytest
import torch
from animatelcm.nodes.load_video import AnimateLCMLoadVideo
from animatelcm.nodes.videos import NAMED, videos
from animatelcm.video.sound import Sound
from animatelcm.video.write import VideoSettings, write_video

EXAMPLE = "animatelcm_example_circle.mp4"


@pytest.fixture
def input_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    monkeypatch.setattr(folder_paths, "get_input_directory", lambda: str(tmp_path))
    yield tmp_path


def add(path: Path, frames: int = 4) -> None:
    path.parent.mkdir(exist_ok=True)
    write_video(path, torch.full((frames, 32, 32, 3), 0.5), VideoSettings(8.0, 100))


def load(video: str, frames: int = 4) -> tuple[torch.Tensor, float]:
    return AnimateLCMLoadVideo.execute(video, 0.0, frames, 1, 64, 128).args[:2]


def test_videos_of_the_input_folder_come_before_the_example(input_folder: Path) -> None:
    for name in ("b.mp4", "a.GIF", "picture.png", "c.webm", "picture.webp"):
        (input_folder / name).touch()
    (input_folder / "d.webp").write_bytes(b"RIFF\x00\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00ANIM")
    (input_folder / "folder.mp4").mkdir()
    assert videos() == ["a.GIF", "b.mp4", "c.webm", "d.webp", EXAMPLE]


def test_a_missing_input_folder_is_an_empty_one(input_folder: Path) -> None:
    input_folder.rmdir()
    assert videos() == [EXAMPLE]


def test_the_example_loads_right_after_install(input_folder: Path) -> None:
    images, fps = load(EXAMPLE, 16)
    assert images.shape == (16, 128, 64, 3)
    assert fps == 8


@pytest.mark.parametrize("name", ["clip.mp4", "sub/clip.mp4", "clip.mp4 [input]"])
def test_a_file_of_the_input_folder_loads(input_folder: Path, name: str) -> None:
    add(input_folder / name.removesuffix(" [input]"))
    assert AnimateLCMLoadVideo.validate_inputs(name) is True
    assert load(name)[0].shape == (4, 128, 64, 3)


def test_a_file_of_the_users_goes_before_an_example_of_that_name(input_folder: Path) -> None:
    add(input_folder / EXAMPLE, frames=2)
    assert videos() == [EXAMPLE]
    assert len(load(EXAMPLE)[0]) == 2


def test_a_missing_video_is_named(input_folder: Path) -> None:
    message = AnimateLCMLoadVideo.validate_inputs("nothing.mp4")
    there = f"There is no video 'nothing.mp4' in ComfyUI's input folder. There are: {EXAMPLE}. "
    assert message == there + "Choose one of them, or upload a video."


def test_a_message_names_no_more_videos_than_one_reads(input_folder: Path) -> None:
    for number in range(NAMED + 1):
        (input_folder / f"{number:02}.mp4").touch()
    message = str(AnimateLCMLoadVideo.validate_inputs("nothing.mp4"))
    assert "00.mp4, 01.mp4" in message and "09.mp4, ..." in message
    assert "10.mp4" not in message


def test_files_outside_of_the_folders_are_none(input_folder: Path) -> None:
    add(input_folder.parent / "outside" / "clip.mp4")
    for name in ("../outside/clip.mp4", str(input_folder.parent / "outside" / "clip.mp4")):
        assert "There is no video" in str(AnimateLCMLoadVideo.validate_inputs(name))


def test_a_name_that_another_node_hands_over_is_not_checked_too_early() -> None:
    assert AnimateLCMLoadVideo.validate_inputs(None) is True


def test_a_replaced_file_is_read_again(input_folder: Path) -> None:
    """Though it has the same time, and the same size."""
    add(input_folder / "clip.mp4")
    before, time = fingerprint(), (input_folder / "clip.mp4").stat().st_mtime
    assert fingerprint() == before
    (input_folder / "other.mp4").write_bytes((input_folder / "clip.mp4").read_bytes())
    os.utime(input_folder / "other.mp4", (time, time))
    (input_folder / "other.mp4").replace(input_folder / "clip.mp4")
    assert fingerprint() != before


def fingerprint() -> str:
    return AnimateLCMLoadVideo.fingerprint_inputs("clip.mp4", start=0.0)


def test_its_sound_comes_with_it(input_folder: Path) -> None:
    tone = torch.sin(torch.arange(48000) / 10)[None].repeat(2, 1)
    write_video(
        input_folder / "clip.mp4", torch.full((8, 32, 32, 3), 0.5), VideoSettings(8.0, sound=Sound(tone, 48000))
    )
    audio = AnimateLCMLoadVideo.execute("clip.mp4", 0.5, 2, 2, 64, 64).args[2]
    assert audio["sample_rate"] == 48000
    assert audio["waveform"].shape == (1, 2, 24000) and audio["waveform"].abs().max() > 0.5


def test_a_video_without_sound_comes_with_silence(input_folder: Path) -> None:
    add(input_folder / "clip.mp4")
    audio = AnimateLCMLoadVideo.execute("clip.mp4", 0.0, 4, 1, 64, 64).args[2]
    assert audio["waveform"].shape == (1, 1, audio["sample_rate"] // 2) and not audio["waveform"].any()


def test_a_video_that_is_too_short_is_warned_about(input_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    add(input_folder / "clip.mp4", frames=2)
    assert len(load("clip.mp4")[0]) == 2
    assert "clip.mp4 ends after 2 of 4 frames" in caplog.text


def test_a_video_of_one_frame_is_named(input_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    add(input_folder / "clip.mp4", frames=1)
    assert len(load("clip.mp4")[0]) == 1
    assert "clip.mp4 has one frame from second 0 on; motion needs at least 2" in caplog.text


def test_a_video_that_tells_no_rate_has_eight_frames_a_second(
    input_folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(input_folder / "clip.mp4")
    monkeypatch.setattr("animatelcm.nodes.load_video.read_video", lambda *inputs: (torch.zeros(4, 8, 8, 3), 0.0))
    assert load("clip.mp4")[1] == 8
    assert "clip.mp4 does not say how fast it plays" in caplog.text


def test_an_interrupt_stops_it(input_folder: Path) -> None:
    add(input_folder / "clip.mp4")
    comfy.model_management.interrupt_current_processing()
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        load("clip.mp4")
