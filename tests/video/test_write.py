"""Video files: what a player gets back equals the frames, and what the page gets back equals the graph."""

import itertools
import json
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest
import torch
from animatelcm.video.formats import Format
from animatelcm.video.frames import VideoError
from animatelcm.video.write import VideoSettings, pad_to_even, playing_order, write_video
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

SUFFIXES = pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif"])
GRAPH = {
    "prompt": {
        "1": {"class_type": "CLIPTextEncode", "inputs": {"text": "a = b; #1 \\ {{x|y}\nnext line, \u96ea, \u03b1"}}
    },
    "workflow": {"nodes": [{"id": number, "title": "x" * 50} for number in range(3000)]},
}


def moving_square(frames: int = 16, height: int = 64, width: int = 96) -> Tensor:
    """A gradient with a square on it, (frames, height, width, 3)."""
    ramp = torch.linspace(0.1, 0.9, width).expand(height, width)
    clip = torch.stack((ramp, ramp.flip(1), torch.full_like(ramp, 0.3)), dim=-1).repeat(frames, 1, 1, 1)
    for frame in range(frames):
        clip[frame, 16:48, 2 * frame : 2 * frame + 32] = torch.tensor([0.85, 0.1, 0.15])
    return clip


def read_video(path: Path) -> tuple[dict[str, Any], Tensor]:
    """Return what imageio-ffmpeg says of a file, and its frames, (frames, height, width, 3), 0 to 1."""
    reader = imageio_ffmpeg.read_frames(str(path))
    about = next(reader)
    width, height = about["size"]
    frames = [torch.frombuffer(bytearray(frame), dtype=torch.uint8).view(height, width, 3) for frame in reader]
    return about, torch.stack(frames) / 255


def read_metadata(path: Path) -> dict[str, Any]:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-f", "ffmetadata", "-"]
    text = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    lines = re.sub(r"\\(.)", lambda mark: f"\0{ord(mark[1])}\0", text, flags=re.DOTALL).splitlines()
    pairs = [line.partition("=")[::2] for line in lines if "=" in line]
    return {key.lower(): re.sub("\0(\\d+)\0", lambda mark: chr(int(mark[1])), value) for key, value in pairs}


def psnr(a: Tensor, b: Tensor) -> float:
    return float(-10 * (a - b).square().mean().log10())


@pytest.mark.parametrize(("suffix", "least"), [(".mp4", 34.0), (".webm", 34.0), (".gif", 30.0)])
def test_frames_come_back(tmp_path: Path, suffix: str, least: float) -> None:
    frames = moving_square()
    write_video(tmp_path / f"video{suffix}", frames, VideoSettings(fps=8))
    about, decoded = read_video(tmp_path / f"video{suffix}")
    assert decoded.shape == frames.shape
    assert about["fps"] == pytest.approx(8, rel=0.05)  # a GIF counts in hundredths of a second
    assert psnr(decoded, frames) > least


@SUFFIXES
@pytest.mark.parametrize("colour", [(1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.2, 0.5, 0.8)])
def test_colours_do_not_shift(tmp_path: Path, suffix: str, colour: tuple[float, float, float]) -> None:
    """A mix-up of full and limited range, or of BT.601 and BT.709, is off by 5 to 20 levels of 255."""
    frames = torch.tensor(colour).expand(4, 64, 64, 3)
    write_video(tmp_path / f"video{suffix}", frames, VideoSettings(quality=100))
    _, decoded = read_video(tmp_path / f"video{suffix}")
    assert (decoded - frames).abs().max() <= 3 / 255


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_the_graph_comes_back_under_its_own_keys(tmp_path: Path, suffix: str) -> None:
    write_video(tmp_path / f"video{suffix}", moving_square(2), VideoSettings(), GRAPH)
    metadata = read_metadata(tmp_path / f"video{suffix}")
    assert {key: json.loads(metadata[key]) for key in GRAPH} == GRAPH


def test_the_page_finds_the_workflow_of_a_large_graph_in_a_webm(tmp_path: Path) -> None:
    """It reads the first 2 MB."""
    workflow, prompt = {"text": "w" * 1_900_000}, {"text": "p" * 1_100_000}
    write_video(tmp_path / "video.webm", moving_square(2), VideoSettings(), {"prompt": prompt, "workflow": workflow})
    assert json.dumps(workflow, separators=(",", ":")).encode() in (tmp_path / "video.webm").read_bytes()[: 2 << 20]


