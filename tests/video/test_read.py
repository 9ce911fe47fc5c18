"""Reading video files: the frames that were written, those that were asked for, and no others."""

import os
import subprocess
from pathlib import Path

import imageio_ffmpeg
import pytest
import torch
from animatelcm.video.frames import VideoError
from animatelcm.video.read import Excerpt, fitted, opened, read_video
from animatelcm.video.write import FORMATS, VideoSettings, write_video
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

WIDTH, HEIGHT, FPS = 96, 64, 8.0


def numbered(count: int) -> Tensor:
    """Frames ten levels of blue apart, red on the left and green on the right, (count, height, width, 3)."""
    clip = torch.full((count, HEIGHT, WIDTH, 3), 0.2)
    clip[:, :, : WIDTH // 2, 0] = clip[:, :, WIDTH // 2 :, 1] = 0.6
    clip[..., 2] = ((torch.arange(count) * 10 + 20) / 255)[:, None, None]
    return clip


def numbers(clip: Tensor) -> list[int]:
    return ((clip[..., 2].mean((1, 2)) * 255 - 20) / 10).round().int().tolist()


def away_from_edges(clip: Tensor) -> Tensor:
    """Four places of each frame, far from where colours meet: a video has one colour for 2x2 pixels."""
    tall, wide = clip.shape[1:3]
    return clip[:, [tall // 4, -tall // 4]][:, :, [wide // 4, -wide // 4]]


def ffmpeg(*arguments: object) -> None:
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *map(str, arguments)], check=True)


def running_ffmpegs() -> list[int]:
    """The processes of this one that run ffmpeg (Linux)."""
    children = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    found = [int(child) for path in children for child in path.read_text().split()]
    return [child for child in found if "ffmpeg" in Path(f"/proc/{child}/cmdline").read_text()]


def read(path: Path, **excerpt: float) -> tuple[Tensor, float]:
    whole = {"start": 0.0, "frames": 16, "every": 1, "width": WIDTH, "height": HEIGHT}
    return read_video(path, Excerpt(**{**whole, **excerpt}))  # type: ignore[arg-type]


@pytest.fixture(params=FORMATS.values())
def video(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    write_video(tmp_path / f"clip{request.param}", numbered(16), VideoSettings(FPS, 100))
    return tmp_path / f"clip{request.param}"


@pytest.mark.parametrize(
    ("excerpt", "expected"),
    [
        ({}, range(16)),
        ({"frames": 5}, range(5)),
        ({"every": 3}, range(0, 16, 3)),
        ({"every": 4, "frames": 2}, range(0, 8, 4)),
        ({"start": 1.0, "frames": 4}, range(8, 12)),
        ({"start": 1.0, "every": 2}, range(8, 16, 2)),
        ({"frames": 100}, range(16)),
    ],
)
def test_the_frames_asked_for_are_read(video: Path, excerpt: dict[str, float], expected: range) -> None:
    clip, fps = read(video, **excerpt)
    assert numbers(clip) == list(expected)
    assert fps == pytest.approx(FPS / excerpt.get("every", 1), rel=0.05)  # a GIF counts hundredths of a second


def test_frames_are_what_was_written(video: Path) -> None:
    torch.testing.assert_close(away_from_edges(read(video)[0]), away_from_edges(numbered(16)), atol=3 / 255, rtol=0)


def test_gaps_between_frames_are_not_filled(tmp_path: Path) -> None:
    write_video(tmp_path / "even.mp4", numbered(8), VideoSettings(FPS, 100))
    slower = ("-vf", "setpts='N*(1+N)/8/TB'", "-fps_mode", "vfr")
    ffmpeg("-i", tmp_path / "even.mp4", *slower, tmp_path / "uneven.mkv")
    assert numbers(read(tmp_path / "uneven.mkv")[0]) == list(range(8))


def test_a_turned_video_is_upright(tmp_path: Path) -> None:
    write_video(tmp_path / "lying.mp4", numbered(2), VideoSettings(FPS, 100))
    ffmpeg("-display_rotation", "90", "-i", tmp_path / "lying.mp4", "-c", "copy", tmp_path / "turned.mp4")
    turned = away_from_edges(read(tmp_path / "turned.mp4", width=HEIGHT, height=WIDTH)[0])
    expected = away_from_edges(numbered(2).rot90(1, (1, 2)))  # counter-clockwise
    torch.testing.assert_close(turned, expected, atol=3 / 255, rtol=0)


def test_pixels_that_are_not_square_become_square(tmp_path: Path) -> None:
    write_video(tmp_path / "square.mp4", numbered(2), VideoSettings(FPS, 100))
    ffmpeg("-i", tmp_path / "square.mp4", "-vf", "setsar=2", "-crf", "1", tmp_path / "wide.mp4")
    with opened(tmp_path / "wide.mp4", Excerpt(0.0, 1, 1, WIDTH, HEIGHT)) as (about, _):
        assert about["size"] == (2 * WIDTH, HEIGHT)


def test_a_rate_that_the_file_does_not_tell_is_zero(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", numbered(1), VideoSettings(FPS, 100))
    ffmpeg("-i", tmp_path / "clip.mp4", "-r", "1000", tmp_path / "clip.mkv")  # ffmpeg prints "1k"
    assert read(tmp_path / "clip.mkv")[1] == 0


@given(st.integers(1, 80), st.integers(1, 80), st.integers(1, 80), st.integers(1, 80))
def test_the_middle_is_scaled_to_the_size(wide: int, tall: int, width: int, height: int) -> None:
    frame = torch.linspace(0, 255, wide)[None, :, None].expand(tall, wide, 3).round().byte()
    scaled = fitted(frame, width, height)
    assert scaled.shape == (height, width, 3) and scaled.dtype == torch.uint8
    half_a_pixel = 128 / max(1, wide - 1)
    assert abs(scaled.float().mean() - frame.float().mean()).item() < 1.2 * half_a_pixel + 1


def test_progress_counts_to_the_frames_asked_for(video: Path) -> None:
    seen = []
    read_video(video, Excerpt(0.0, 4, 1, 8, 8), lambda done, total: seen.append((done, total)))
    assert seen == [(0, 4), (1, 4), (2, 4), (3, 4)]


def test_a_callback_that_raises_stops_ffmpeg(video: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_video(video, Excerpt(0.0, 16, 1, 8, 8), stop)
    assert not running_ffmpegs()


def test_a_start_behind_the_end_is_named(video: Path) -> None:
    expected = r"clip\.\w+ has no frame from second 9 on, and is 2\S* seconds long. Choose an earlier start"
    with pytest.raises(VideoError, match=expected):
        read(video, start=9.0)


def test_a_file_that_is_cut_off_is_named(tmp_path: Path) -> None:
    write_video(tmp_path / "film.mp4", numbered(16), VideoSettings(FPS, 100))
    whole = (tmp_path / "film.mp4").read_bytes()
    (tmp_path / "film.mp4").write_bytes(whole[: whole.index(b"mdat") + 100])
    with pytest.raises(VideoError, match=r"ffmpeg cannot read film.mp4 as a video: .*\. If it is one, it is damaged"):
        read(tmp_path / "film.mp4")


@pytest.mark.parametrize("content", [b"", b"\xff" * 4000, b"<html>", b"RIFF"])
def test_what_is_no_video_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "film.mp4").write_bytes(content)
    with pytest.raises(VideoError, match="cannot read film.mp4 as a video: .*Invalid data.*choose an MP4"):
        read(tmp_path / "film.mp4")


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", tmp_path / "song.mp4")
    with pytest.raises(VideoError, match="cannot read song.mp4 as a video"):
        read(tmp_path / "song.mp4")
