"""The family as files that ComfyUI loads: half precision, published names, and metadata that says what they are."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ..motion.grammar import published_state_dict
from .autoencoder import widen
from .ldm import controlnet_key, text_key, unet_key, vae_key
from .scenes import STYLES
from .stages import load_autoencoder, load_base, load_image_encoder, load_layout, load_lora, load_motion
from .text import token_map

MODELS = Path(__file__).parents[1] / "models"
NAME = "animatelcm_mini_synthetic"
TEACHER_FRAMES = 32
LATENT_SCALE = 0.18215
TOKEN_MAP = "text_model.embeddings.token_embedding.token_map"


def export(run: Path, models: Path = MODELS) -> list[Path]:
    """Write every file whose stage is done, and return their paths."""
    parts: dict[str, tuple[str, Callable[[], Mapping[str, Tensor]]]] = {
        "base": (f"checkpoints/{NAME}", _checkpoint(run, "base")),
        "personalized": (f"checkpoints/{NAME}_personalized", _checkpoint(run, "personalized")),
        "motion": (f"animatediff_models/{NAME}_teacher", lambda: _motion(run, "motion", TEACHER_FRAMES)),
        "lcm_image": (f"loras/{NAME}_lcm_lora", lambda: load_lora(run).published()),
        "lcm_video": (f"animatediff_models/{NAME}_t2v", lambda: _motion(run, "lcm_video", None)),
        "image_encoder": (f"animatediff_models/{NAME}_i2v", lambda: _image_to_video(run)),
        "layout": (f"controlnet/{NAME}_layout", lambda: _layout(run)),
    }
    for style in STYLES[1:]:
        parts[f"style_{style}"] = f"loras/{NAME}_style_{style}", _style(run, style)
    return [
        write(models / f"{name}.safetensors", weights())
        for stage, (name, weights) in parts.items()
        if (run / f"{stage}.pt").exists()
    ]


def _checkpoint(run: Path, stage: str) -> Callable[[], Mapping[str, Tensor]]:
    return lambda: checkpoint_weights(load_base(run, stage), load_autoencoder(run))


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


def _motion(run: Path, stage: str, position_frames: int | None) -> dict[str, Tensor]:
    return published_state_dict(load_motion(run, stage).state_dict(), position_frames)


def _image_to_video(run: Path) -> dict[str, Tensor]:
    encoder = {f"image_encoder.{key}": value for key, value in load_image_encoder(run).state_dict().items()}
    return published_state_dict(load_motion(run, "lcm_video").state_dict() | encoder)


def _layout(run: Path) -> dict[str, Tensor]:
    return {controlnet_key(key): value for key, value in load_layout(run).state_dict().items()}


def _style(run: Path, style: str) -> Callable[[], Mapping[str, Tensor]]:
    return lambda: load_lora(run, f"style_{style}").published()


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