def test_an_mp4_has_its_metadata_in_front(tmp_path: Path) -> None:
    """The page reads the beginning of a file only."""
    write_video(tmp_path / "video.mp4", moving_square(), VideoSettings(), GRAPH)
    content = (tmp_path / "video.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_a_gif_carries_the_graph_in_comments(tmp_path: Path) -> None:
    write_video(tmp_path / "video.gif", moving_square(2), VideoSettings(), {"prompt": {"1": 2}})
    assert b'\x21\xfe\x0eprompt={"1":2}\x00\x3b' in (tmp_path / "video.gif").read_bytes()


@SUFFIXES
def test_metadata_is_optional(tmp_path: Path, suffix: str) -> None:
    write_video(tmp_path / f"video{suffix}", moving_square(2), VideoSettings())
    assert not set(read_metadata(tmp_path / f"video{suffix}")) & {"prompt", "workflow", "comment"}


def test_ping_pong_plays_back_again(tmp_path: Path) -> None:
    frames = moving_square(5)
    write_video(tmp_path / "video.mp4", frames, VideoSettings(ping_pong=True))
    _, decoded = read_video(tmp_path / "video.mp4")
    assert psnr(decoded, frames[[0, 1, 2, 3, 4, 3, 2, 1]]) > 34


@given(st.integers(1, 50))
def test_ping_pong_never_shows_a_frame_twice_in_a_row(count: int) -> None:
    order = playing_order(count, ping_pong=True)
    loop = [*order, order[0]] if count > 1 else order
    assert set(order) == set(range(count))
    assert all(a != b for a, b in itertools.pairwise(loop))


@given(st.integers(1, 9), st.integers(1, 9))
def test_padding_is_even_and_repeats_the_edge(height: int, width: int) -> None:
    frame = torch.rand(height, width, 3)
    padded = pad_to_even(frame)
    assert padded.shape[:2] == (height + height % 2, width + width % 2)
    assert torch.equal(padded[:height, :width], frame)
    assert torch.equal(padded[-1, -1], frame[-1, -1])


@SUFFIXES
def test_nothing_is_left_after_an_interrupt(tmp_path: Path, suffix: str) -> None:
    seen = []

    def interrupt(done: int, total: int) -> None:
        seen.append((done, total))
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(tmp_path / f"video{suffix}", moving_square(), VideoSettings(), GRAPH, interrupt)
    assert sorted(set(seen)) == [(0, 16), (1, 16), (2, 16)]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [64, 256])
def test_what_ffmpeg_says_is_handed_on(tmp_path: Path, size: int) -> None:
    format = Format(".mp4", lambda worse: ["-no_such_option", "1"])
    with pytest.raises(VideoError, match=r"could not write video\.mp4.*no_such_option"):
        write_video(tmp_path / "video.mp4", moving_square(64, size, size), VideoSettings(format=format))
    assert not list(tmp_path.iterdir())


@SUFFIXES
def test_an_interrupt_after_the_last_frame_stops_too(tmp_path: Path, suffix: str) -> None:
    """Which is when a GIF is made."""
    calls: list[int] = []

    def interrupt(done: int, total: int) -> None:
        calls.append(done)
        if len(calls) > total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(tmp_path / f"video{suffix}", moving_square(), VideoSettings(), GRAPH, interrupt)
    assert not list(tmp_path.iterdir())


def test_alpha_is_left_out(tmp_path: Path) -> None:
    frames = moving_square()
    write_video(tmp_path / "video.mp4", torch.cat((frames, torch.rand(*frames.shape[:3], 1)), dim=-1), VideoSettings())
    assert psnr(read_video(tmp_path / "video.mp4")[1], frames) > 34


def test_masks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"1 channel\(s\)\. Expected RGB"):
        write_video(tmp_path / "video.mp4", torch.rand(2, 16, 16, 1), VideoSettings())


def test_an_unknown_format_is_named(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"\.avi is not a video format"):
        write_video(tmp_path / "video.avi", moving_square(2), VideoSettings())


