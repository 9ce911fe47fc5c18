"""The family as files that ComfyUI loads: half precision, published names, and metadata that says what they are."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ...motion.grammar import published_state_dict
from ..ldm import controlnet_key, text_key, unet_key, vae_key
from .autoencoder import widen
from .scenes import STYLES
from .stages import load_autoencoder, load_base, load_image_encoder, load_layout, load_lora, load_motion
from .text import token_map

MODELS = Path(__file__).parents[2] / "models"
NAME = "animatelcm_mini_synthetic"
TEACHER_FRAMES = 32
LATENT_SCALE = 0.18215
TOKEN_MAP = "text_model.embeddings.token_embedding.token_map"
FILES = {  # of each stage that has one
    "base": f"checkpoints/{NAME}",
    "personalized": f"checkpoints/{NAME}_personalized",
    "motion": f"animatediff_models/{NAME}_teacher",
    "lcm_image": f"loras/{NAME}_lcm_lora",
    "lcm_video": f"animatediff_models/{NAME}_t2v",
    "image_encoder": f"animatediff_models/{NAME}_i2v",
    "layout": f"controlnet/{NAME}_layout",
    **{f"style_{style}": f"loras/{NAME}_style_{style}" for style in STYLES[1:]},
}


def export(run: Path, models: Path = MODELS) -> list[Path]:
    """Write every file whose stage is done, and return their paths."""
    done = [stage for stage in FILES if (run / f"{stage}.pt").exists()]
    return [write(file_of(stage, models), _weights(run, stage)) for stage in done]


def file_of(stage: str, models: Path = MODELS) -> Path:
    return models / f"{FILES[stage]}.safetensors"


def _weights(run: Path, stage: str) -> Mapping[str, Tensor]:
    if stage in ("base", "personalized"):
        return checkpoint_weights(load_base(run, stage), load_autoencoder(run))
    if stage == "motion":
        return published_state_dict(load_motion(run, stage).state_dict(), TEACHER_FRAMES)
    if stage == "lcm_video":
        return published_state_dict(load_motion(run, stage).state_dict())
    if stage == "image_encoder":
        return _image_to_video(run)
    if stage == "layout":
        return {controlnet_key(key): value for key, value in load_layout(run).state_dict().items()}
    return load_lora(run, stage).published()


def checkpoint_weights(base: nn.ModuleDict, autoencoder: nn.Module) -> dict[str, Tensor]:
    """UNet, VAE and text encoder as one SD1.5 checkpoint."""
    unet = {unet_key(key): value for key, value in base["unet"].state_dict().items()}
    vae = {vae_key(key): value for key, value in widen(autoencoder.state_dict()).items()}
    scaling = {"vae_scale": torch.tensor(LATENT_SCALE), "vae_shift": torch.tensor(0.0)}
    text = base["text"].state_dict() | {TOKEN_MAP: token_map()}
    return (
        unet
        | vae
        | {f"first_stage_model.{key}": value for key, value in scaling.items()}
        | {text_key(key): value for key, value in text.items() if "position_ids" not in key}
    )


def _image_to_video(run: Path) -> dict[str, Tensor]:
    encoder = {f"image_encoder.{key}": value for key, value in load_image_encoder(run).state_dict().items()}
    return published_state_dict(load_motion(run, "lcm_video").state_dict() | encoder)


def write(path: Path, weights: Mapping[str, Tensor]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {
        "title": "AnimateLCM mini family: mini, synthetic - not AnimateLCM's weights",
        "description": "Trained by this repository's distill/ on rendered shapes, 64 x 64 pixels, 16 frames.",
        "family": json.dumps({"name": NAME, "size": 64, "frames": 16}),
    }
    half = {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in weights.items()}
    save_file(half, path, metadata)
    return path
