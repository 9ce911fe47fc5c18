"""Reading video files: the frames that were written, those that were asked for, and no others."""

import contextlib
import math
import resource
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg
import psutil
import pytest
import torch
from animatelcm.video.frames import VideoError
from animatelcm.video.probe import MAX_PIXELS
from animatelcm.video.read import Excerpt, read_video
from animatelcm.video.write import VideoSettings, write_video
from torch import Tensor

WIDTH, HEIGHT, FPS = 96, 64, 8.0
SAVED = (".mp4", ".webm", ".gif")


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


def peak_memory() -> int:
    """The most that this process ever held, in bytes (Linux)."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def running(name: str) -> list[int]:
    """The processes that this one started and that run a program."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):  # it may end at any time
            found += [child.pid] if name in " ".join(child.cmdline()) else []
    return found


def read(path: Path, **excerpt: float) -> tuple[Tensor, float]:
    whole = {"start": 0.0, "frames": 16, "every": 1, "width": WIDTH, "height": HEIGHT}
    return read_video(path, Excerpt(**{**whole, **excerpt}))  # type: ignore[arg-type]


@pytest.fixture(params=SAVED)
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


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])  # mkv's times are whole milliseconds
@pytest.mark.parametrize(
    ("rate", "fps", "start"),
    [(8.0, 8.0, 0.3), (24.0, 24.0, 0.0), (16.0, 8.0, 0.3), (24.0, 8.0, 0.1), (25.0, 8.0, 0.0), (8.0, 12.0, 0.0)],
)
def test_a_rate_is_reached_by_the_frames_nearest_to_its_moments(
    tmp_path: Path, rate: float, fps: float, start: float, suffix: str
) -> None:
    write_video(tmp_path / "written.mp4", numbered(22), VideoSettings(rate, 100))
    ffmpeg("-i", tmp_path / "written.mp4", "-c", "copy", tmp_path / f"clip.{suffix}")
    clip, found = read(tmp_path / f"clip.{suffix}", start=start, frames=4, fps=fps)
    assert found == fps
    assert numbers(clip) == [math.ceil(start * rate) + math.floor(n * rate / fps + 0.5) for n in range(4)]


def test_room_that_a_short_video_did_not_need_is_given_back(video: Path) -> None:
    clip, _ = read(video, frames=1000)
    assert clip.untyped_storage().nbytes() == 16 * HEIGHT * WIDTH * 3 * 4


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


@pytest.mark.parametrize("aspect", [1, 2], ids=["square", "pixels twice as wide"])
@pytest.mark.parametrize(("width", "height"), [(96, 64), (64, 64), (32, 64), (128, 64), (40, 120), (8, 8), (640, 64)])
def test_the_middle_is_shown_at_the_size_asked_for(tmp_path: Path, width: int, height: int, aspect: int) -> None:
    ramp = torch.linspace(0, 1, WIDTH)[None, None, :, None].expand(1, HEIGHT, WIDTH, 3)
    write_video(tmp_path / "ramp.mp4", ramp, VideoSettings(FPS, 100))
    ffmpeg("-i", tmp_path / "ramp.mp4", "-vf", f"setsar={aspect}", "-crf", "1", tmp_path / "clip.mp4")
    clip, _ = read(tmp_path / "clip.mp4", width=width, height=height)
    assert clip.shape == (1, height, width, 3)
    shown = min(1.0, width / height * HEIGHT / (aspect * WIDTH))  # of the picture's width
    columns = 0.5 + shown * ((torch.arange(width) + 0.5) / width - 0.5)
    torch.testing.assert_close(clip[0, :, :, 1].mean(0), columns, atol=1.5 / WIDTH + 3 / 255, rtol=0)


@pytest.mark.parametrize("fps", [0.0, -8.0, math.inf, math.nan])
def test_a_rate_that_is_none_is_named(fps: float) -> None:
    with pytest.raises(VideoError, match=r"The rate of an excerpt is .* more than 0"):
        Excerpt(0.0, 1, 1, 8, 8, fps)


@pytest.mark.parametrize("rate", [0.5, 24000 / 1001, 120.0, 1000.0, 1500.0, 2000.0])
def test_every_rate_is_read(tmp_path: Path, rate: float) -> None:
    """ffmpeg prints 1000 as 1k."""
    write_video(tmp_path / "clip.mp4", numbered(4), VideoSettings(FPS, 100))
    ffmpeg("-r", rate, "-i", tmp_path / "clip.mp4", tmp_path / "clip.mkv")
    assert read(tmp_path / "clip.mkv")[1] == pytest.approx(rate, rel=0.01)


