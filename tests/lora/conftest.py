"""The small real model and the model folders of the nodes' tests, and LoRAs for every layer of the model."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from ..nodes.conftest import base, registered, save_model

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

__all__ = ["base", "registered", "save_model"]

RANK = 2
Make = Callable[[torch.Size], dict[str, Tensor]]


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def low_rank(shape: torch.Size) -> dict[str, Tensor]:
    """The tensors of a plain LoRA for a weight of that shape."""
    return {"lora_up.weight": numbers(shape[0], RANK), "lora_down.weight": numbers(RANK, *shape[1:])}


@pytest.fixture(scope="session")
def layers(base: "ModelPatcher") -> dict[str, torch.Size]:
    """The shape of every weight of the model that LoRAs change, by the name of its layer in diffusers."""
    import comfy.utils

    shapes = {key: weight.shape for key, weight in base.model.diffusion_model.state_dict().items()}
    names = comfy.utils.unet_to_diffusers(base.model.model_config.unet_config)
    weights = {name.removesuffix(".weight"): shapes.get(key) for name, key in names.items() if name.endswith(".weight")}
    return {layer: shape for layer, shape in weights.items() if shape and len(shape) > 1}


@pytest.fixture
def save(save_model: Callable[..., str]) -> Callable[[dict[str, Tensor]], Path]:
    """Write a LoRA file, and return its path."""
    import folder_paths

    def write(tensors: dict[str, Tensor], name: str = "x.safetensors") -> Path:
        return Path(folder_paths.get_full_path_or_raise("loras", save_model("loras", name, tensors)))

    return write


def kohya(layer: str) -> str:
    """The name of a layer in kohya's files."""
    return f"lora_unet_{layer.replace('.', '_')}"


def of_layers(layers: dict[str, torch.Size], make: Make = low_rank) -> dict[str, Tensor]:
    """A LoRA file on all of the layers, under kohya's names."""
    return {f"{kohya(layer)}.{part}": value for layer, shape in layers.items() for part, value in make(shape).items()}
