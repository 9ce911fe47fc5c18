"""Position encoding: which frame of the clip a feature belongs to."""

from functools import lru_cache

import torch
from torch import Tensor

# Numbers of an encoding that is kept: 64 frames of 4096 channels. Longer and wider ones are as large as a file says.
KEPT = 2**18


def sinusoid(
    frames: int, channels: int, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> Tensor:
    """Return the fixed encoding of `frames` positions, (frames, channels); see `compute_sinusoid`.

    Callers share it: add it, never write to it.
    """
    compute = kept_sinusoid if frames * channels <= KEPT else compute_sinusoid
    return compute(frames, channels, dtype, device)


def compute_sinusoid(
    frames: int, channels: int, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> Tensor:
    """Return the fixed encoding of `frames` positions, (frames, channels), each time a new one.

    `pe[f, 2k] = sin(f / 10000^(2k / C))`, `pe[f, 2k+1] = cos(...)` ("Attention Is All You Need", section 3.5).
    Computed in float64, so that it is exact after rounding.
    """
    position = torch.arange(frames, dtype=torch.float64)[:, None]
    wavelength = 10000.0 ** (torch.arange(0, channels, 2, dtype=torch.float64) / channels)
    angle = position / wavelength
    return torch.stack((angle.sin(), angle.cos()), dim=-1).reshape(frames, channels).to(device, dtype)


kept_sinusoid = lru_cache(maxsize=16)(compute_sinusoid)  # the widths of a UNet, in what dtypes it runs
