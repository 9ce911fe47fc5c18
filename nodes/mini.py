"""Makes ComfyUI recognise the mini family's checkpoint: SD1.5 in every respect but its width and its vocabulary."""

from typing import Any

import comfy.clip_model
import comfy.supported_models
import torch
from comfy import sd1_clip
from comfy.supported_models_base import ClipTarget
from torch import Tensor, nn

from ..files.refusal import ModelFileError

WIDTH = 64
ROWS = 128
TOKENS = 49408  # of CLIP's vocabulary
TEXT_CONFIG = {
    "num_hidden_layers": 2,
    "hidden_size": WIDTH,
    "num_attention_heads": 4,
    "intermediate_size": 2 * WIDTH,
    "hidden_act": "quick_gelu",
    "max_position_embeddings": 77,
    "eos_token_id": 49407,
}


class MappedEmbedding(nn.Module):
    """CLIP's tokens on a few rows: words that mean the same share one, unknown words too."""

    token_map: Tensor

    def __init__(self, dtype: torch.dtype | None, device: Any, operations: Any) -> None:
        super().__init__()
        self.rows = operations.Embedding(ROWS, WIDTH, dtype=dtype, device=device)
        self.register_buffer("token_map", torch.zeros(TOKENS, dtype=torch.int32, device=device))

    @property
    def weight(self) -> Tensor:
        return self.rows.weight

    def forward(self, tokens: Tensor, out_dtype: torch.dtype | None = None) -> Tensor:
        return self.rows(self.token_map.to(tokens.device)[tokens].long(), out_dtype=out_dtype)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        # The file has CLIP's name for the table, as tools that read SD1.5 checkpoints expect.
        if f"{prefix}weight" in state_dict:
            state_dict[f"{prefix}rows.weight"] = state_dict.pop(f"{prefix}weight")
            check_vocabulary(state_dict[f"{prefix}rows.weight"], state_dict.get(f"{prefix}token_map"))
        super()._load_from_state_dict(state_dict, prefix, *args)


def check_vocabulary(table: Tensor, token_map: Tensor | None) -> None:
    """Refuse a checkpoint whose words point beyond its table of embeddings.

    Raises:
        ModelFileError: if the table or the map has another shape, or the map names rows that there are not.
    """
    if table.shape != (ROWS, WIDTH):
        reason = f"has a table of words of the shape {tuple(table.shape)}, not {(ROWS, WIDTH)}"
    elif token_map is None:
        reason = "has no token map"
    elif token_map.shape != (TOKENS,):
        reason = f"has a token map of the shape {tuple(token_map.shape)}, not {(TOKENS,)}"
    elif not ((token_map >= 0) & (token_map < ROWS)).all():
        reason = f"has a token map that points beyond its table of {ROWS} rows"
    else:
        return
    raise ModelFileError(
        f"The text encoder of this checkpoint of the mini family {reason}. Expected the checkpoint that comes with "
        "this pack. Take models/checkpoints/animatelcm_mini_synthetic.safetensors from it again."
    )


class MiniTextModel(comfy.clip_model.CLIPTextModel):
    """CLIP's text model with the mapped embedding."""

    def __init__(self, config: dict[str, Any], dtype: torch.dtype | None, device: Any, operations: Any) -> None:
        super().__init__(config, dtype, device, operations)
        self.set_input_embeddings(MappedEmbedding(dtype, device, operations))


class MiniClipModel(sd1_clip.SDClipModel):
    """ComfyUI's wrapper around a CLIP, with the mini one's sizes."""

    def __init__(
        self, device: Any = "cpu", dtype: torch.dtype | None = None, model_options: dict | None = None
    ) -> None:
        super().__init__(
            device=device,
            dtype=dtype,
            model_options=model_options or {},
            textmodel_json_config=dict(TEXT_CONFIG),  # a copy: ComfyUI may write into it
            model_class=MiniTextModel,
            return_projected_pooled=False,
        )


class MiniClip(sd1_clip.SD1ClipModel):
    """What a checkpoint's CLIP output is; its weights have SD1.5's names."""

    def __init__(
        self, device: Any = "cpu", dtype: torch.dtype | None = None, model_options: dict | None = None
    ) -> None:
        super().__init__(device, dtype, model_options or {}, clip_model=MiniClipModel)


class AnimateLCMMini(comfy.supported_models.SD15):
    """Matches nothing but the mini checkpoint: no other has a context of 64 and 64 channels."""

    unet_config = comfy.supported_models.SD15.unet_config | {"context_dim": WIDTH, "model_channels": 64}

    def clip_target(self, state_dict: dict[str, Tensor] | None = None) -> ClipTarget:
        return ClipTarget(sd1_clip.SD1Tokenizer, MiniClip)


def register_mini() -> None:
    """Add the mini family to the models that ComfyUI recognises. May be called again."""
    if not any(model.__name__ == AnimateLCMMini.__name__ for model in comfy.supported_models.models):
        comfy.supported_models.models.append(AnimateLCMMini)
