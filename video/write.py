"""Frames, and sound, to video files, encoded by the ffmpeg that imageio-ffmpeg brings."""

import errno
import logging
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from .ffmpeg import REMEDY, Ffmpeg, executable, ffmpeg, without_origin
from .formats import Format, format_of
from .frames import VideoError, check_finite, rgb
from .metadata import ffmetadata, texts_of
from .sound import Sound
from .unfinished import cannot_save, unfinished

CHATTER = ("Svt[", "x265 [")  # of encoders, whatever ffmpeg is told
Frames = Tensor | Sequence[Tensor]


@dataclass(frozen=True)
class VideoSettings:
    """How frames become a video.

    Attributes:
        fps: frames per second.
        quality: 0 (smallest file) to 100 (closest to the frames).
        ping_pong: play forwards, then backwards, so that the end meets the beginning.
        format: of the file; without one, what its suffix means.
        sound: to play with the frames from their beginning on; what is longer than they are is left out.

    Raises:
        VideoError: if one of these is no number, or out of its range.
    """

    fps: float = 8.0
    quality: int = 80
    ping_pong: bool = False
    format: Format | None = None
    sound: Sound | None = None

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
    """Write `frames` to `path`; there is a whole file (or folder, of a sequence) afterwards, or none.

    Args:
        path: with the suffix of the format.
        frames: (frames, height, width, 3 or more), 0 to 1, as one tensor or made one by one when they are asked for;
            what comes after RGB is left out.
        settings: frame rate, quality, order, format and sound.
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


def encode(
    part: Path,
    name: str,
    frames: Frames,
    settings: VideoSettings,
    texts: Mapping[str, str],
    on_frame: Callable[[int, int], None],
) -> None:
    """Run ffmpeg on `frames`; every other file it needs lies beside `part`, which is called `name` in messages."""
    order = playing_order(len(frames), settings.ping_pong)
    format = settings.format or format_of(part)
    first = stored(frames, order[0], format)
    height, width = first.shape[:2]
    command = [*input_options(width, height, settings.fps), *other_inputs(part, settings, format, texts, len(order))]
    command += [*format.options((100 - settings.quality) / 100), output_of(part, format)]
    done = 0
    with ffmpeg(["-v", "error", *command], lambda: on_frame(done, len(order)), takes_input=True) as encoder:
        for index in order:
            if not encoder.write(stored(frames, index, format).numpy().tobytes()):
                break  # its log says why
            done = min(done + 1, len(order) - 1)
        check_written(encoder, part, name)
    format.finish(part, texts, (width, height))


def check_written(encoder: Ffmpeg, part: Path, name: str) -> None:
    """Wait for the end of the file, which for a GIF is nearly all the work.

    Raises:
        VideoError: if there is no whole file then; the message says why.
    """
    code, log = encoder.finish(), encoder.log()
    if code == 0 and (part.is_file() or (part.is_dir() and any(part.iterdir()))):
        return
    for number in (errno.ENOSPC, errno.EDQUOT):
        if any(os.strerror(number) in line for line in log):
            raise VideoError(cannot_save(name, number, None))
    if not log:
        raise VideoError(f"{name} could not be saved: {executable()} ended with code {code}. {REMEDY}")
    if missing := re.search("Unknown encoder '(.+)'", "\n".join(log)):
        raise VideoError(
            f"This ffmpeg has no encoder {missing[1]}, which {name} needs. Choose another format, or get another "
            "ffmpeg with 'pip install --upgrade imageio-ffmpeg'."
        )
    first = next((line for line in log if not line.startswith(CHATTER)), log[-1])
    raise VideoError(f"ffmpeg could not write {name}: {without_origin(first)}")


def stored(frames: Frames, index: int, format: Format) -> Tensor:
    """Return a frame as a format stores it, (height, width, 3), 8 bit.

    Raises:
        VideoError: if it has values that are no numbers, or fewer than three channels.
    """
    frame = rgb(frames[index])
    check_finite(frame, index)
    frame = pad_to_even(frame) if format.even else frame
    return frame.clamp(0, 1).mul(255).round().byte().cpu()


def input_options(width: int, height: int, fps: float) -> list[str]:
    """Return ffmpeg's options to read 8-bit RGB frames of a size from a pipe."""
    return ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{fps:g}", "-i", "-"]


def other_inputs(
    part: Path, settings: VideoSettings, format: Format, texts: Mapping[str, str], frames: int
) -> list[str]:
    """Write what goes into a video beside its frames to files beside `part`, and return ffmpeg's options for them."""
    metadata = part.with_name("metadata.txt")
    metadata.write_text(ffmetadata(texts), encoding="utf-8")
    taken = ["-f", "ffmetadata", "-i", str(metadata)]
    chosen = ["-map", "0:v", "-map_metadata", "1"]
    if settings.sound and settings.sound.heard():
        if format.sound:
            taken += settings.sound.write_raw(part.with_name("sound.raw"), frames / settings.fps)
            chosen += ["-map", "2:a", *format.sound]
        else:
            logging.warning("AnimateLCM: a %s has no sound.", part.suffix.removeprefix(".") or "sequence of pictures")
    return taken + chosen


def output_of(part: Path, format: Format) -> str:
    """Return where ffmpeg writes: a file, or the files of a folder."""
    if format.suffix:
        return str(part)
    part.mkdir()
    return str(part).replace("%", "%%") + os.sep + "%05d.png"


def playing_order(count: int, ping_pong: bool) -> list[int]:
    """Return the indices of the frames in the order they are shown; no frame is shown twice in a row at a turn."""
    forwards = list(range(count))
    return forwards + forwards[-2:0:-1] if ping_pong else forwards


def pad_to_even(frame: Tensor) -> Tensor:
    """Repeat the last row and column of odd sizes: the colours of a 4:2:0 video are stored for 2x2 pixels."""
    height, width = frame.shape[:2]
    if not (height % 2 or width % 2):
        return frame
    return F.pad(frame.movedim(-1, 0)[None], (0, width % 2, 0, height % 2), mode="replicate")[0].movedim(0, -1)
