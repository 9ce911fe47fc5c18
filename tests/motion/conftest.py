"""A model and a motion module with SD1.5's layout and few channels, with random weights.

ComfyUI is imported inside the fixture: pytest reads this file before ../conftest.py has set ComfyUI's options.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from animatelcm.motion.config import MotionConfig
from animatelcm.motion.transformer import MotionModule
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from torch import Tensor, nn

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

CONFIG = MotionConfig((32, 64, 64, 64), (64, 64, 64, 32), 64)


def fill(model: nn.Module, seed: int) -> nn.Module:
    """Give every weight a random value that keeps the size of features, and every norm's one near 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.1
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
            if parameter.ndim == 1 and name.endswith("weight"):
                parameter.add_(1.0)
    return model.eval().requires_grad_(False)


class PerFrame(nn.Module):
    """A GroupNorm of (clips, channels, frames, height, width) that takes its statistics of one frame at a time."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.norm(frame) for frame in x.unbind(2)], dim=2)


def normalized_per_frame(model: nn.Module) -> nn.Module:
    """Let diffusers' motion blocks normalize as AnimateDiff's and AnimateLCM's code does, and their weights expect.

    Both rearrange to "(b f) c h w" before the GroupNorm; diffusers takes its statistics over all frames.
    """
    for module in model.modules():
        if isinstance(module, AnimateDiffTransformer3D):
            module.norm = PerFrame(module.norm)
    return model


@pytest.fixture(scope="session")
def weights() -> dict[str, Tensor]:
    return dict(fill(MotionModule(CONFIG), seed=1).state_dict())


@pytest.fixture(scope="module")
def base() -> ModelPatcher:
    from .comfy_model import build_model

    model = build_model()
    fill(model.model, seed=2)
    return model
