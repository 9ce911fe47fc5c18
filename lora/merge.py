"""The layers of a LoRA file as patches on a MODEL and its CLIP, through ComfyUI's own LoRA code."""

import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import comfy.lora
import comfy.lora_convert
import comfy.sd
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..files.refusal import NAMED, first, refusal
from .family import made_for
from .fit import Misfit, Shape, misfit
from .names import is_for_text_encoder, layers_of
from .read import EXPECTED, read_lora

# Layers that read the prompt: their width tells SD1.5 from SD2, whose other layers are alike.
READS_PROMPT = re.compile(r"attn2[._](processor[._])?to_[kv]$")


class LoraMismatchError(ValueError):
    """A LoRA file does not belong to the model it was to be merged into."""


@dataclass(frozen=True)
class Fit:
    """What of a LoRA file fits a model.

    Attributes:
        patches: ComfyUI's patches that fit, by the names of their weights.
        misfits: the weights whose patches do not.
        layers: the layers that the file is for, as it names them.
        fitting: those of them that fit.
        unknown: those of them that the model has no layer for.
    """

    patches: Mapping[str, Any]
    misfits: tuple[Misfit, ...]
    layers: frozenset[str]
    fitting: frozenset[str]
    unknown: frozenset[str]

    @property
    def belongs(self) -> bool:
        """Whether the file was made for such a model: most layers fit, and most of those that read the prompt."""
        prompt = frozenset(filter(READS_PROMPT.search, self.layers))
        return bool(self.fitting) and all(
            2 * len(layers & self.fitting) >= len(layers) for layers in (self.layers, prompt)
        )


def merge_lora(
    model: ModelPatcher, clip: comfy.sd.CLIP | None, path: Path, strength: float
) -> tuple[ModelPatcher, comfy.sd.CLIP | None]:
    """Return clones of `model` and `clip` whose weights are patched with `strength` times the LoRA file `path`.

    A layer that does not fit is left out, and named in the log, as ComfyUI does.

    Raises:
        ModelFileError: if the file is no LoRA, or cannot be read.
        LoraMismatchError: if most of its layers do not fit the model and the text encoder.
    """
    tensors = read_lora(path)
    try:
        found = fit(model, clip, tensors)
    except KeyError as error:  # ComfyUI's readers look for each matrix's partner
        raise refusal(path.name, f"is damaged: it lacks {error.args[0]}", EXPECTED) from error
    if not found.belongs:
        raise LoraMismatchError(f"The LoRA '{path.name}' {_mismatch(found, tensors)}")
    patched, patched_clip = model.clone(), None if clip is None else clip.clone()
    merged = set(patched.add_patches(found.patches, strength))
    if patched_clip is not None:
        merged |= set(patched_clip.add_patches(found.patches, strength))
    logging.info("AnimateLCM: %s patches %d weights with strength %g.", path.name, len(merged), strength)
    if found.misfits or found.unknown:
        logging.warning("AnimateLCM: %s is merged in part: %s.", path.name, _left_out(found))
    return patched, patched_clip


def fit(model: ModelPatcher, clip: comfy.sd.CLIP | None, tensors: Mapping[str, Tensor]) -> Fit:
    """Return what of a LoRA's tensors fits the model and its text encoder; its layers only where one is connected.

    Raises:
        KeyError: if the partner of a matrix is missing.
    """
    weights, shapes = comfy.lora.model_lora_keys_unet(model.model, {}), _shapes(model.model)
    if clip is not None:
        weights = comfy.lora.model_lora_keys_clip(clip.cond_stage_model, weights)
        shapes |= _shapes(clip.cond_stage_model)
    patches = comfy.lora.load_lora(comfy.lora_convert.convert_lora(tensors), weights, log_missing=False)
    misfits = {key: odd for key, patch in patches.items() if (odd := misfit(key, shapes.get(key), patch))}
    layers = {layer for layer in layers_of(tensors) if clip is not None or not is_for_text_encoder(layer)}
    return Fit(
        patches={key: patch for key, patch in patches.items() if key not in misfits},
        misfits=tuple(misfits.values()),
        layers=frozenset(layers),
        fitting=frozenset(layer for layer in layers if weights.get(layer) in patches.keys() - misfits.keys()),
        unknown=frozenset(layers - weights.keys()),
    )


def _shapes(module: torch.nn.Module) -> dict[str, Shape]:
    """Return the shape of each weight."""
    return {key: tuple(weight.shape) for key, weight in module.state_dict().items()}


def _mismatch(found: Fit, names: Collection[str]) -> str:
    """Return why a file does not belong to a model, as the end of a message that begins with its name."""
    if not found.layers:
        return "changes the text encoder only, and none is connected. Connect 'clip', or choose another file."
    model = made_for(names, found.misfits) or "another model"
    return f"was made for {model}: {_left_out(found)}. Choose one that was made for this model."


def _left_out(found: Fit) -> str:
    """Return how many layers do not fit, and why, as the end of a sentence."""
    reasons = [str(misfit) for misfit in found.misfits[:NAMED]]
    if found.unknown:
        reasons.append(f"it knows no layers of the names {first(found.unknown)}")
    count = len(found.layers - found.fitting)
    return f"{count} of its {len(found.layers)} layers do not fit this model ({'; '.join(reasons)})"
