"""Frames to video files: MP4, WebM and GIF, encoded by the ffmpeg that imageio-ffmpeg brings."""

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import imageio_ffmpeg
import torch.nn.functional as F
from torch import Tensor

from .frames import VideoError, rgb

FORMATS = {"MP4 (H.264)": ".mp4", "WebM (VP9)": ".webm", "GIF": ".gif"}

# RGB to the colours that every player knows, and to saying so in the file: without the tags, players guess by the size.
BT709 = (
    "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int,format=yuv420p,"
    "setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709"
)


@dataclass(frozen=True)
class VideoSettings:
    """How frames become a video.

    Attributes:
        fps: frames per second.
        quality: 0 (smallest file) to 100 (closest to the frames).
        ping_pong: play forwards, then backwards, so that the end meets the beginning.
    """

    fps: float = 8.0
    quality: int = 80
    ping_pong: bool = False


def write_video(
    path: Path,
    frames: Tensor,
    settings: VideoSettings,
    metadata: Mapping[str, Any] | None = None,
    on_frame: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write `frames` to `path`, in the format that its suffix names; there is a whole file afterwards, or none.

    Args:
        path: ends in .mp4, .webm or .gif.
        frames: (frames, height, width, 3 or more), 0 to 1; what comes after RGB is left out.
        settings: frame rate, quality and order.
        metadata: stored as JSON, each entry under its own key, where ComfyUI's page looks for "prompt" and "workflow".
        on_frame: called before each frame is encoded with (frames done, frames in all); it may raise to stop.
    """
    frames = rgb(frames)
    texts = {key: as_json(value) for key, value in (metadata or {}).items()}
    if path.suffix != ".gif":
        frames = pad_to_even(frames)
    # Inside the target's folder, so that the last step is a rename; the folder goes, whatever happens.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".animatelcm-") as folder:
        unfinished = Path(folder) / path.name
        encode(unfinished, frames, settings, texts, on_frame)
        if path.suffix == ".gif":
            append_gif_comments(unfinished, texts)
        unfinished.replace(path)


def encode(
    path: Path, frames: Tensor, settings: VideoSettings, texts: Mapping[str, str], on_frame: Callable[[int, int], None]
) -> None:
    """Run ffmpeg on `frames`; every other file it needs lies beside `path`."""
    metadata, log = path.with_name("metadata.txt"), path.with_name("log.txt")
    metadata.write_text(ffmetadata(texts), encoding="utf-8")
    height, width = frames.shape[1:3]
    order = playing_order(len(frames), settings.ping_pong)
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{settings.fps:g}", "-i", "-"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *source, "-f", "ffmetadata", "-i", str(metadata)]
    command += ["-map", "0:v", "-map_metadata", "1", *encoder_options(path.suffix, settings.quality), str(path)]
    # Unbuffered: closing the pipe of a process that is gone must not raise what was left to write
    with log.open("wb") as stderr, subprocess.Popen(command, stdin=subprocess.PIPE, stderr=stderr, bufsize=0) as ffmpeg:
        try:
            feed(ffmpeg.stdin, frames, order, on_frame)
            finish(ffmpeg, lambda: on_frame(len(order) - 1, len(order)))
        except BaseException:
            ffmpeg.kill()
            raise
    if ffmpeg.returncode:
        raise VideoError(f"ffmpeg could not write {path.name}: {log.read_text(errors='replace').strip()}")


def feed(pipe: IO[bytes] | None, frames: Tensor, order: list[int], on_frame: Callable[[int, int], None]) -> None:
    """Write the frames in playing order to `pipe` as 8-bit RGB, until all are written or nobody reads them."""
    for done, index in enumerate(order):
        on_frame(done, len(order))
        rest = memoryview(frames[index].clamp(0, 1).mul(255).round().byte().cpu().numpy().tobytes())
        while pipe and rest:
            try:
                rest = rest[pipe.write(rest) :]
            except OSError:
                return  # ffmpeg gave up; its log says why


def finish(ffmpeg: "subprocess.Popen[bytes]", still_wanted: Callable[[], None]) -> None:
    """Wait for what ffmpeg does after the last frame, which for a GIF is nearly everything."""
    if ffmpeg.stdin:
        ffmpeg.stdin.close()
    while True:
        still_wanted()
        try:
            ffmpeg.wait(timeout=0.2)
            return
        except subprocess.TimeoutExpired:
            continue


def encoder_options(suffix: str, quality: int) -> list[str]:
    """Return ffmpeg's options of a format; `quality` becomes the codec's own scale."""
    worse = (100 - quality) / 100
    if suffix == ".mp4":
        codec = ["-c:v", "libx264", "-preset", "medium", "-crf", f"{8 + 34 * worse:.0f}"]
        return ["-vf", BT709, *codec, "-movflags", "+faststart+use_metadata_tags"]
    if suffix == ".webm":
        codec = ["-c:v", "libvpx-vp9", "-crf", f"{10 + 50 * worse:.0f}", "-b:v", "0", "-row-mt", "1", "-cpu-used", "2"]
        return ["-vf", BT709, *codec]
    if suffix == ".gif":
        colours = round(256 - 224 * worse)
        palette = f"palettegen=max_colors={colours}:reserve_transparent=0"
        return ["-vf", f"split[a][b];[a]{palette}[p];[b][p]paletteuse", "-loop", "0"]
    raise VideoError(f"{suffix} is not a video format. Expected one of {', '.join(FORMATS.values())}.")


def playing_order(count: int, ping_pong: bool) -> list[int]:
    """Return the indices of the frames in the order they are shown; no frame is shown twice in a row at a turn."""
    forwards = list(range(count))
    return forwards + forwards[-2:0:-1] if ping_pong else forwards


def pad_to_even(frames: Tensor) -> Tensor:
    """Repeat the last row and column of odd sizes: the colours of a 4:2:0 video are stored for 2x2 pixels."""
    height, width = frames.shape[1:3]
    if not (height % 2 or width % 2):
        return frames
    return F.pad(frames.movedim(-1, 1), (0, width % 2, 0, height % 2), mode="replicate").movedim(1, -1)


# Metadata


def as_json(value: Any) -> str:
    """Return `value` as JSON without braces in its strings: ComfyUI's page counts those too to find a WebM's graph."""
    braces = str.maketrans({"{": "\\u007b", "}": "\\u007d"})
    return re.sub(r'"(?:[^"\\]|\\.)*"', lambda string: string[0].translate(braces), json.dumps(value))


def ffmetadata(texts: Mapping[str, str]) -> str:
    """Return the text of ffmpeg's metadata file: long graphs do not fit on a command line."""
    escaped = str.maketrans({mark: f"\\{mark}" for mark in "=;#\\\n"})
    lines = (f"{key.translate(escaped)}={text.translate(escaped)}\n" for key, text in texts.items())
    return ";FFMETADATA1\n" + "".join(lines)


def append_gif_comments(path: Path, texts: Mapping[str, str]) -> None:
    """Add a comment `key=text` per entry to a GIF (GIF89a, section 24): it has no keys, ffmpeg writes no comments."""
    with path.open("r+b") as gif:
        gif.seek(-1, os.SEEK_END)  # the trailer, one byte, comes after the comments
        for key, text in texts.items():
            gif.write(b"\x21\xfe" + b"".join(sub_blocks(f"{key}={text}".encode())) + b"\x00")
        gif.write(b"\x3b")


def sub_blocks(content: bytes) -> Iterator[bytes]:
    """Cut `content` into GIF data sub-blocks: a length of at most 255 and as many bytes."""
    for start in range(0, len(content), 255):
        block = content[start : start + 255]
        yield bytes([len(block)]) + block
