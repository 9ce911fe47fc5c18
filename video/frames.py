"""What reading, writing and changing frames have in common."""

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
