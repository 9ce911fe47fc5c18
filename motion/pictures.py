"""Pictures to animate: what can be one, which part of it is seen, and what is written of the frames it belongs to."""

import logging
import math
from reprlib import repr as short
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

LEVELS = 4  # of the UNet
LATENT_CHANNELS = 4
SMALLEST = 16  # pixels a side
NEXT_TO_NOTHING = 2
MOSTLY_CUT = 0.5


class PictureError(ValueError):
    """A picture, or a number that goes with it, cannot be used."""


def cropped(image: Tensor, width: int, height: int) -> Tensor:
    """Return the middle of pictures, (N, H, W, 3) in 0 to 1, as (N, height, width, 3).

    The filter is Lanczos, as in AnimateLCM's code; it works on 8 bits per channel.

    Raises:
        PictureError: if next to nothing of them would be seen.
    """
    tall, wide = image.shape[1:3]
    seen_wide, seen_tall = min(wide, tall * width / height), min(tall, wide * height / width)
    if min(seen_wide, seen_tall) < NEXT_TO_NOTHING:
        raise PictureError(
            f"The picture is {wide} x {tall} pixels, the video {width} x {height}: next to nothing of the picture "
            "would be seen. Choose a width and a height more like its own."
        )
    kept = seen_wide * seen_tall / (wide * tall)
    if kept < MOSTLY_CUT:
        logging.warning(
            "AnimateLCM: the picture is %d x %d, the video %d x %d: only the middle %.0f %% of it is seen. Choose a "
            "width and a height more like it.",
            wide,
            tall,
            width,
            height,
            100 * kept,
        )
    left, top = (wide - seen_wide) / 2, (tall - seen_tall) / 2
    box = left, top, left + seen_wide, top + seen_tall
    pictures = [Image.fromarray(levels) for levels in (image.cpu() * 255).round().clamp(0, 255).byte().numpy()]
    middles = [np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS, box)) for picture in pictures]
    return torch.from_numpy(np.stack(middles)).to(image) / 255


def check_picture(image: Tensor) -> None:
    """Refuse what is no RGB picture of some size."""
    height, width, channels = image.shape[1:]
    if channels != 3:
        raise PictureError(
            f"The picture has {channels} channels, and RGB has 3. Take off its alpha channel with 'Split Image with "
            "Alpha'."
        )
    if min(width, height) < SMALLEST:
        raise PictureError(
            f"The picture is {width} x {height} pixels. Connect one of at least {SMALLEST} pixels a side."
        )
    if not torch.isfinite(image).all():
        raise PictureError(
            "The picture has values that are not numbers (NaN or infinity). The node that it comes from failed: a VAE "
            "in half precision does, and --fp32-vae helps."
        )


def check_time(start: float, end: float) -> None:
    """Refuse a time in which the picture would never be told."""
    if start >= end:
        raise PictureError(
            f"start {start:g} is not before end {end:g}, so that the picture would never count. Choose a start below "
            "the end, such as 0 and 1, or strength 0."
        )


def check_latents(latents: Tensor) -> None:
    """Refuse the latents of another kind of model's VAE."""
    if latents.ndim != 4 or latents.shape[1] != LATENT_CHANNELS:
        raise PictureError(
            f"This VAE makes latents of the shape {tuple(latents.shape)}, and SD1.5 needs (pictures, "
            f"{LATENT_CHANNELS}, height / 8, width / 8). Connect the VAE of the SD1.5 checkpoint."
        )


def read_keyframes(text: str, pictures: int, frames: int) -> list[int]:
    """Return the frame that each picture belongs to, 0 to `frames` - 1.

    Raises:
        PictureError: if the numbers are not one per picture, all different, and inside of the clip.
    """
    if pictures > frames:
        raise PictureError(
            f"The batch has {pictures} pictures, and the video {frames} frames. Connect one picture, or at most one "
            "per frame."
        )
    if pictures == 1 or not text.strip():
        return [round(i * (frames - 1) / max(1, pictures - 1)) for i in range(pictures)]
    written = _numbers(text, int, "keyframes", "0, 15")
    frame = [number + frames if number < 0 else number for number in written]
    if len(frame) != pictures:
        raise PictureError(
            f"keyframes {short(text)} are {len(frame)} numbers for {pictures} picture{'s' if pictures > 1 else ''}. "
            "Write one for each, or nothing."
        )
    if len(set(frame)) < len(frame) or not all(0 <= number < frames for number in frame):
        raise PictureError(
            f"keyframes {short(text)} do not fit: each is another frame of the video's {frames}, 0 to {frames - 1}, or "
            "-1 for the last."
        )
    return frame


def read_strengths(strength: float, levels: str) -> tuple[float, ...]:
    """Return the strength at each level of the UNet, outermost first.

    Raises:
        PictureError: if `levels` are not four finite numbers.
    """
    written = _numbers(levels, float, "level_strengths", "1, 1, 1, 1")
    if len(written) != LEVELS:
        raise PictureError(
            f"level_strengths {short(levels)} are {len(written)} numbers, and the UNet has {LEVELS} levels. Write "
            "four, such as 1, 1, 1, 1."
        )
    if not all(math.isfinite(level) for level in written):
        raise PictureError(f"level_strengths {short(levels)} are not all finite. Write numbers such as 1, 1, 1, 1.")
    return tuple(strength * level for level in written)


def _numbers(text: str, kind: type, name: str, example: str) -> list[Any]:
    """Return the numbers of a text such as "0, 15"."""
    try:
        return [kind(part) for part in text.replace(",", " ").split()]
    except ValueError as error:
        raise PictureError(
            f"{name} {short(text)} are not numbers. Write them separated by commas, such as {example}."
        ) from error
