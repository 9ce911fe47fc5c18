"""Ways to decode a clip at full size with random weights, through ComfyUI's own VAE object."""

from collections.abc import Callable
from typing import Any

import torch
from _full_size import LATENT_CHANNELS, VAE, fill
from torch import Tensor

FEW = 4  # frames at a time


def decoders(latents: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Functions that decode latents (frames, 4, height, width) to frames on the CPU."""
    vae, last, tiny = sd15_vae(), sd15_vae(), taesd()
    last.first_stage_model.to(memory_format=torch.channels_last)
    parts = latents.split(FEW)
    return {
        "VAE": lambda: vae.decode(latents),
        f"VAE, {FEW} frames at a time": lambda: torch.cat([vae.decode(part) for part in parts]),
        "VAE, channels last": lambda: last.decode(latents),
        "TAESD": lambda: tiny.decode(latents),
    }


def sd15_vae() -> Any:
    """SD1.5's VAE, as a checkpoint loader returns it."""
    import comfy.sd
    from comfy.ldm.models.autoencoder import AutoencoderKL

    return comfy.sd.VAE(sd=fill(AutoencoderKL(ddconfig=VAE, embed_dim=LATENT_CHANNELS)).state_dict())


def taesd() -> Any:
    """The small decoder that ComfyUI previews with, as VAELoader returns it."""
    import comfy.sd
    from comfy.taesd.taesd import TAESD

    return comfy.sd.VAE(sd=fill(TAESD(latent_channels=LATENT_CHANNELS)).state_dict())
