"""AnimateLCM-I2V's image encoder: what the frames of a clip are told about the picture they move (tau_image).

Its weights are the `img_encoder.*` of a motion module's file; layers keep the names that they have there.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import ImageEncoderConfig, ResidualConfig
from .position import sinusoid


class ImageEncoder(nn.Module):
    """Turns the latents of a picture into a feature per level of the UNet, for each frame its own.

    Args:
        config: widths, counts and kernels.
        operations: the namespace that layers come from: `comfy.ops.manual_cast`, or `torch.nn` for training.
        factory: `dtype` and `device` of the layers.
    """

    def __init__(self, config: ImageEncoderConfig, operations: Any = nn, **factory: Any) -> None:
        super().__init__()
        widths = [block.channels for block in config.blocks]
        self.blocks_per_level = len(config.blocks) // config.levels
        self.conv_in = operations.Conv2d(config.latent_channels, widths[0], 3, padding=1, **factory)
        self.body = nn.ModuleList(
            ResidualBlock(before, block, operations, **factory)
            for before, block in zip([widths[0], *widths], config.blocks, strict=False)
        )

    def forward(self, latents: Tensor, frame: Tensor, motion_scale: float | Tensor = 0.8) -> list[Tensor]:
        """Return a feature per level: (rows, channels, height, width), halved from level to level.

        Args:
            latents: of a picture, as the UNet sees latents, one row per frame that is told of it: (rows, 4, h, w).
            frame: number of that frame in its clip, (rows,), int64.
            motion_scale: weight of the frame's number, one for all or one per row, (rows, 1, 1, 1); at 0 all frames are
                told the same, and the video stands still.
        """
        h = self.conv_in(latents)
        position = sinusoid(int(frame.max()) + 1, h.shape[1], h.dtype, h.device)[frame]
        h = h + motion_scale * position[:, :, None, None]
        features = []
        for i, block in enumerate(self.body):
            level, place = divmod(i, self.blocks_per_level)
            h = block(halved(h) if level and not place else h)
            if place == self.blocks_per_level - 1:
                features.append(h)
        return features


class ResidualBlock(nn.Module):
    """Two convolutions and a residual sum; one before them where the width changes."""

    def __init__(self, channels: int, config: ResidualConfig, operations: Any, **factory: Any) -> None:
        super().__init__()
        out, plain = config.channels, {"kernel_size": config.kernel, "padding": config.kernel // 2} | factory
        self.in_conv = operations.Conv2d(channels, out, **plain) if config.in_conv else nn.Identity()
        self.block1 = operations.Conv2d(out, out, 3, padding=1, **factory)
        self.block2 = operations.Conv2d(out, out, **plain)
        self.skep = operations.Conv2d(out, out, **plain) if config.skep else nn.Identity()

    def forward(self, h: Tensor) -> Tensor:
        """(rows, channels, height, width) -> the same height and width."""
        h = self.in_conv(h)
        return self.block2(F.relu(self.block1(h))) + self.skep(h)


def halved(h: Tensor) -> Tensor:
    """Return means of 2 x 2 pixels; an odd last row or column counts twice."""
    height, width = h.shape[-2:]
    return F.avg_pool2d(F.pad(h, (0, width % 2, 0, height % 2), mode="replicate"), 2)


def encode_clip(encoder: ImageEncoder, latents: Tensor, weights: Tensor, motion_scale: float = 0.8) -> list[Tensor]:
    """Return what each frame of a clip is told, (frames, channels, height, width) per level.

    Args:
        encoder: the image encoder.
        latents: of the pictures, as the UNet sees latents, (pictures, 4, h, w).
        weights: how much of each picture is in each frame's feature, (frames, pictures); see `picture_weights`.
        motion_scale: see `ImageEncoder.forward`.
    """
    frame, picture = weights.nonzero(as_tuple=True)
    share = weights[frame, picture].to(latents)[:, None, None, None]
    rows = encoder(latents[picture.to(latents.device)], frame.to(latents.device), motion_scale)
    empty = ((len(weights), *feature.shape[1:]) for feature in rows)
    to = frame.to(latents.device)
    return [f.new_zeros(shape).index_add_(0, to, f * share) for f, shape in zip(rows, empty, strict=True)]


def picture_weights(frames: Sequence[int], keyframes: Sequence[int]) -> Tensor:
    """Return how much of each picture is in each frame, (frames, pictures); each row's sum is 1.

    A frame between two keyframes has a share of both, by how near it is; before the first and after the last it has
    that one alone.

    Args:
        frames: numbers of the frames.
        keyframes: number of the frame that each picture belongs to, ascending.
    """
    at, keys = torch.tensor(frames).float(), torch.tensor(keyframes).float()
    after = torch.searchsorted(keys, at).clamp(1, max(1, len(keys) - 1))
    if len(keys) == 1:
        return torch.ones(len(at), 1)
    before = after - 1
    share = ((at - keys[before]) / (keys[after] - keys[before])).clamp(0, 1)
    weights = torch.zeros(len(at), len(keys))
    rows = torch.arange(len(at))
    weights[rows, before], weights[rows, after] = 1 - share, share
    return weights
