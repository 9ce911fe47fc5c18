"""What reading, writing and changing frames have in common."""

import torch
from torch import Tensor


class VideoError(RuntimeError):
    """Frames or a file are not what was expected; the message says what they are, and what to do."""


def rgb(frames: Tensor) -> Tensor:
    """Return the red, green and blue of frames (..., 3 or more): an alpha channel may follow.

    Raises:
        VideoError: if there are fewer channels.
    """
    if frames.shape[-1] < 3:
        raise VideoError(f"The frames have {frames.shape[-1]} channel(s). Expected RGB: three.")
    return frames[..., :3]


def check_finite(frame: Tensor, index: int) -> None:
    """Refuse a frame that would be black.

    Raises:
        VideoError: if a value of it is no number.
    """
    if not torch.isfinite(frame).all():
        raise VideoError(
            f"Frame {index} has values that are not numbers (NaN or infinity), and would be black. As a rule the VAE "
            "overflowed in half precision: start ComfyUI with --fp32-vae or --bf16-vae, or choose another VAE."
        )


def check_all_finite(frames: Tensor) -> None:
    """Refuse a batch of frames, (frames, height, width, channels), with one that would be black.

    Raises:
        VideoError: with the number of the first such frame.
    """
    for index, frame in enumerate(frames):
        check_finite(frame, index)
