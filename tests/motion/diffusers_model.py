"""diffusers' models of random weights, as references, and ComfyUI's MODEL of the same weights."""

import comfy.model_management
import comfy.supported_models
import torch
from animatelcm.distill.ldm import unet_key
from comfy.model_patcher import ModelPatcher
from diffusers import MotionAdapter, UNet2DConditionModel

from ..nodes.conftest import UNET
from .conftest import CONFIG, fill

SIZE = 8  # of a latent's sides


def diffusers_unet() -> UNet2DConditionModel:
    model = UNet2DConditionModel(
        sample_size=SIZE,
        block_out_channels=CONFIG.down_channels,
        attention_head_dim=CONFIG.heads,  # diffusers' name; for this class it is the number of heads
        cross_attention_dim=UNET["context_dim"],
    )
    return fill(model, seed=7)


def diffusers_adapter() -> MotionAdapter:
    return fill(MotionAdapter(block_out_channels=CONFIG.down_channels, use_motion_mid_block=True), seed=8)


def comfy_model(unet: UNet2DConditionModel) -> ModelPatcher:
    """ComfyUI's MODEL of the same weights."""
    config = comfy.supported_models.SD15(dict(UNET))
    config.set_inference_dtype(torch.float32, None)
    model = config.get_model({}, "")
    prefix = "model.diffusion_model."
    weights = {unet_key(key).removeprefix(prefix): value for key, value in unet.state_dict().items()}
    model.diffusion_model.load_state_dict(weights, strict=True)
    return ModelPatcher(model, comfy.model_management.get_torch_device(), comfy.model_management.unet_offload_device())
