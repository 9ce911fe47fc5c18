"""One clip or image as pixels, scaled while it is decoded, whatever size it has."""

import io
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ...video.frames import VideoError
from ...video.part import Part, first_bytes
from ...video.probe import MAX_PIXELS, describe, measured_seconds
from ...video.read import Excerpt, read_excerpt

FORMATS = ("JPEG", "PNG", "WEBP")  # PIL knows others that run programs
LARGEST_IMAGE = 8 * MAX_PIXELS  # bytes: as many pixels of 16 bits and four channels, not compressed
PATIENCE = 120.0  # seconds for one clip
SLOWER = 0.99  # of the rate asked for: 23.976 frames a second are 24


def read_clip(
    file: Path | Part, frames: int, fps: float, width: int, height: int, random: np.random.Generator
) -> Tensor:
    """Frames from a random place of a video, evenly spaced: (frames, 3, height, width) in -1..1.

    Args:
        file: the video.
        frames: how many.
        fps: how many make a second of the video.
        width, height: in pixels; the middle of what has another shape is used.
        random: where the place is drawn from.

    Raises:
        ValueError, VideoError: if it is no video, is too short or too slow, or takes `PATIENCE`.
    """
    until = time.monotonic() + PATIENCE

    def still_wanted() -> None:
        if time.monotonic() > until:
            raise ValueError(f"takes more than {PATIENCE:g} seconds to read")

    video = describe(file, still_wanted)
    if 0 < video.pictures.fps < SLOWER * fps:
        raise ValueError(f"has {video.pictures.fps:g} frames a second, fewer than the {fps:g} of data.fps")
    seconds = video.seconds or measured_seconds(video, still_wanted)
    last = seconds - 1 / (video.pictures.fps or fps)  # when its last frame begins
    start = random.random() * max(0.0, last - (frames - 1) / fps)
    for second in (start, 0.0):  # what a file says of its length may be its sound's
        excerpt = Excerpt(second, frames, 1, width, height, fps)
        try:
            clip, _ = read_excerpt(file, video, excerpt, lambda done, total: still_wanted())
        except VideoError:
            if not second:
                raise
            continue
        if len(clip) == frames:
            return (clip.movedim(-1, 1) * 2 - 1).contiguous()
    raise ValueError(f"is too short: {frames} frames at {fps:g} a second take {frames / fps:g} seconds")


def read_image(file: Path | Part, width: int, height: int) -> Tensor:
    """An image as a clip of one frame, upright: (1, 3, height, width) in -1..1; its middle, scaled to fill the size.

    Raises:
        OSError, ValueError: if it is no image, or too large; PIL raises others where it is damaged.
    """
    content = first_bytes(file, LARGEST_IMAGE + 1)
    if len(content) > LARGEST_IMAGE:
        raise ValueError(f"has more than {LARGEST_IMAGE} bytes")
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        side = 2 * max(width, height)
        image.draft("RGB", (side, side))  # a JPEG is decoded at a half, a quarter or an eighth of its size
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"has {image.width}x{image.height} pixels; the limit is {MAX_PIXELS}")
        upright = ImageOps.exif_transpose(image).convert("RGB")
    fitted = ImageOps.fit(upright, (width, height), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(fitted)).movedim(-1, 0)[None] / 127.5 - 1
