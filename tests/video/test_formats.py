"""Every format that is offered: frames, graph and sound come back from the file."""

import io
import json
import re
import subprocess
from pathlib import Path

import imageio_ffmpeg
import pytest
import torch
from animatelcm.video.formats import FORMATS, Format, format_of
from animatelcm.video.frames import VideoError
from animatelcm.video.metadata import PAGE_READS
from animatelcm.video.read import Excerpt, read_video
from animatelcm.video.write import VideoSettings, write_video
from PIL import ExifTags, Image
from torch import Tensor

WIDTH, HEIGHT, FRAMES = 96, 64, 9
GRAPH = {"prompt": {"1": {"text": "a = {b}; \u96ea"}}, "workflow": {"nodes": [1, 2, 3]}}
EVERY = pytest.mark.parametrize("name", FORMATS)
CODECS = {
    "MP4 (H.264)": "h264 (High)",
    "WebM (VP9)": "vp9",
    "GIF": "gif",
    "MP4 (H.265)": "hevc (Main)",
    "MP4 (AV1)": "av1",
    "WebM (AV1)": "av1",
    "MOV (ProRes)": "prores",
    "WebP": "webp_anim",
    "PNG sequence": "png",
}


def moving_square(frames: int = FRAMES, height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    """A gradient with a square on it, (frames, height, width, 3)."""
    ramp = torch.linspace(0.1, 0.9, width).expand(height, width)
    clip = torch.stack((ramp, ramp.flip(1), torch.full_like(ramp, 0.3)), dim=-1).repeat(frames, 1, 1, 1)
    for frame in range(frames):
        clip[frame, 16:48, 4 * frame : 4 * frame + 32] = torch.tensor([0.85, 0.1, 0.15])
    return clip


def save(folder: Path, name: str, frames: Tensor, quality: int = 80) -> Path:
    path = folder / f"video{FORMATS[name].suffix}"
    write_video(path, frames, VideoSettings(8.0, quality, format=FORMATS[name]), GRAPH)
    return path


def shown(path: Path, width: int = WIDTH, height: int = HEIGHT) -> Tensor:
    if path.is_dir():
        pictures = [Image.open(picture) for picture in sorted(path.iterdir())]
        return (
            torch.stack([torch.frombuffer(bytearray(p.tobytes()), dtype=torch.uint8) for p in pictures]).view(
                -1, height, width, 3
            )
            / 255
        )
    return read_video(path, Excerpt(0.0, 64, 1, width, height))[0]


def about(path: Path) -> str:
    """What ffmpeg says of a file."""
    source = path / "00001.png" if path.is_dir() else path
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-i", str(source)]
    return subprocess.run(command, capture_output=True, text=True).stderr


def psnr(a: Tensor, b: Tensor) -> float:
    return float(-10 * (a - b).square().mean().clamp(min=1e-12).log10())


@EVERY
def test_frames_come_back(tmp_path: Path, name: str) -> None:
    frames = moving_square()
    path = save(tmp_path, name, frames, quality=90)
    assert f"Video: {CODECS[name]}" in about(path)
    assert shown(path).shape == frames.shape
    assert psnr(shown(path), frames) > (28 if name == "GIF" else 32)


@EVERY
@pytest.mark.parametrize("frames", [1, 2])
def test_a_video_may_be_short(tmp_path: Path, name: str, frames: int) -> None:
    path = save(tmp_path, name, moving_square(frames))
    if name == "WebP" and frames == 1:
        assert Image.open(path).size == (WIDTH, HEIGHT)  # which is a picture
    else:
        assert len(shown(path)) == frames


@EVERY
def test_odd_sizes_keep_every_pixel(tmp_path: Path, name: str) -> None:
    frames = moving_square(3, 63, 95)
    more = FORMATS[name].even
    clip = shown(save(tmp_path, name, frames), 95 + more, 63 + more)
    assert psnr(clip[:, :63, :95], frames) > 26


@pytest.mark.parametrize("name", [name for name, format in FORMATS.items() if format.even])
def test_players_are_told_the_colours(tmp_path: Path, name: str) -> None:
    assert re.search(r"yuv4\w+\(tv, bt709[,)]", about(save(tmp_path, name, moving_square(2))))


@pytest.mark.parametrize("name", ["MP4 (H.264)", "WebM (VP9)", "MP4 (H.265)", "MP4 (AV1)", "WebP", "MOV (ProRes)"])
def test_more_quality_is_closer_and_larger(tmp_path: Path, name: str) -> None:
    noise = 0.1 * torch.rand(FRAMES, HEIGHT, WIDTH, 3, generator=torch.Generator().manual_seed(0))
    frames = (moving_square() + noise).clamp(0, 1)
    found = []
    for quality in (0, 50, 100):
        path = save(tmp_path, name, frames, quality)
        found.append((psnr(shown(path), frames), path.stat().st_size))
    assert found == sorted(found)


@pytest.mark.parametrize("name", ["PNG sequence"])
def test_what_is_lossless_is_exact(tmp_path: Path, name: str) -> None:
    frames = (moving_square() * 255).round() / 255
    assert torch.equal((shown(save(tmp_path, name, frames)) * 255).round(), (frames * 255).round())


# The graph


@pytest.mark.parametrize(
    "name", [name for name, format in FORMATS.items() if format.suffix in (".mp4", ".mov", ".webm")]
)
def test_the_graph_comes_back_as_metadata(tmp_path: Path, name: str) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(save(tmp_path, name, moving_square(2)))]
    text = subprocess.run([*command, "-f", "ffmetadata", "-"], capture_output=True, check=True).stdout.decode()
    found = {line.partition("=")[0].lower(): line.partition("=")[2] for line in text.splitlines()}
    assert {key: json.loads(re.sub(r"\\(.)", r"\1", found[key])) for key in ("workflow",)} == {
        "workflow": GRAPH["workflow"]
    }
    assert "prompt" in found


