"""Frames to video files: MP4, WebM and GIF, encoded by the ffmpeg that imageio-ffmpeg brings."""

import errno
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from .ffmpeg import REMEDY, Ffmpeg, executable, ffmpeg, without_origin
from .frames import VideoError, check_finite, rgb
from .metadata import append_gif_comments, ffmetadata, texts_of
from .unfinished import cannot_save, unfinished

FORMATS = {"MP4 (H.264)": ".mp4", "WebM (VP9)": ".webm", "GIF": ".gif"}
Frames = Tensor | Sequence[Tensor]

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

    Raises:
        VideoError: if one of these is no number, or out of its range.
    """

    fps: float = 8.0
    quality: int = 80
    ping_pong: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.fps) and self.fps > 0):
            raise VideoError(f"fps is {self.fps:g}. Expected frames per second, more than 0.")
        if not 0 <= self.quality <= 100:
            raise VideoError(f"quality is {self.quality}. Expected 0 to 100.")


def write_video(
    path: Path,
    frames: Frames,
    settings: VideoSettings,
    metadata: Mapping[str, Any] | None = None,
    on_frame: Callable[[int, int], None] = lambda done, total: None,
    temporary: Path | None = None,
) -> None:
    """Write `frames` to `path`, in the format that its suffix names; there is a whole file afterwards, or none.

    Args:
        path: ends in .mp4, .webm or .gif.
        frames: (frames, height, width, 3 or more), 0 to 1, as one tensor or made one by one when they are asked for;
            what comes after RGB is left out.
        settings: frame rate, quality and order.
        metadata: stored as JSON, each entry under its own key, where ComfyUI's page looks for "prompt" and "workflow".
        on_frame: called with (frames done, frames in all) before each frame is encoded, and again while that takes
            long; it may raise to stop.
        temporary: a folder for what is unfinished, used where it is on the same disk.

    Raises:
        VideoError: if the frames are none, the disk is full, the name is too long, and the like.
    """
    if not len(frames):
        raise VideoError("There are no frames to save.")
    texts = texts_of(metadata or {}, path.suffix)
    with unfinished(path, temporary) as part:
        encode(part, path.name, frames, settings, texts, on_frame)
        if path.suffix == ".gif":
            append_gif_comments(part, texts)


def encode(
    part: Path,
    name: str,
    frames: Frames,
    settings: VideoSettings,
    texts: Mapping[str, str],
    on_frame: Callable[[int, int], None],
) -> None:
    """Run ffmpeg on `frames`; every other file it needs lies beside `part`, which is called `name` in messages."""
    metadata = part.with_name("metadata.txt")
    metadata.write_text(ffmetadata(texts), encoding="utf-8")
    order = playing_order(len(frames), settings.ping_pong)
    done = 0
    source = [
        *input_options(stored(frames, order[0], part.suffix), settings.fps),
        "-f",
        "ffmetadata",
        "-i",
        str(metadata),
    ]
    chosen = ["-map", "0:v", "-map_metadata", "1", *encoder_options(part.suffix, settings.quality)]
    with ffmpeg(["-v", "error", *source, *chosen, str(part)], lambda: on_frame(done, len(order)), True) as encoder:
        for index in order:
            if not encoder.write(stored(frames, index, part.suffix).numpy().tobytes()):
                break  # its log says why
            done = min(done + 1, len(order) - 1)
        check_written(encoder, part, name)


def check_written(encoder: Ffmpeg, part: Path, name: str) -> None:
    """Wait for the end of the file, which for a GIF is nearly all the work.

    Raises:
        VideoError: if there is no whole file then; the message says why.
    """
    code, log = encoder.finish(), encoder.log()
    if code == 0 and part.is_file():
        return
    for number in (errno.ENOSPC, errno.EDQUOT):
        if any(os.strerror(number) in line for line in log):
            raise VideoError(cannot_save(name, number, None))
    if not log:
        raise VideoError(f"{name} could not be saved: {executable()} ended with code {code}. {REMEDY}")
    raise VideoError(f"ffmpeg could not write {name}: {without_origin(log[0])}")


def stored(frames: Frames, index: int, suffix: str) -> Tensor:
    """Return a frame as the format stores it, (height, width, 3), 8 bit.

    Raises:
        VideoError: if it has values that are no numbers, or fewer than three channels.
    """
    frame = rgb(frames[index])
    check_finite(frame, index)
    return pad_to_even(frame, suffix).clamp(0, 1).mul(255).round().byte().cpu()


def input_options(frame: Tensor, fps: float) -> list[str]:
    """Return ffmpeg's options to read frames such as this from a pipe."""
    height, width = frame.shape[:2]
    return ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{fps:g}", "-i", "-"]


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


def pad_to_even(frame: Tensor, suffix: str) -> Tensor:
    """Repeat the last row and column of odd sizes: the colours of a 4:2:0 video are stored for 2x2 pixels."""
    height, width = frame.shape[:2]
    if suffix == ".gif" or not (height % 2 or width % 2):
        return frame
    return F.pad(frame.movedim(-1, 0)[None], (0, width % 2, 0, height % 2), mode="replicate")[0].movedim(0, -1)
