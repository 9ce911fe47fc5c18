"""The motion module: temporal transformers that let the frames of a clip see each other (AnimateDiff, section 4.2).

Features stay frame-major, (clips, frames, pixels, channels), from entry to exit. Every layer but attention works on
single rows, and attention reads its frames through strided views, so that no copy is made for the sake of layout.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import MotionConfig
from .image_encoder import ImageEncoder
from .position import sinusoid

# CUDA's fused attention kernels put (batch x heads) in a grid dimension that ends at 65535 (PyTorch #142228, #146704).
MAX_ATTENTION_BATCH = 65535


# Attention


def attend(qkv: Tensor, heads: int) -> Tensor:
    """Scaled dot-product attention over dim 0: (frames, pixels, 3C) -> (frames, pixels, C)."""
    q, k, v = qkv.unflatten(-1, (3, heads, -1)).permute(2, 1, 3, 0, 4)
    return F.scaled_dot_product_attention(q, k, v).permute(2, 0, 1, 3).flatten(-2)


class TemporalAttention(nn.Module):
    """Self-attention over frames with its LayerNorm, position encoding and residual sum."""

    def __init__(self, channels: int, heads: int, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.heads = heads
        self.norm = operations.LayerNorm(channels, **factory)
        self.to_qkv = operations.Linear(channels, 3 * channels, bias=False, **factory)
        self.to_out = operations.Linear(channels, channels, **factory)

    def forward(self, h: Tensor, position: Tensor, scale: float | Tensor = 1.0) -> Tensor:
        """(clips, frames, pixels, channels), and the encoding (frames, channels) -> the same shape, in h's own memory.

        `scale`, a number or (frames, pixels, 1), multiplies the score of each frame as a key.
        """
        qkv = self.to_qkv(self.norm(h).add_(position[:, None]))
        if isinstance(scale, Tensor) or scale != 1.0:
            qkv.chunk(3, dim=-1)[1].mul_(scale)
        h = h.clone() if torch.is_grad_enabled() else h  # the norm's gradient needs it as it was
        for clip, first in product(range(len(h)), range(0, h.shape[2], MAX_ATTENTION_BATCH // self.heads)):
            pixels = slice(first, first + MAX_ATTENTION_BATCH // self.heads)
            h[clip, :, pixels].add_(self.to_out(attend(qkv[clip, :, pixels], self.heads)))
        return h


class FeedForward(nn.Module):
    """GEGLU feed-forward with its LayerNorm and residual sum."""

    def __init__(self, channels: int, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.norm = operations.LayerNorm(channels, **factory)
        self.expand = operations.Linear(channels, 8 * channels, **factory)
        self.contract = operations.Linear(4 * channels, channels, **factory)

    def forward(self, h: Tensor) -> Tensor:
        """(..., channels) -> the same shape."""
        value, gate = self.expand(self.norm(h)).chunk(2, dim=-1)
        return self.contract(F.gelu(gate).mul_(value)).add_(h)


# Blocks


class TemporalTransformer(nn.Module):
    """One residual branch of tau_video: GroupNorm, two temporal attentions, a feed-forward, and a projection back."""

    def __init__(self, channels: int, heads: int, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.norm = operations.GroupNorm(32, channels, eps=1e-6, **factory)
        self.proj_in = operations.Linear(channels, channels, **factory)
        self.attentions = nn.ModuleList(TemporalAttention(channels, heads, operations, **factory) for _ in range(2))
        self.feed_forward = FeedForward(channels, operations, **factory)
        self.proj_out = operations.Linear(channels, channels, **factory)

    def forward(
        self,
        x: Tensor,
        frames: int,
        gamma: float | Tensor = 1.0,
        position: Tensor | None = None,
        scale: float | Tensor = 1.0,
    ) -> Tensor:
        """Return `x` plus `gamma` times what the branch adds.

        Args:
            x: features of the UNet, (clips * frames, channels, height, width).
            frames: frames per clip; the rows of one clip are neighbours.
            gamma: weight of the residual (Eq. 2 of the AnimateLCM paper); 0 returns `x` unchanged. As a tensor, () or
                (frames, 1, height, width), it is an input of a compiled graph; as a number, a constant.
            position: the encoding of the frames, (frames, channels), where it is at hand.
            scale: factor on the attention's scores, likewise; of a frame, on how much others attend to it.
        """
        rows, channels, height, width = x.shape
        position = sinusoid(frames, channels, x.dtype, x.device) if position is None else position
        keys = scale.flatten(2).transpose(1, 2) if isinstance(scale, Tensor) and scale.ndim else scale
        h = self.norm(x).permute(0, 2, 3, 1).reshape(rows // frames, frames, height * width, channels)
        h = self.proj_in(h)
        for attention in self.attentions:
            h = attention(h, position, keys)
        h = self.proj_out(self.feed_forward(h))
        residual = h.reshape(rows, height, width, channels).permute(0, 3, 1, 2)
        return add_weighted(x, residual, gamma)


def add_weighted(x: Tensor, residual: Tensor, gamma: float | Tensor) -> Tensor:
    """Return x + gamma * residual, (clips * frames, channels, height, width)."""
    if not isinstance(gamma, Tensor):
        return torch.add(x, residual, alpha=gamma)
    weight = gamma.repeat(len(x) // len(gamma), 1, 1, 1) if gamma.ndim else gamma
    return torch.addcmul(x, residual, weight)


# Model


class MotionModule(nn.Module):
    """All temporal transformers of a motion module, grouped by the UNet block they follow, and its image encoder.

    Args:
        config: widths and counts.
        operations: the namespace that layers come from: `comfy.ops.manual_cast`, or `torch.nn` for training.
        factory: `dtype` and `device` of the layers.
    """

    def __init__(self, config: MotionConfig, operations: Any = nn, **factory: Any) -> None:
        super().__init__()

        def transformers(channels: int, count: int) -> nn.ModuleList:
            blocks = (TemporalTransformer(channels, config.heads, operations, **factory) for _ in range(count))
            return nn.ModuleList(blocks)

        self.config = config
        self.down_blocks = nn.ModuleList(transformers(c, config.down_modules) for c in config.down_channels)
        self.mid_block = transformers(config.mid_channels, 1) if config.mid_channels else nn.ModuleList()
        self.up_blocks = nn.ModuleList(transformers(c, config.up_modules) for c in config.up_channels)
        encoder = config.image_encoder
        self.image_encoder = ImageEncoder(encoder, operations, **factory) if encoder else None

    def blocks(self) -> Iterator[TemporalTransformer]:
        """Yield the temporal transformers in the order in which the UNet calls them."""
        groups: Any = (*self.down_blocks, self.mid_block, *self.up_blocks)
        for group in groups:
            yield from group
