"""The names of a LoRA file's tensors: which layer each is for, and how ComfyUI knows it."""

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

# What follows the name of a layer, in the files that ComfyUI reads
PART = re.compile(
    r"(_lora\.|\.lora[._]|\.hada_|\.lokr_|\.oft_|\.[ab][12]\."
    r"|\.(alpha|dora_scale|rescale|reshape_weight|set_weight|diff|diff_b|w_norm|b_norm)$).*"
)
PEFT = "base_model.model."
TEXT_ENCODER = re.compile(r"lora_te\d?_|text_encoder|text_model\.")


def layer_of(name: str) -> str:
    """Return the layer that a tensor is for, as the file names it."""
    return PART.sub("", name)


def layers_of(names: Iterable[str]) -> set[str]:
    """Return all layers that a file has tensors for."""
    return {layer_of(name) for name in names}


def is_for_text_encoder(layer: str) -> bool:
    """Whether a layer belongs to a text encoder."""
    return TEXT_ENCODER.match(layer) is not None


def with_known_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under names that ComfyUI reads: the layers of PEFT's and diffusers' files get kohya's."""
    return {known_name(name): tensor for name, tensor in tensors.items()}


def known_name(name: str) -> str:
    """Return the name of a tensor as ComfyUI knows it.

    PEFT writes `base_model.model.` before the names of a module's layers, diffusers `unet.` before the UNet's (ComfyUI
    knows those only as diffusers wrote them until 2023, with `processor` in them).
    """
    layer = layer_of(name)
    inner = layer.removeprefix(PEFT)
    if is_for_text_encoder(inner) and inner != layer:
        return f"text_encoder.{inner.removeprefix('text_encoder.')}{name[len(layer) :]}"
    inner = inner.removeprefix("unet.")
    if inner == layer or ".processor" in inner:
        return name
    return f"lora_unet_{inner.replace('.', '_')}{name[len(layer) :]}"
