"""The names of a motion module's weights: as published, as diffusers writes them, and as `MotionModule` has them.

The three differ in names only, but that `MotionModule` keeps to_q, to_k and to_v of an attention as one matrix.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from .position import sinusoid

# One temporal transformer: MotionModule's name, then the published one. {i} is the number of the attention.
LAYERS = {
    "norm": "norm",
    "proj_in": "proj_in",
    "proj_out": "proj_out",
    "attentions.{i}.norm": "transformer_blocks.0.norms.{i}",
    "attentions.{i}.to_out": "transformer_blocks.0.attention_blocks.{i}.to_out.0",
    "feed_forward.norm": "transformer_blocks.0.ff_norm",
    "feed_forward.expand": "transformer_blocks.0.ff.net.0.proj",
    "feed_forward.contract": "transformer_blocks.0.ff.net.2",
}
OURS = {published.format(i=i): ours.format(i=i) for ours, published in LAYERS.items() for i in range(2)}
PUBLISHED = {ours: published for published, ours in OURS.items()}

# Diffusers' MotionAdapter, each pattern with its published counterpart; in this order.
DIFFUSERS = (
    (r"\.motion_modules\.(\d+)\.(?!temporal_transformer\.)", r".motion_modules.\1.temporal_transformer."),
    (r"\.attn([12])\.", lambda match: f".attention_blocks.{int(match[1]) - 1}."),
    (r"\.norm([12])\.", lambda match: f".norms.{int(match[1]) - 1}."),
    (r"\.norm3\.", ".ff_norm."),
)
POSITION = re.compile(r"\.(pos_encoder\.(pe|pos_encoding)|pos_embed\.pe)$")
PLACE = re.compile(r"^((?:down|up)_blocks\.\d+|mid_block)\.motion_modules\.(\d+)\.temporal_transformer\.(.+)$")
QKV = re.compile(r"^transformer_blocks\.0\.attention_blocks\.(\d)\.to_[qkv]\.weight$")
OWN = re.compile(r"^((?:down|up)_blocks\.\d+|mid_block)\.(\d+)\.(.+)\.(\w+)$")


def is_position(key: str) -> bool:
    """Whether `key` names a stored position encoding."""
    return POSITION.search(key) is not None


def published_name(key: str) -> str:
    """Return the published name of a weight that may bear diffusers' name, or a prefix of data-parallel training."""
    key = key.removeprefix("module.")
    for pattern, replacement in DIFFUSERS:
        key = re.sub(pattern, replacement, key)
    return key


def own_state_dict(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a published state dict, without position encodings, under `MotionModule`'s names.

    Names that belong to no temporal transformer keep theirs, so that a strict comparison finds them.
    """
    own = {own_name(key): value for key, value in published.items() if not (_is_qkv(key) or is_position(key))}
    queries = (key for key in published if _is_qkv(key) and key.endswith("to_q.weight"))
    for key in queries:
        place, attention = _attention(key)
        parts = [published.get(key.replace("to_q.weight", f"to_{part}.weight")) for part in "qkv"]
        found = [part for part in parts if part is not None]
        if len(found) == 3:
            own[f"{place}.attentions.{attention}.to_qkv.weight"] = torch.cat(found)
    return own


def own_name(key: str) -> str:
    """Return `MotionModule`'s name of a published weight, or `key` itself where it has none."""
    match = PLACE.match(key)
    if match is None:
        return key
    group, number, inner = match.groups()
    layer, _, kind = inner.rpartition(".")
    return f"{group}.{number}.{OURS[layer]}.{kind}" if layer in OURS else key


def published_state_dict(own: Mapping[str, Tensor], positions: int = 0) -> dict[str, Tensor]:
    """Return the weights of a `MotionModule` under the published names, as contiguous tensors.

    Args:
        own: state dict of a `MotionModule`.
        positions: length of the position encodings to store, as AnimateDiff does; 0 stores none, as AnimateLCM does.
    """
    published: dict[str, Tensor] = {}
    for key, value in own.items():
        group, number, layer, kind = _parts(OWN, key)
        prefix = f"{group}.motion_modules.{number}.temporal_transformer."
        if not layer.endswith(".to_qkv"):
            published[f"{prefix}{PUBLISHED[layer]}.{kind}"] = value.contiguous()
            continue
        attention = f"{prefix}transformer_blocks.0.attention_blocks.{layer.split('.')[1]}"
        for part, matrix in zip("qkv", value.chunk(3), strict=True):
            published[f"{attention}.to_{part}.weight"] = matrix.clone()
        if positions:
            published[f"{attention}.pos_encoder.pe"] = sinusoid(positions, value.shape[1])[None].to(
                value.dtype, copy=True
            )
    return published


def _is_qkv(key: str) -> bool:
    match = PLACE.match(key)
    return match is not None and QKV.match(match[3]) is not None


def _attention(key: str) -> tuple[str, str]:
    """Return the place of a published to_q, to_k or to_v and the number of its attention."""
    group, number, inner = _parts(PLACE, key)
    return f"{group}.{number}", _parts(QKV, inner)[0]


def _parts(pattern: re.Pattern[str], key: str) -> tuple[str, ...]:
    match = pattern.match(key)
    if match is None:
        raise ValueError(f"{key} is not a name of a motion module's weight. Expected {pattern.pattern}.")
    return match.groups()
