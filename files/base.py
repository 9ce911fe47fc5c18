"""Which base model a file is, or was made for, by the names and shapes of its tensors."""

import re
from collections.abc import Iterable, Mapping

from .header import TensorHeader

# What part of a tensor's name tells; the first that is found counts.
SIGNS = (
    (r"lora_te2_|text_encoder_2\b|_blocks?[._].*transformer_blocks[._][1-9]", "SDXL"),  # SD1.5's attentions have one
    (r"^conditioner\.embedders\.", "SDXL"),
    (r"double_blocks[._]|single_blocks[._]|single_transformer_blocks[._]", "Flux or a relative of it"),
    (r"joint_blocks[._]|lora_transformer_transformer_blocks_", "SD3"),
    (r"^transformer\.|^diffusion_model\.(blocks|layers)\.", "a transformer such as Flux or Wan"),
    (r"^lora_prior_", "Stable Cascade"),
)
# Width of the text encoder's output, which the keys and values of cross-attention are made of
CONTEXT_WIDTHS = {768: "SD1.5", 1024: "SD2", 2048: "SDXL", 64: "this pack's mini family"}
# A layer that takes that output in, or what a LoRA multiplies it with first
READS_PROMPT = re.compile(
    r"attn2[._](processor[._])?to_[kv]([._]lora[._](down|A))?(\.default)?\.weight$|to_[kv]_lora\.down\."
)


def base_of(headers: Mapping[str, TensorHeader]) -> str | None:
    """Return the base model that tensors of these names and shapes belong to, or None where it cannot be told."""
    by_width = (base_by_width(h.shape[1]) for name, h in headers.items() if READS_PROMPT.search(name) and h.shape[1:])
    return base_by_name(headers) or next(by_width, None)


def base_by_name(names: Iterable[str]) -> str | None:
    """Return the base model that names of tensors tell of."""
    known = list(names)
    return next((base for sign, base in SIGNS if any(re.search(sign, name) for name in known)), None)


def base_by_width(width: int) -> str:
    """Return the base model whose text encoder has an output of `width` channels."""
    return CONTEXT_WIDTHS.get(width, f"a model with a text encoder of width {width}")
