"""Frames of a clip beside each other in one latent, so that one preview shows how they move together."""

import math

import torch.nn.functional as F
from torch import Tensor

SHOWN = 64  # frames of a sheet; of longer clips, that many from the first to the last


def contact_sheet(latents: Tensor, side: int) -> Tensor:
    """Return frames in rows, from the upper left, as near to a square as they go; what is left of the last row is 0.

    Args:
        latents: (frames, channels, height, width).
        side: the most that the sheet may measure in either direction; frames are made smaller for it.

    Returns:
        (1, channels, rows * height, columns * width), of the smaller frames where they are.
    """
    frames, _, height, width = latents.shape
    count = min(frames, SHOWN)
    latents = latents[[round(i * (frames - 1) / max(count - 1, 1)) for i in range(count)]]
    columns = math.ceil(math.sqrt(count * height / width))
    rows = math.ceil(count / columns)
    scale = min(1.0, side / (columns * width), side / (rows * height))
    if scale < 1:
        size = max(1, int(scale * height)), max(1, int(scale * width))
        latents = F.interpolate(latents, size, mode="area")
    _, channels, height, width = latents.shape
    full = F.pad(latents, (0, 0, 0, 0, 0, 0, 0, rows * columns - count))
    return (
        full.view(rows, columns, channels, height, width)
        .permute(2, 0, 3, 1, 4)
        .reshape(1, channels, rows * height, columns * width)
    )
