"""Video files to frames, decoded by the ffmpeg that imageio-ffmpeg brings."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import torch
import torch.nn.functional as F
from torch import Tensor

from .frames import VideoError

Reader = Generator[Any, None, None]


@dataclass(frozen=True)
class Excerpt:
    """Which frames of a video to read, and at what size.

    Attributes:
        start: seconds from the beginning of the video.
        frames: how many; fewer where the video ends.
        every: 1 reads each frame, 2 every second one, and so on.
        width: in pixels, of what is returned; the middle of the picture is used.
        height: in pixels.
    """

    start: float
    frames: int
    every: int
    width: int
    height: int


def read_video(
    path: Path, excerpt: Excerpt, on_frame: Callable[[int, int], None] = lambda done, total: None
) -> tuple[Tensor, float]:
    """Return frames of a video, (frames, height, width, 3), 0 to 1, and how many of them make a second.

    The rate is 0 where the file does not say. Videos that are stored turned, or with pixels that are not square, come
    as a player shows them.

    Args:
        path: a file in any format that ffmpeg reads.
        excerpt: what to read of it; nothing else is kept in memory.
        on_frame: called before each frame is read with (frames read, frames asked for); it may raise to stop.

    Raises:
        VideoError: if the file is no video, or ends before the excerpt.
    """
    frames = []
    with opened(path, excerpt) as (about, reader):
        width, height = about["size"]
        for done in range(excerpt.frames):
            on_frame(done, excerpt.frames)
            picture = next(reader, None)
            if picture is None:
                break
            frame = torch.frombuffer(bytearray(picture), dtype=torch.uint8).view(height, width, 3)
            frames.append(fitted(frame, excerpt.width, excerpt.height))
    if not frames:
        length = f", and is {about['duration']:g} seconds long" if about["duration"] else ""
        raise VideoError(f"{path.name} has no frame from second {excerpt.start:g} on{length}. Choose an earlier start.")
    return torch.stack(frames) / 255, about["fps"] / excerpt.every


@contextmanager
def opened(path: Path, excerpt: Excerpt) -> Iterator[tuple[dict[str, Any], Reader]]:
    """What ffmpeg says of a file, and the excerpt's frames as bytes; ffmpeg ends with the context."""
    imageio_ffmpeg.get_ffmpeg_exe()  # says for itself what is wrong where there is none
    # Square pixels, as a player shows them
    filters = f"framestep={excerpt.every},scale=w=iw*sar:h=ih:flags=bicubic+accurate_rnd+full_chroma_int,setsar=1"
    # Leaving frames out without -fps_mode, ffmpeg would fill the gaps with copies
    options = ["-vf", filters, "-fps_mode", "passthrough", "-frames:v", f"{excerpt.frames}"]
    frames = imageio_ffmpeg.read_frames(path, input_params=["-ss", f"{excerpt.start:.3f}"], output_params=options)
    with closing(frames) as reader:
        try:
            about = next(reader)
        except Exception as error:  # what a strange file makes the parser raise is not documented
            reason = str(error).strip().rpartition("\n")[2].rstrip(".!") + "."
            raise VideoError(
                f"ffmpeg cannot read {path.name} as a video: {reason} If it is one, it is damaged or cut off; else "
                "choose an MP4, WebM, MOV, MKV, AVI or GIF file."
            ) from error
        yield about, reader


def fitted(frame: Tensor, width: int, height: int) -> Tensor:
    """The middle of a frame, (height, width, 3), 8 bit, at another size."""
    tall, wide = frame.shape[:2]
    if (wide, tall) == (width, height):
        return frame
    seen_wide, seen_tall = min(wide, round(tall * width / height)), min(tall, round(wide * height / width))
    left, top = (wide - seen_wide) // 2, (tall - seen_tall) // 2
    middle = frame[top : top + max(1, seen_tall), left : left + max(1, seen_wide)].movedim(-1, 0)[None]
    scaled = F.interpolate(middle.float(), (height, width), mode="bicubic", antialias=True)
    return scaled[0].movedim(0, -1).clamp(0, 255).round().byte()
