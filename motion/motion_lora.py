"""Motion LoRAs: small changes of a motion module's layers, in all the forms that they are published in.

AnimateDiff's `v2_lora_*` name a matrix `....attention_blocks.0.processor.to_q_lora.down.weight`, diffusers' files
`unet....attn1.to_q.lora_A.weight`, kohya's `lora_unet_..._attention_blocks_0_to_q.lora_down.weight`.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..files.kinds import MOTION_LORA, check_kind
from ..files.read import ModelFile, open_model
from ..files.refusal import first
from .grammar import BLOCK, NUMBER, OUR_LAYERS, our_key

EXPECTED = "a motion LoRA for SD1.5, such as v2_lora_ZoomIn.ckpt"

BEFORE = re.compile(r"^(?:base_model\.model\.|module\.|unet\.|diffusion_model\.)+")
MATRIX = re.compile(r"(.+?)[._]lora(?:_linear_layer)?[._](down|up|A|B)(?:\.default)?\.weight")
ALPHA = re.compile(r"(.+?)(?:_lora)?\.(alpha)")
PARTS = {"down": "down", "A": "down", "up": "up", "B": "up", "alpha": "alpha"}
KOHYA_BLOCK = BLOCK.replace(r"\.", "_")
KOHYA = re.compile(rf"lora_unet_{KOHYA_BLOCK}_motion_modules_({NUMBER})_(?:temporal_transformer_)?(.+)")
KOHYA_LAYERS = {layer.replace(".", "_"): layer for layer in OUR_LAYERS}


@dataclass(frozen=True)
class LowRank:
    """A change of one weight: `up @ down`, times `alpha / rank` where there is an alpha.

    Attributes:
        up: (channels out, rank).
        down: (rank, channels in).
        alpha: one number, or None.
    """

    up: Tensor
    down: Tensor
    alpha: Tensor | None = None


@dataclass(frozen=True)
class MotionLora:
    """What a motion LoRA's file holds.

    Attributes:
        file: the file.
        layers: changes by the names of our weights, the projections still apart.
    """

    file: ModelFile
    layers: dict[str, LowRank]


def read_motion_lora(path: str | Path) -> MotionLora:
    """Read the motion LoRA in `path`.

    Raises:
        ModelFileError: if the file is anything else, is damaged, or needs code to be read.
    """
    file = open_model(path, EXPECTED)
    check_kind(file, MOTION_LORA)
    places = {name: place_of(name) for name in file.headers}
    check_matrices(file, places)
    tensors = file.finite_tensors()
    parts: dict[str, dict[str, Tensor]] = {}
    for name, place in places.items():
        if place is not None:
            weight, part = place
            parts.setdefault(weight, {})[part] = tensors[name]
    return MotionLora(file, {weight: LowRank(**found) for weight, found in parts.items()})


def check_matrices(file: ModelFile, places: dict[str, tuple[str, str] | None]) -> None:
    """Refuse what cannot be multiplied, and what nobody knows."""
    if unknown := [name for name, place in places.items() if place is None]:
        raise file.refusal(
            f"changes what is no layer of a motion module, or in another way than by two matrices: {first(unknown)}",
            "Choose another motion LoRA.",
        )
    if odd := [name for name in places if not file.headers[name].dtype.is_floating_point]:
        raise file.refusal(
            f"has weights of the type {file.headers[odd[0]].dtype}, quantized as a rule: {first(odd)}",
            "Download a version of it in 16 or 32 bits.",
        )
    shapes = {place: file.headers[name].shape for name, place in places.items() if place}
    for weight, part in shapes:
        up, down = shapes.get((weight, "up")), shapes.get((weight, "down"))
        if up is None or down is None:
            raise file.refusal(f"is damaged: one of the two matrices for {weight} is missing")
        if part == "alpha" and shapes[weight, part] not in ((), (1,)):
            raise file.refusal(f"is damaged: the alpha for {weight} is not one number")
        if len(up) != 2 or len(down) != 2 or up[1] != down[0] or not up[1]:
            raise file.refusal(f"is damaged: matrices for {weight} of the shapes {up} and {down} have no product")


def place_of(name: str) -> tuple[str, str] | None:
    """Return our name of the weight that a tensor of a file is for, and "up", "down" or "alpha"; None for others."""
    inner = BEFORE.sub("", name)
    match = MATRIX.fullmatch(inner) or ALPHA.fullmatch(inner)
    key = match and our_key(f"{dotted(match[1])}.weight")
    return (key, PARTS[match[2]]) if match and key else None


def dotted(layer: str) -> str:
    """Return a layer's name as motion modules' files have it."""
    if match := KOHYA.fullmatch(layer):
        block, module, rest = match.groups()
        block = re.sub("_([0-9])", r".\1", block)
        return f"{block}.motion_modules.{module}.{KOHYA_LAYERS.get(rest, rest)}"
    return re.sub(r"\.to_out$", ".to_out.0", layer.replace(".processor.", "."))
