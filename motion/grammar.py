"""The names of a motion module's weights: ours, AnimateDiff's published ones, and those of diffusers' MotionAdapter.

A key is a place ("down_blocks.0.motion_modules.1."), a layer ("proj_in") and "weight" or "bias". Published files hold
the three projections of an attention apart, `MotionModule` holds them as one matrix, `to_qkv`.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from .position import sinusoid

PROJECTIONS = ("to_q", "to_k", "to_v")


def layers(norms: tuple[str, str, str], attentions: tuple[str, str]) -> dict[str, str]:
    """Return layer in a file -> layer of ours, the projections still apart, for a file that uses these names."""
    block = "transformer_blocks.0."
    names = {"norm": "norm", "proj_in": "proj_in", "proj_out": "proj_out"}
    names[f"{block}{norms[-1]}"] = "feed_forward.norm"
    names[f"{block}ff.net.0.proj"] = "feed_forward.expand"
    names[f"{block}ff.net.2"] = "feed_forward.contract"
    for i, (norm, attention) in enumerate(zip(norms, attentions, strict=False)):
        names[f"{block}{norm}"] = f"attentions.{i}.norm"
        names[f"{block}{attention}.to_out.0"] = f"attentions.{i}.to_out"
        names |= {f"{block}{attention}.{name}": f"attentions.{i}.{name}" for name in PROJECTIONS}
    return names


PUBLISHED_LAYERS = layers(("norms.0", "norms.1", "ff_norm"), ("attention_blocks.0", "attention_blocks.1"))
DIFFUSERS_LAYERS = layers(("norm1", "norm2", "norm3"), ("attn1", "attn2"))
OUR_LAYERS = PUBLISHED_LAYERS | DIFFUSERS_LAYERS
THEIR_LAYERS = {ours: theirs for theirs, ours in PUBLISHED_LAYERS.items()}

NUMBER = "[0-9]{1,2}"  # no UNet has a hundred blocks
BLOCK = rf"(down_blocks\.{NUMBER}|mid_block|up_blocks\.{NUMBER})"
FILE_KEY = re.compile(rf"{BLOCK}\.motion_modules\.({NUMBER})\.(?:temporal_transformer\.)?(.+)")
OUR_KEY = re.compile(rf"{BLOCK}\.({NUMBER})\.(.+)")
THEIR_ENCODER, OUR_ENCODER = "img_encoder.", "image_encoder."
POSITION = re.compile(
    r"transformer_blocks\.0\.(?:attention_blocks\.\d+\.pos_encoder\.(?:pe|pos_encoding)|pos_embed\.pe)"
)


def is_position(key: str) -> bool:
    """Whether `key` of a file is a position encoding, which is computed, not loaded."""
    match = FILE_KEY.fullmatch(key)
    return match is not None and POSITION.fullmatch(match[3]) is not None


def our_key(key: str) -> str | None:
    """Return our name of a weight in a file, the projections still apart, or None for a key that is no such weight."""
    if key.startswith(THEIR_ENCODER):
        return key.replace(THEIR_ENCODER, OUR_ENCODER, 1)
    match = FILE_KEY.fullmatch(key)
    if match is None:
        return None
    block, index, rest = match.groups()
    layer, _, parameter = rest.rpartition(".")
    if layer not in OUR_LAYERS or parameter not in ("weight", "bias"):
        return None
    return f"{block}.{index}.{OUR_LAYERS[layer]}.{parameter}"


def published_key(key: str) -> str:
    """Return the published name of a weight of ours; the projections must be apart."""
    if key.startswith(OUR_ENCODER):
        return key.replace(OUR_ENCODER, THEIR_ENCODER, 1)
    match = OUR_KEY.fullmatch(key)
    if match is None:
        raise KeyError(key)
    block, index, rest = match.groups()
    layer, _, parameter = rest.rpartition(".")
    return f"{block}.motion_modules.{index}.temporal_transformer.{THEIR_LAYERS[layer]}.{parameter}"


def name_in_files(key: str) -> str:
    """Return the published name of a weight of ours; any other key keeps its own."""
    try:
        return published_key(key)
    except KeyError:
        return key


def split_projections(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights with to_q, to_k and to_v in place of each to_qkv."""
    apart: dict[str, Tensor] = {}
    for key, weight in state_dict.items():
        if "to_qkv" in key:
            keys = (key.replace("to_qkv", name) for name in PROJECTIONS)
            apart |= zip(keys, weight.chunk(len(PROJECTIONS)), strict=True)
        else:
            apart[key] = weight
    return apart


def join_projections(apart: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Undo `split_projections`."""
    joined = {key: weight for key, weight in apart.items() if not any(f".{name}." in key for name in PROJECTIONS)}
    for key in (key for key in apart if ".to_q." in key):
        parts = [apart[key.replace("to_q", name)] for name in PROJECTIONS]
        joined[key.replace("to_q", "to_qkv")] = torch.cat(parts)
    return joined


def published_state_dict(state_dict: Mapping[str, Tensor], position_frames: int | None = None) -> dict[str, Tensor]:
    """Return the weights of a `MotionModule` under AnimateDiff's published names, as files hold them.

    Args:
        state_dict: of a `MotionModule`.
        position_frames: length of the position encoding to store beside the weights, as AnimateDiff's files do. None
            stores none, which is how AnimateLCM's are recognised.
    """
    published: dict[str, Tensor] = {}
    for key, weight in split_projections(state_dict).items():
        name = published_key(key)
        published[name] = weight.clone()  # safetensors refuses views of one tensor
        if position_frames and ".to_q." in key:
            position = sinusoid(position_frames, weight.shape[1])[None]
            published[name.replace("to_q.weight", "pos_encoder.pe")] = position.to(weight, copy=True)
    return published