@pytest.mark.parametrize("frames", [1, 2])
def test_the_graph_comes_back_from_a_webp(tmp_path: Path, frames: int) -> None:
    """ComfyUI's own saver has these tags; Pillow reads them."""
    exif = Image.open(save(tmp_path, "WebP", moving_square(frames))).getexif()
    key, _, prompt = exif[ExifTags.Base.Make].partition(":")
    assert (key, json.loads(prompt)) == ("prompt", GRAPH["prompt"])
    key, _, workflow = exif[ExifTags.Base.Model].partition(":")
    assert (key, json.loads(workflow)) == ("workflow", GRAPH["workflow"])


def test_the_page_finds_the_exif_of_a_webp(tmp_path: Path) -> None:
    """It goes from chunk to chunk without the byte that fills up odd ones."""
    content = save(tmp_path, "WebP", moving_square(5)).read_bytes()
    place = 12
    while content[place : place + 4] != b"EXIF":
        place += 8 + int.from_bytes(content[place + 4 : place + 8], "little")
    assert content[place + 8 : place + 12] == b"II*\0"
    assert int.from_bytes(content[4:8], "little") == len(content) - 8


def test_the_graph_comes_back_from_the_first_picture(tmp_path: Path) -> None:
    path = save(tmp_path, "PNG sequence", moving_square(2))
    assert sorted(picture.name for picture in path.iterdir()) == ["00001.png", "00002.png"]
    first = Image.open(io.BytesIO((path / "00001.png").read_bytes()))
    first.load()
    assert {key: json.loads(first.text[key]) for key in GRAPH} == GRAPH  # type: ignore[attr-defined]


@EVERY
def test_nothing_beside_the_file_stays(tmp_path: Path, name: str) -> None:
    path = save(tmp_path, name, moving_square(2))
    assert list(tmp_path.iterdir()) == [path]


@EVERY
def test_an_interrupt_leaves_nothing(tmp_path: Path, name: str) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        path = tmp_path / f"video{FORMATS[name].suffix}"
        write_video(path, moving_square(), VideoSettings(format=FORMATS[name]), GRAPH, interrupt)
    assert not list(tmp_path.iterdir())


def test_an_encoder_that_ffmpeg_has_not_is_named(tmp_path: Path) -> None:
    format = Format(".mp4", lambda worse: ["-c:v", "libnothing"])
    expected = "This ffmpeg has no encoder libnothing, which video.mp4 needs. Choose another format"
    with pytest.raises(VideoError, match=expected):
        write_video(tmp_path / "video.mp4", moving_square(2), VideoSettings(format=format))
    assert not list(tmp_path.iterdir())


def test_a_suffix_means_the_first_format_that_has_it() -> None:
    assert format_of(Path("a.mp4")) == FORMATS["MP4 (H.264)"]
    with pytest.raises(VideoError, match=r"\.avi is not a video format. Expected one of \.mp4, \.webm, \.gif, \.mov"):
        format_of(Path("a.avi"))


def test_what_the_page_reads_little_of_is_a_format() -> None:
    assert set(PAGE_READS) <= {format.suffix for format in FORMATS.values()}
