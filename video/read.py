"""Video files to frames, decoded by the ffmpeg that imageio-ffmpeg brings."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .ffmpeg import ffmpeg, without_origin
from .frames import VideoError
from .part import Part
from .probe import Description, describe


@dataclass(frozen=True)
class Excerpt:
    """Which frames of a video to read, and at what size.

    Attributes:
        start: seconds from the beginning of the video.
        frames: how many; fewer where the video ends.
        every: 1 reads each frame, 2 every second one, and so on.
        width: in pixels, of what is returned; the middle of the picture is used.
        height: in pixels.
        fps: frames a second that the video is brought to first, by leaving frames out or showing them again; None
            leaves it as it is.

    Raises:
        VideoError: if one of these is no number, or none that makes sense.
    """

    start: float
    frames: int
    every: int
    width: int
    height: int
    fps: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start) and self.start >= 0):
            raise VideoError(f"The start of an excerpt is {self.start:g}. Expected seconds, 0 or more.")
        for name in ("frames", "every", "width", "height"):
            if not getattr(self, name) >= 1:
                raise VideoError(f"{name} of an excerpt is {getattr(self, name)}. Expected 1 or more.")
        if self.fps is not None and not (math.isfinite(self.fps) and self.fps > 0):
            raise VideoError(f"The rate of an excerpt is {self.fps:g}. Expected frames a second, more than 0.")


def read_video(
    path: Path, excerpt: Excerpt, on_frame: Callable[[int, int], None] = lambda done, total: None
) -> tuple[Tensor, float]:
    """Return frames of a video, (frames, height, width, 3), 0 to 1, and how many of them make a second.

    The rate is 0 where the file does not say. Videos that are stored turned, or with pixels that are not square, come
    as a player shows them.

    Args:
        path: a file that holds its own pictures; see `container.py`.
        excerpt: what to read of it; nothing else is kept in memory.
        on_frame: called with (frames read, frames asked for) before each frame, and again while that takes long; it
            may raise to stop.

    Raises:
        VideoError: if the file is no video, or ends before the excerpt.
    """
    return read_excerpt(path, describe(path, lambda: on_frame(0, excerpt.frames)), excerpt, on_frame)


def read_excerpt(
    path: Path | Part,
    description: Description,
    excerpt: Excerpt,
    on_frame: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Tensor, float]:
    """As `read_video`, of a file, or a part of one, that was described before."""
    frames = empty_frames(excerpt)
    done = 0
    size = excerpt.height * excerpt.width * 3
    with ffmpeg(arguments(description, excerpt), lambda: on_frame(done, excerpt.frames)) as decoder:
        while done < excerpt.frames and len(picture := decoder.read(size)) == size:
            pixels = np.frombuffer(picture, np.uint8).reshape(frames.shape[1:])
            np.divide(pixels, np.float32(255), out=frames[done])
            done += 1
        if not done:
            decoder.finish()
            raise VideoError(nothing_read(path, excerpt, description, decoder.log()))
    frames.resize((done, *frames.shape[1:]), refcheck=False)  # in place: a copy would need the memory twice
    return torch.from_numpy(frames), (excerpt.fps or description.pictures.fps) / excerpt.every


def empty_frames(excerpt: Excerpt) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    """Room for an excerpt, (frames, height, width, 3).

    Raises:
        VideoError: if the machine has not that much.
    """
    shape = (excerpt.frames, excerpt.height, excerpt.width, 3)
    try:
        return np.empty(shape, np.float32)
    except MemoryError as error:
        gigabytes = math.prod(shape) * 4 / 1e9
        raise VideoError(
            f"{excerpt.frames} frames of {excerpt.width}x{excerpt.height} take {gigabytes:.0f} GB, more than this "
            "machine has. Choose fewer frames, or smaller ones."
        ) from error


def arguments(description: Description, excerpt: Excerpt) -> list[str]:
    """Return ffmpeg's options to write an excerpt's frames to its output, 8-bit RGB."""
    select = ["-map", "0:V:0", "-frames:v", f"{excerpt.frames}"]
    # Leaving frames out without -fps_mode, ffmpeg would fill the gaps with copies
    raw = ["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    sought = max(0.0, excerpt.start - description.late)
    begun = f"trim=start={excerpt.start - sought:.3f}"
    chosen = [begun, *resampling(description, excerpt.fps), f"framestep={excerpt.every}"]
    filters = ["-vf", ",".join((*chosen, scaling(description, excerpt.width, excerpt.height)))]
    seek = ["-ss", f"{sought:.3f}"] if sought else []  # even looking for the beginning makes some formats fail
    return ["-v", "error", "-nostdin", *seek, *description.source, *select, *filters, *raw]


def resampling(description: Description, fps: float | None) -> list[str]:
    """Return ffmpeg's filters that take the frame nearest to each moment of a rate, from the first frame on."""
    if fps is None:
        return []
    half = 0.5 / description.pictures.fps if description.pictures.fps else 0.0  # of a frame, so that ties are none
    return [f"setpts=PTS-STARTPTS-{half:.6f}/TB", f"fps={fps}:round=up"]


def scaling(description: Description, width: int, height: int) -> str:
    """Return ffmpeg's filters that cut the middle out of each picture, as a player shows it, and scale it to a size."""
    shape = f"{width}/{height}/sar"  # of what is cut out, in pixels as they are stored
    middle = f"crop=w='max(1,min(iw,ih*{shape}))':h='max(1,min(ih,iw/({shape})))':exact=1"
    matrix = description.pictures.assumed_matrix
    colours = f":in_color_matrix={matrix}" if matrix else ""
    return f"{middle},scale={width}:{height}:flags=bicubic+accurate_rnd+full_chroma_int{colours},setsar=1"


def nothing_read(path: Path | Part, excerpt: Excerpt, description: Description, log: list[str]) -> str:
    """Why there is no frame, for people."""
    if excerpt.start > 0 and not log:
        length = f", and is {description.seconds:g} seconds long" if description.seconds else ""
        return f"{path.name} has no frame from second {excerpt.start:g} on{length}. Choose an earlier start."
    reason = f" ({without_origin(log[-1]).rstrip('.')})" if log else ""
    return f"{path.name} is damaged or cut off: no frame can be read{reason}. Copy or download it again."
