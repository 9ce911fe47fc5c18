"""What cannot work together is said before sampling starts, with what to do about it."""

import logging
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..motion.attach import motion_config_of
from ..sampling.model_sampling import schedule_of

TRAINED_FRAMES = 16
GOOD_CFG = 2.0


class PreflightError(ValueError):
    """The inputs of a sampler do not fit each other."""


def check_before_sampling(model: ModelPatcher, latent: Tensor, cfg: float, negative: Any | None) -> None:
    """Raise what cannot work, and log what may be meant but seldom is."""
    check_latent(model, latent)
    check_frames(model, latent.shape[0])
    check_guidance(cfg, negative)
    if schedule_of(model) is None:
        logging.warning(
            "AnimateLCM: this model samples on a schedule of its own, not on AnimateLCM's. If that is not meant, "
            "choose 'automatic' in 'Apply AnimateLCM', and put nodes such as ModelSamplingDiscrete before it."
        )


def check_latent(model: ModelPatcher, latent: Tensor) -> None:
    """Refuse latents of another kind of model."""
    channels = model.get_model_object("latent_format").latent_channels
    if latent.ndim != 4 or latent.shape[1] != channels:
        raise PreflightError(
            f"The latent has the shape {tuple(latent.shape)}. This model needs (frames, {channels}, height / 8, "
            "width / 8): use 'Empty AnimateLCM Latent', or encode images with the VAE of this checkpoint."
        )


def check_frames(model: ModelPatcher, frames: int) -> None:
    """Refuse lengths that the model's motion module has no positions for, or no motion in."""
    config = motion_config_of(model)
    if config is None:
        raise PreflightError(
            "This model has no motion module, so every frame would be a video of its own. Put 'Apply AnimateLCM' "
            "between the checkpoint and the sampler. For the image model on every frame set its γ gamma to 0."
        )
    longest = frames if "context_handler" in model.model_options else config.max_frames  # windows are short themselves
    if not 2 <= frames <= longest:
        raise PreflightError(
            f"The latent has {frames} frame{'s' if frames > 1 else ''}. This motion module works on 2 to "
            f"{config.max_frames} frames, best on {TRAINED_FRAMES}: set 'frames' of 'Empty AnimateLCM Latent', or the "
            "batch size of another node."
        )
    if not TRAINED_FRAMES <= frames <= 2 * TRAINED_FRAMES:
        logging.warning(
            "AnimateLCM: %d frames; motion modules are trained on %d, and move less well far from it.",
            frames,
            TRAINED_FRAMES,
        )


def check_guidance(cfg: float, negative: Any | None) -> None:
    """Refuse guidance without a negative prompt, and warn of more than a distilled model bears."""
    if cfg > 1.0 and negative is None:
        raise PreflightError(
            f"cfg {cfg:g} compares with a negative prompt, and none is connected. Connect one, or set cfg to 1."
        )
    if cfg > GOOD_CFG:
        logging.warning(
            "AnimateLCM: cfg %g burns colours in; it has the guidance built in and wants 1 to %g.", cfg, GOOD_CFG
        )


def check_finite(latent: Tensor) -> None:
    """Refuse to hand on a result that would decode to black frames."""
    if not torch.isfinite(latent).all():
        raise PreflightError(
            "Sampling gave values that are not numbers (NaN or infinity), which would decode to black frames. As a "
            "rule half precision overflowed: start ComfyUI with --force-fp32 or --bf16-unet, or "
            "lower the LoRA weights α and β."
        )
