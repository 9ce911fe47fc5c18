"""LoRA files on a MODEL and its CLIP, through ComfyUI's own LoRA code."""

import logging
import math
from collections.abc import Iterator, Mapping
from typing import Any

import comfy.sd
import comfy.utils
import folder_paths
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from . import folders

# What part of a tensor's name tells about the file; the first that is found counts.
SIGNS = {
    "motion_modules": "is a motion module or a motion LoRA",
    "first_stage_model": "is a checkpoint",
    "lora_te2_": "was made for SDXL",
    "text_encoder_2": "was made for SDXL",
    "double_blocks": "was made for Flux or a relative of it",
    "transformer.": "was made for a transformer such as Flux or SD3",
    "joint_blocks": "was made for SD3",
}
# Width of the text encoder's output, which the down matrices of cross-attention keys take in.
CONTEXT_WIDTHS = {768: "SD1.5", 1024: "SD2", 2048: "SDXL", 64: "this pack's mini family"}


class LoraMismatchError(ValueError):
    """A LoRA file does not belong to the model it was to be merged into."""


def merge_lora(
    model: ModelPatcher, clip: comfy.sd.CLIP | None, name: str, strength: float
) -> tuple[ModelPatcher, comfy.sd.CLIP | None]:
    """Return clones of `model` and `clip` whose weights are patched with `strength` times the LoRA file `name`.

    Raises:
        LoraMismatchError: if the file names no weight of the model and the text encoder, or has other shapes.
    """
    if name == folders.NONE:
        return model, clip
    lora = comfy.utils.load_torch_file(folder_paths.get_full_path_or_raise(folders.LORAS, name), safe_load=True)
    patched, patched_clip = comfy.sd.load_lora_for_models(model, clip, lora, strength, strength)
    merged = count_patches(patched) - count_patches(model)
    if clip is not None:
        merged += count_patches(patched_clip.patcher) - count_patches(clip.patcher)
    clips = [] if clip is None else [(clip.patcher, patched_clip.patcher)]
    odd = next((key for pair in [(model, patched), *clips] for key in misfits(*pair)), None)
    if odd or not merged:
        reason = f"has another shape than {odd}" if odd else "names no weight of this model"
        raise LoraMismatchError(
            f"The LoRA '{name}' {reason}: it {describe(lora)}. Choose one that was made for this model."
        )
    logging.info("AnimateLCM: %s patches %d weights with strength %g.", name, merged, strength)
    return patched, patched_clip


def count_patches(patcher: ModelPatcher) -> int:
    """Return how many patches wait to be merged into the weights."""
    return sum(len(patches) for patches in patcher.patches.values())


def misfits(before: ModelPatcher, patched: ModelPatcher) -> Iterator[str]:
    """Yield the weights whose new patch is a LoRA of another shape; ComfyUI would log each and leave it out."""
    for key, patches in patched.patches.items():
        adapter, offset = patches[-1][1], patches[-1][3]
        new = len(patches) > len(before.patches.get(key, []))
        if new and getattr(adapter, "name", None) == "lora" and offset is None:
            shape = comfy.utils.get_attr(patched.model, key).shape
            if residual_shape(adapter.weights) not in (None, (shape[0], math.prod(shape[1:]))):
                yield f"{key} {tuple(shape)}"


def residual_shape(weights: tuple[Any, ...]) -> tuple[int, int] | None:
    """Return rows and columns of up x down, or None where a third matrix or a reshape comes in between."""
    up, down, _, mid, _, reshape = weights
    return None if mid is not None or reshape is not None else (up.shape[0], down[0].numel())


def describe(lora: Mapping[str, Tensor]) -> str:
    """Return what a file that fits nothing seems to be, as the end of a sentence."""
    for part, what in SIGNS.items():
        if any(part in key for key in lora):
            return what
    for key, tensor in lora.items():
        if "attn2" in key and "to_k" in key and ("lora_down" in key or "lora_A" in key):
            return f"was made for {CONTEXT_WIDTHS.get(tensor.shape[-1], f'a text encoder of width {tensor.shape[-1]}')}"
    return f"has tensors such as {', '.join(sorted(lora)[:3]) or 'none at all'}"
