"""A small real ComfyUI model, and sampling with it."""

from collections.abc import Callable
from typing import Any

import comfy.model_management
import comfy.model_patcher
import comfy.sample
import comfy.samplers
import comfy.supported_models
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..nodes.conftest import UNET

FRAMES, SIZE, CONTEXT = 3, 8, UNET["context_dim"]
SIGMAS = (14.0, 3.0, 0.0)
STEPS = len(SIGMAS) - 1
Conds = list[list[Any]]


def build_model(kind: type = comfy.supported_models.SD15, **changes: Any) -> ModelPatcher:
    """A model as a checkpoint loader returns it, its weights not set."""
    config = kind(UNET | changes)
    config.set_inference_dtype(torch.float32, None)
    model = config.get_model({}, "")
    patcher = getattr(comfy.model_patcher, "CoreModelPatcher", ModelPatcher)
    return patcher(model, comfy.model_management.get_torch_device(), comfy.model_management.unet_offload_device())


def hooks(model: ModelPatcher) -> int:
    return sum(len(layer._forward_hooks) + len(layer._forward_pre_hooks) for layer in model.model.modules())


def prompt(seed: int) -> Conds:
    return [[torch.randn(1, 8, CONTEXT, generator=torch.Generator().manual_seed(seed)), {}]]


def sample(
    model: ModelPatcher,
    frames: int = FRAMES,
    cfg: float = 1.0,
    positive: Conds | None = None,
    sigmas: tuple[float, ...] = SIGMAS,
    callback: Callable[..., None] | None = None,
) -> Tensor:
    noise = torch.randn(frames, 4, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    sampler = comfy.samplers.sampler_object("euler")
    conds = positive or prompt(1), prompt(2)
    options: dict[str, Any] = {"callback": callback, "disable_pbar": True, "seed": 1}
    return comfy.sample.sample_custom(
        model, noise, cfg, sampler, torch.tensor(sigmas), *conds, torch.zeros_like(noise), **options
    )
