"""Which model a LoRA that does not fit was made for."""

import re
from collections.abc import Collection, Iterable

from .fit import Misfit

# What part of a tensor's name tells; the first that is found counts.
SIGNS = (
    (r"lora_te2_|text_encoder_2\b|_blocks?[._].*transformer_blocks[._][1-9]", "SDXL"),  # SD1.5's attentions have one
    (r"double_blocks[._]|single_blocks[._]|single_transformer_blocks[._]", "Flux or a relative of it"),
    (r"joint_blocks[._]|lora_transformer_transformer_blocks_", "SD3"),
    (r"^transformer\.|^diffusion_model\.(blocks|layers)\.", "a transformer such as Flux or Wan"),
    (r"^lora_prior_", "Stable Cascade"),
)
# Width of the text encoder's output, which the keys and values of cross-attention are made of
CONTEXT_WIDTHS = {768: "SD1.5", 1024: "SD2", 2048: "SDXL", 64: "this pack's mini family"}


def made_for(names: Collection[str], misfits: Iterable[Misfit]) -> str | None:
    """Return which model a LoRA is for, by the names of its tensors and the layers that do not fit; None if unknown."""
    for sign, model in SIGNS:
        if any(re.search(sign, name) for name in names):
            return model
    for misfit in misfits:
        if re.search(r"attn2\.to_[kv]\.weight$", misfit.key) and misfit.change:
            width = misfit.change[-1]
            return CONTEXT_WIDTHS.get(width, f"a model with a text encoder of width {width}")
    return None
