"""The comfy side of motion LoRAs: patches on a motion module's ModelPatcher, which ComfyUI merges as it does others."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import comfy.lora
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..files.refusal import first
from .grammar import PROJECTIONS, name_in_files, split_projections
from .motion_lora import LowRank, MotionLora, read_motion_lora

# What ComfyUI takes as the name of a patched weight: all of it, or (name, (dimension, start, length))
Target = str | tuple[str, tuple[int, int, int]]


def attach_motion_lora(motion: ModelPatcher, path: Path, strength: float) -> ModelPatcher:
    """Return a clone of a motion module whose weights are patched with `strength` times a motion LoRA.

    Layers that the module lacks (a mid block, as a rule) are left out, and named in the log.

    Args:
        motion: from `load_motion_module`.
        path: of the motion LoRA's file.
        strength: of the change; below 0 the camera moves the other way.

    Raises:
        ModelFileError: if the file is no motion LoRA, or one for another motion module.
    """
    lora = read_motion_lora(path)
    weights = split_projections(motion.model.state_dict())
    known = {weight: change for weight, change in lora.layers.items() if weight in weights}
    check_fit(lora, known, weights)
    patched = motion.clone()
    patched.add_patches(patches(known, weights), strength)
    logging.info("AnimateLCM: %s patches %d weights with strength %g.", path.name, len(known), strength)
    if left := lora.layers.keys() - known.keys():
        named = first([name_in_files(weight) for weight in left])
        logging.warning("AnimateLCM: the motion module has no such layers as %s changes: %s.", path.name, named)
    return patched


def check_fit(lora: MotionLora, known: Mapping[str, LowRank], weights: Mapping[str, Tensor]) -> None:
    """Refuse a motion LoRA of other widths, or most of whose layers the motion module lacks."""
    for weight, change in known.items():
        shape = (change.up.shape[0], change.down.shape[1])
        if weights[weight].shape != shape:
            raise lora.file.refusal(
                f"changes {name_in_files(weight)} as a matrix of {shape}; this motion module's is "
                f"{tuple(weights[weight].shape)}",
                "Choose a motion LoRA and a motion module that belong together.",
            )
    if 2 * len(known) < len(lora.layers):
        raise lora.file.refusal(
            f"changes {len(lora.layers)} layers, of which this motion module has {len(known)}",
            "Choose a motion LoRA and a motion module that belong together.",
        )


def patches(layers: Mapping[str, LowRank], weights: Mapping[str, Tensor]) -> dict[Target, Any]:
    """Return ComfyUI's patches for changes of a motion module's weights, by what of the module they change."""
    named: dict[str, Tensor] = {}
    for weight, change in layers.items():
        named |= {f"{weight}.lora_up.weight": change.up, f"{weight}.lora_down.weight": change.down}
        if change.alpha is not None:
            named[f"{weight}.alpha"] = change.alpha
    targets = {weight: target(weight, weights[weight].shape[0]) for weight in layers}
    found: dict[Target, Any] = comfy.lora.load_lora(named, targets, log_missing=False)
    return found


def target(weight: str, rows: int) -> Target:
    """Return where a weight of `rows` rows is in the module: the three projections of an attention are one matrix."""
    for i, projection in enumerate(PROJECTIONS):
        if f".{projection}." in weight:
            return weight.replace(projection, "to_qkv"), (0, i * rows, rows)
    return weight
