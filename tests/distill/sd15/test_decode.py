"""Clips and images as pixels: from where, at which rate, in what size, and in how much memory."""

import subprocess
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from animatelcm.distill.sd15 import decode
from animatelcm.distill.sd15.decode import read_clip, read_image
from animatelcm.video.probe import describe
from PIL import Image
from torch import Tensor

from .conftest import FRAMES, SIZE, write_clip

LENGTH, RATE = 12, 8.0  # of `write_clip`


def clip_levels(path: Path, fps: float, seed: int, frames: int = FRAMES) -> list[int]:
    """The numbers of the frames that were read: `write_clip` makes each 20 levels brighter than the one before."""
    clip = read_clip(path, frames, fps, SIZE, SIZE, np.random.default_rng(seed))
    assert clip.shape == (frames, 3, SIZE, SIZE)
    return ((clip + 1) * 127.5 / 20).mean((1, 2, 3)).round().int().tolist()


def ffmpeg(*arguments: object) -> bytes:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True).stdout


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    write_clip(tmp_path / "clip.mp4", LENGTH)
    return tmp_path / "clip.mp4"


@pytest.mark.parametrize("fps", [8.0, 4.0, 2.0])
def test_a_clip_begins_anywhere_and_is_evenly_spaced(clip: Path, fps: float) -> None:
    every = round(RATE / fps)
    starts = set()
    for seed in range(8):
        first, *rest = clip_levels(clip, fps, seed)
        assert rest == [first + every, first + 2 * every]
        starts.add(first)
    assert starts <= set(range(LENGTH - 2 * every))
    assert len(starts) >= 3


def recorded(clip: Path) -> Path:
    """A WebM that says neither how long it is nor how many frames it has, as browsers record them."""
    encoded = ffmpeg("-i", clip, "-c:v", "libvpx-vp9", "-crf", "10", "-b:v", "0", "-live", "1", "-f", "webm", "-")
    clip.with_suffix(".webm").write_bytes(encoded)
    assert describe(clip.with_suffix(".webm")).seconds == 0
    return clip.with_suffix(".webm")


def sounding(clip: Path) -> Path:
    """A video whose sound goes on for a minute after its pictures."""
    sound = ("-f", "lavfi", "-i", "sine=duration=60")
    ffmpeg("-i", clip, *sound, "-c:v", "copy", clip.with_suffix(".mkv"))
    assert describe(clip.with_suffix(".mkv")).seconds > 50
    return clip.with_suffix(".mkv")


@pytest.mark.parametrize(("made", "enough"), [(recorded, 3), (sounding, 1)])
def test_a_clip_is_found_where_a_file_does_not_say_how_long_its_pictures_last(
    clip: Path, made: Callable[[Path], Path], enough: int
) -> None:
    path = made(clip)
    starts = set()
    for seed in range(6):
        first, *rest = clip_levels(path, 4.0, seed)
        assert rest == [first + 2, first + 4]
        starts.add(first)
    assert len(starts) >= enough


@pytest.mark.parametrize(
    ("frames", "fps", "message"),
    [(7, 4.0, "is too short: 7 frames at 4 a second take 1.75 seconds"), (2, 12.0, "has 8 frames a second, fewer")],
)
def test_a_video_that_is_too_short_or_too_slow_is_refused(clip: Path, frames: int, fps: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        clip_levels(clip, fps, 0, frames)


def test_a_file_that_never_ends_is_given_up(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "PATIENCE", 0.0)
    with pytest.raises(ValueError, match="takes more than 0 seconds"):
        clip_levels(clip, 4.0, 0)


def held_while(read: Callable[[], Tensor]) -> int:
    """The most bytes that Python and numpy held at once; PIL's and ffmpeg's own are not among them."""
    tracemalloc.start()
    read()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_a_large_clip_is_scaled_before_it_is_kept(tmp_path: Path) -> None:
    """16 frames of 1920x1080 are 100 MB, and 400 as 32-bit numbers."""
    ffmpeg("-f", "lavfi", "-i", "color=gray:size=1920x1080:rate=8:duration=2", tmp_path / "large.mp4")
    random = np.random.default_rng(0)
    peak = held_while(lambda: read_clip(tmp_path / "large.mp4", 16, 8.0, SIZE, SIZE, random))
    assert peak < 10 * 16 * SIZE * SIZE * 3 * 4


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
@pytest.mark.parametrize("size", [(128, 64), (64, 128), (300, 200), (20, 30)])
def test_the_middle_of_an_image_fills_the_size_asked_for(tmp_path: Path, size: tuple[int, int], suffix: str) -> None:
    """A picture whose left half is black and right half white stays so."""
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    picture[:, size[0] // 2 :] = 255
    Image.fromarray(picture).save(tmp_path / f"picture.{suffix}")
    pixels = read_image(tmp_path / f"picture.{suffix}", SIZE, SIZE)
    assert pixels.shape == (1, 3, SIZE, SIZE)
    assert pixels[..., :22].max() < -0.9
    assert pixels[..., 42:].min() > 0.9


def test_a_turned_photograph_is_upright(tmp_path: Path) -> None:
    picture = Image.new("RGB", (300, 200))
    picture.paste((255, 255, 255), (0, 0, 150, 200))  # white on the left
    exif = picture.getexif()
    exif[0x0112] = 6  # to be turned clockwise
    picture.save(tmp_path / "photo.jpg", exif=exif)
    pixels = read_image(tmp_path / "photo.jpg", SIZE, SIZE)
    assert pixels[..., :22, :].min() > 0.9  # white on top
    assert pixels[..., 42:, :].max() < -0.9


def test_a_large_photograph_is_scaled_while_it_is_decoded(tmp_path: Path) -> None:
    """Its 48 million pixels are more than the limit; an eighth of its width and height are not."""
    Image.new("L", (8000, 6000), 200).save(tmp_path / "photo.jpg")
    assert read_image(tmp_path / "photo.jpg", SIZE, SIZE).mean() == pytest.approx(200 / 127.5 - 1, abs=0.01)


def test_a_decompression_bomb_is_refused_by_its_size(tmp_path: Path) -> None:
    Image.new("1", (9000, 4000)).save(tmp_path / "bomb.png")
    with pytest.raises(ValueError, match="has 9000x4000 pixels; the limit is 35389440"):
        read_image(tmp_path / "bomb.png", SIZE, SIZE)


def test_only_the_formats_that_are_listed_are_opened(tmp_path: Path) -> None:
    """An EPS runs a program, whatever its name says."""
    Image.new("RGB", (64, 64)).save(tmp_path / "picture.eps")
    (tmp_path / "picture.eps").rename(tmp_path / "picture.png")
    with pytest.raises(OSError, match="cannot identify"):
        read_image(tmp_path / "picture.png", SIZE, SIZE)