# From one file of frames to every container that is read
FORMATS_READ = {
    "mkv": ("-c", "copy"),
    "mov": ("-c", "copy"),
    "flv": ("-c", "copy"),
    "avi": ("-q", "1"),
    "wmv": ("-q", "1"),
    "ogv": ("-q", "10"),
    "mpg": ("-r", "24", "-q", "1"),
    "ts": ("-c:v", "mpeg2video", "-q", "1", "-r", "24"),
    "gif": (),
    "webp": ("-c:v", "libwebp_anim", "-lossless", "1"),
    "apng": ("-plays", "0"),
}


@pytest.mark.parametrize(("suffix", "options"), FORMATS_READ.items(), ids=FORMATS_READ)
def test_every_container_is_read_from_any_second_on(tmp_path: Path, suffix: str, options: tuple[str, ...]) -> None:
    write_video(tmp_path / "clip.mp4", numbered(16), VideoSettings(FPS, 100))
    ffmpeg("-i", tmp_path / "clip.mp4", *options, tmp_path / f"clip.{suffix}")
    whole, fps = read(tmp_path / f"clip.{suffix}", frames=64)
    assert numbers(whole[:: round(fps / FPS)])[:14] == list(range(14))
    late, _ = read(tmp_path / f"clip.{suffix}", start=1.0, every=round(fps / FPS), frames=6)
    assert numbers(late) == list(range(8, 14))


@pytest.mark.parametrize(("height", "matrix"), [(480, "bt601"), (720, "bt709")])
def test_a_film_that_does_not_tell_its_matrix_is_shown_as_players_do(tmp_path: Path, height: int, matrix: str) -> None:
    colour = f"color=c=0xd02131:s={height * 16 // 9 // 2 * 2}x{height}:d=0.2:r=10"
    untagged = f"scale=out_color_matrix={matrix},format=yuv420p,setparams=colorspace=unknown:range=tv"
    ffmpeg("-f", "lavfi", "-i", colour, "-vf", untagged, "-c:v", "mpeg4", "-q", "1", tmp_path / "film.avi")
    clip, _ = read(tmp_path / "film.avi")
    shown = clip[0].mean((0, 1)) * 255
    torch.testing.assert_close(shown, torch.tensor([208.0, 33.0, 49.0]), atol=3, rtol=0)


def test_progress_counts_to_the_frames_asked_for(video: Path) -> None:
    seen = []
    read_video(video, Excerpt(0.0, 4, 1, 8, 8), lambda done, total: seen.append((done, total)))
    assert sorted(set(seen)) == [(0, 4), (1, 4), (2, 4), (3, 4)] and seen == sorted(seen)


