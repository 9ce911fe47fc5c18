"""Sound beside the frames: in and out of a video, cut to its frames."""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .ffmpeg import ffmpeg
from .frames import VideoError
from .probe import Description

LARGEST = 2**26  # samples of all channels that are read, a quarter of a GiB: 11 minutes of stereo at 48 kHz
RATES = (1000, 192000)  # samples a second that sound has
QUIET_RATE = 44100
AT_ONCE = 1 << 20  # bytes asked of ffmpeg at a time


@dataclass(frozen=True)
class Sound:
    """Sound as ComfyUI's AUDIO holds it, of one clip.

    Attributes:
        waveform: (channels, samples), -1 to 1.
        rate: samples per second.

    Raises:
        VideoError: if that is not so.
    """

    waveform: Tensor
    rate: int

    def __post_init__(self) -> None:
        if self.waveform.ndim != 2 or not 1 <= len(self.waveform) <= 8:
            raise VideoError(
                f"The sound has the shape {tuple(self.waveform.shape)}. Expected (1 to 8 channels, samples)."
            )
        if not RATES[0] <= self.rate <= RATES[1]:
            raise VideoError(f"The sound has {self.rate} samples a second. Expected {RATES[0]} to {RATES[1]}.")
        if not torch.isfinite(self.waveform).all():
            raise VideoError("The sound has values that are not numbers (NaN or infinity).")

    def heard(self) -> bool:
        """Whether there is anything to hear."""
        return bool(self.waveform.any())

    def lasting(self, seconds: float) -> "Sound":
        """The beginning of it, or all of it and silence behind, so that it lasts that long."""
        samples = round(seconds * self.rate)
        return Sound(F.pad(self.waveform[:, :samples], (0, max(0, samples - self.waveform.shape[1]))), self.rate)

    def write_raw(self, path: Path, seconds: float) -> list[str]:
        """Write at most so many seconds of it, and return ffmpeg's options to read them again."""
        heard = self.waveform[:, : math.ceil(seconds * self.rate)].float().clamp(-1, 1)
        path.write_bytes(heard.T.contiguous().cpu().numpy().tobytes())
        return ["-f", "f32le", "-ar", f"{self.rate}", "-ac", f"{len(heard)}", "-i", str(path)]


def silence(seconds: float) -> Sound:
    """Nothing to hear, for a video without sound. It is as large as one sample, whatever it lasts."""
    return Sound(torch.zeros(1, 1).expand(1, round(seconds * QUIET_RATE)), QUIET_RATE)


def read_sound(
    description: Description, start: float, seconds: float, still_wanted: Callable[[], None] = lambda: None
) -> Sound:
    """Return the sound of a part of a video, mono or stereo, exactly so long; silence where there is none.

    Args:
        description: of the video.
        start: seconds from its beginning.
        seconds: how much to read; less is read where it is more than `LARGEST` samples.
        still_wanted: called while it is read; it may raise to stop.
    """
    if description.sound is None:
        return silence(min(seconds, LARGEST / QUIET_RATE))
    rate, channels = min(max(description.sound.rate, RATES[0]), RATES[1]), min(description.sound.channels, 2)
    longest = LARGEST / (rate * channels)
    if seconds > longest:
        logging.warning("AnimateLCM: %.0f seconds of sound; the first %.0f are read.", seconds, longest)
        seconds = longest
    command = [*opened(description, start, seconds), "-f", "f32le", "-ar", f"{rate}", "-ac", f"{channels}", "-"]
    content = bytearray()
    with ffmpeg(command, still_wanted) as decoder:
        while part := decoder.read(AT_ONCE):
            content += part
    samples = np.frombuffer(content, np.float32)[: len(content) // 4 // channels * channels].reshape(-1, channels)
    return Sound(torch.from_numpy(samples.T.copy()).nan_to_num(), rate).lasting(seconds)


def opened(description: Description, start: float, seconds: float) -> list[str]:
    """Return ffmpeg's options to decode that part; what begins later than the video begins with silence."""
    sought = max(0.0, start - description.late)
    seek = ["-ss", f"{sought:.3f}"] if sought else []
    part = f"aresample=async=1:first_pts=0,atrim=start={start - sought:.6f}:duration={seconds:.6f}"
    return ["-v", "error", "-nostdin", *seek, *description.source, "-map", "0:a:0", "-af", part]