def test_values_out_of_range_are_clipped(tmp_path: Path) -> None:
    frames = torch.cat((torch.full((2, 32, 32, 3), -0.5), torch.full((2, 32, 32, 3), 1.5)))
    write_video(tmp_path / "video.mp4", frames, VideoSettings(quality=100))
    _, decoded = read_video(tmp_path / "video.mp4")
    assert decoded[0].max() <= 3 / 255
    assert decoded[-1].min() >= 252 / 255


# What cannot be saved


@SUFFIXES
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_frame_that_is_no_number_is_refused(tmp_path: Path, suffix: str, value: float) -> None:
    frames = moving_square(4)
    frames[3, 0, 0, 2] = value
    with pytest.raises(VideoError, match=r"Frame 3 has values that are not numbers .*--fp32-vae"):
        write_video(tmp_path / f"video{suffix}", frames, VideoSettings())
    assert not list(tmp_path.iterdir())


def test_no_frames_are_no_video(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="There are no frames to save"):
        write_video(tmp_path / "video.mp4", torch.zeros(0, 8, 8, 3), VideoSettings())


@pytest.mark.parametrize("fps", [0.0, -1.0, torch.nan, torch.inf])
def test_a_rate_that_is_none_is_named(fps: float) -> None:
    with pytest.raises(VideoError, match="Expected frames per second, more than 0"):
        VideoSettings(fps=fps)


@pytest.mark.parametrize("quality", [-1, 101, torch.nan])
def test_a_quality_out_of_its_range_is_named(quality: int) -> None:
    with pytest.raises(VideoError, match="Expected 0 to 100"):
        VideoSettings(quality=quality)


@SUFFIXES
def test_a_full_disk_says_so(small_disk: Path, suffix: str) -> None:
    frames = torch.rand(24, 128, 128, 3, generator=torch.Generator().manual_seed(0))
    with pytest.raises(VideoError, match=r"'video\.\w+' could not be saved: there is no space left on the disk"):
        write_video(small_disk / f"video{suffix}", frames, VideoSettings(quality=100))
    assert not list(small_disk.iterdir())


def test_a_graph_that_fills_the_disk_says_so(small_disk: Path) -> None:
    with pytest.raises(VideoError, match="there is no space left on the disk"):
        write_video(small_disk / "video.mp4", moving_square(2), VideoSettings(), {"workflow": "x" * 100_000})
    assert not list(small_disk.iterdir())


@pytest.mark.parametrize("reads", ["", "cat > /dev/null; "], ids=["while frames are written", "at the end"])
def test_an_ffmpeg_that_hangs_ends_at_an_interrupt(tmp_path: Path, stand_in: Callable[[str], None], reads: str) -> None:
    stand_in(f"{reads}sleep 100")
    begin = time.monotonic()

    def interrupt(done: int, total: int) -> None:
        if time.monotonic() > begin + 0.5:
            raise KeyboardInterrupt

    (tmp_path / "output").mkdir()
    with pytest.raises(KeyboardInterrupt):
        write_video(tmp_path / "output" / "video.mp4", moving_square(16, 128, 128), VideoSettings(), {}, interrupt)
    assert time.monotonic() - begin < 5  # of the 100
    assert not list((tmp_path / "output").iterdir())


@pytest.mark.parametrize("script", ["exit 0", "cat > /dev/null", "exit 3"])
def test_a_program_that_is_not_ffmpeg_is_named(tmp_path: Path, stand_in: Callable[[str], None], script: str) -> None:
    stand_in(script)
    (tmp_path / "output").mkdir()
    with pytest.raises(VideoError, match=r"video.mp4 could not be saved: .*my_ffmpeg ended with code \d.*pip install"):
        write_video(tmp_path / "output" / "video.mp4", moving_square(2), VideoSettings())
    assert not list((tmp_path / "output").iterdir())


class Made:
    """Frames that are made one by one, and count how often."""

    def __init__(self) -> None:
        self.made: list[int] = []

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Tensor:
        self.made.append(index)
        return moving_square(4)[index]


def test_frames_may_be_made_when_they_are_asked_for(tmp_path: Path) -> None:
    frames = Made()
    write_video(tmp_path / "video.mp4", frames, VideoSettings(ping_pong=True))
    assert frames.made[1:] == [0, 1, 2, 3, 2, 1]  # the first tells the size
    assert psnr(read_video(tmp_path / "video.mp4")[1], moving_square(4)[[0, 1, 2, 3, 2, 1]]) > 34