def test_a_callback_that_raises_stops_ffmpeg(video: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_video(video, Excerpt(0.0, 16, 1, 8, 8), stop)
    assert not running("ffmpeg")


def test_a_start_behind_the_end_is_named(video: Path) -> None:
    expected = r"clip\.\w+ has no frame from second 9 on, and is 2\S* seconds long. Choose an earlier start"
    with pytest.raises(VideoError, match=expected):
        read(video, start=9.0)


def test_a_file_that_is_cut_off_is_named(tmp_path: Path) -> None:
    write_video(tmp_path / "film.mp4", numbered(16), VideoSettings(FPS, 100))
    whole = (tmp_path / "film.mp4").read_bytes()
    (tmp_path / "film.mp4").write_bytes(whole[: whole.index(b"mdat") + 100])
    with pytest.raises(VideoError, match=r"film.mp4 is damaged or cut off: no frame can be read.*Copy or download"):
        read(tmp_path / "film.mp4")


@pytest.mark.parametrize("suffix", SAVED)
@pytest.mark.parametrize("kept", [8, 40, 300])
def test_the_beginning_of_a_file_is_named_as_what_it_is(tmp_path: Path, suffix: str, kept: int) -> None:
    path = tmp_path / f"film{suffix}"
    write_video(path, numbered(4), VideoSettings(FPS, 100))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(VideoError, match=rf"film{suffix} is .*damaged or cut off"):
        read(path)


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", tmp_path / "song.mp4")
    with pytest.raises(VideoError, match=r"song.mp4 has sound and no pictures. Choose a video\."):
        read(tmp_path / "song.mp4")


def test_a_cover_is_no_video(tmp_path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "color=s=64x64", "-frames:v", "1", tmp_path / "cover.png")
    inputs = ("-f", "lavfi", "-i", "sine=duration=1", "-i", tmp_path / "cover.png")
    ffmpeg(*inputs, "-map", "0", "-map", "1", "-c:v", "mjpeg", "-disposition:v", "attached_pic", tmp_path / "song.m4a")
    with pytest.raises(VideoError, match="song.m4a has sound and no pictures"):
        read(tmp_path / "song.m4a")


@pytest.mark.parametrize(
    ("excerpt", "expected"),
    [
        ({"start": math.nan}, "start of an excerpt is nan. Expected seconds, 0 or more"),
        ({"start": math.inf}, "start of an excerpt is inf"),
        ({"start": -1.0}, "start of an excerpt is -1"),
        ({"frames": 0}, "frames of an excerpt is 0. Expected 1 or more"),
        ({"every": 0}, "every of an excerpt is 0"),
        ({"width": math.nan}, "width of an excerpt is nan"),
    ],
)
def test_numbers_that_make_no_sense_are_named(tmp_path: Path, excerpt: dict[str, float], expected: str) -> None:
    with pytest.raises(VideoError, match=expected):
        read(tmp_path / "film.mp4", **excerpt)


def test_frames_that_no_memory_holds_are_refused_before_reading(tmp_path: Path) -> None:
    write_video(tmp_path / "film.mp4", numbered(1), VideoSettings(FPS, 100))
    with pytest.raises(VideoError, match=r"4000000 frames of 4096x4096 take 805306 GB.*Choose fewer"):
        read(tmp_path / "film.mp4", frames=4_000_000, width=4096, height=4096)


# What a file claims


def gif_of(width: int, height: int) -> bytes:
    """A GIF of one pixel that claims to be large."""
    size = struct.pack("<HH", width, height)
    screen, colours = b"GIF89a" + size + b"\x80\x00\x00", b"\x00\x00\x00\xff\xff\xff"
    return screen + colours + b"\x2c\x00\x00\x00\x00" + size + b"\x00\x02\x02\x44\x01\x00\x3b"


def test_a_picture_of_no_pixels_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "none.gif").write_bytes(gif_of(0, 0))
    with pytest.raises(VideoError, match="none.gif is a GIF file, damaged or cut off"):
        read(tmp_path / "none.gif")


@pytest.mark.parametrize(("width", "height"), [(65535, 65535), (8192, 4321), (65535, 541)])
def test_more_pixels_than_the_limit_are_refused_before_they_are_made(tmp_path: Path, width: int, height: int) -> None:
    (tmp_path / "bomb.gif").write_bytes(gif_of(width, height))
    with pytest.raises(VideoError, match=rf"bomb.gif claims pictures of {width}x{height}. The limit is 8192x4320"):
        read(tmp_path / "bomb.gif")


def test_a_picture_at_the_limit_costs_what_one_picture_costs(tmp_path: Path) -> None:
    """It is scaled inside ffmpeg: here, only what was asked for arrives."""
    (tmp_path / "large.gif").write_bytes(gif_of(8192, 4320))
    before = peak_memory()
    clip, _ = read(tmp_path / "large.gif", width=64, height=64)
    assert clip.shape == (1, 64, 64, 3)
    assert peak_memory() - before < MAX_PIXELS  # one byte a pixel is less than any copy of it


def test_a_video_that_grows_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    """The size that counts is each picture's, not only the one that the file begins with."""
    for name, size in (("small", "64x64"), ("large", "8704x4352")):
        pictures = ("-f", "lavfi", "-i", f"color=c=red:s={size}:r=8:d=0.25")
        ffmpeg(*pictures, "-c:v", "libx264", "-preset", "ultrafast", tmp_path / f"{name}.ts")
    grown = (tmp_path / "small.ts").read_bytes() + (tmp_path / "large.ts").read_bytes()
    (tmp_path / "grown.ts").write_bytes(grown)
    with pytest.raises(VideoError, match="grown.ts claims pictures of 8704x4352"):
        read(tmp_path / "grown.ts")


# What stops, and what is missing


def test_an_ffmpeg_that_hangs_ends_at_an_interrupt(video: Path, stand_in: Callable[[str], None]) -> None:
    stand_in("sleep 100")
    begin = time.monotonic()

    def interrupt(done: int, total: int) -> None:
        if time.monotonic() > begin + 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_video(video, Excerpt(0.0, 16, 1, 8, 8), interrupt)
    assert time.monotonic() - begin < 5  # of the 100
    assert not running("sleep") and not running("ffmpeg")


def test_a_program_that_is_not_ffmpeg_is_named_and_not_the_video(video: Path, stand_in: Callable[[str], None]) -> None:
    stand_in("echo hello")
    with pytest.raises(VideoError, match="my_ffmpeg is not ffmpeg, or does not start. Install it again with 'pip"):
        read(video)
