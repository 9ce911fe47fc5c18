"""Full-size models with random weights: SD1.5, AnimateLCM and a ControlNet, as models and as files."""

from typing import Any

import torch
from torch import Tensor, nn

CONTEXT = (77, 768)
LATENT_CHANNELS = 4
UNET = {
    "image_size": 32,
    "in_channels": LATENT_CHANNELS,
    "out_channels": LATENT_CHANNELS,
    "model_channels": 320,
    "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": (1, 2, 4, 4),
    "use_spatial_transformer": True,
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
    "transformer_depth_middle": 1,
    "context_dim": CONTEXT[1],
    "use_linear_in_transformer": False,
    "adm_in_channels": None,
    "use_temporal_attention": False,
    "legacy": False,
}


VAE = {
    "double_z": True,
    "z_channels": LATENT_CHANNELS,
    "resolution": 256,
    "in_channels": 3,
    "out_ch": 3,
    "ch": 128,
    "ch_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "attn_resolutions": [],
    "dropout": 0.0,
}


def fill(model: nn.Module) -> nn.Module:
    """Give every weight a small random value, so that activations stay finite through the whole depth."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 and name.endswith("weight"):
                parameter.fill_(1.0)
            else:
                parameter.normal_(std=0.02)
    return model.eval().requires_grad_(False)


def comfyui_model(dtype: torch.dtype) -> Any:
    """SD1.5 with random weights as a ModelPatcher, as a checkpoint loader returns it."""
    import comfy.model_management as management
    import comfy.model_patcher
    import comfy.supported_models

    config = comfy.supported_models.SD15(dict(UNET))
    config.set_inference_dtype(dtype, None)
    model = fill(config.get_model({}, ""))
    patcher = getattr(comfy.model_patcher, "CoreModelPatcher", comfy.model_patcher.ModelPatcher)
    return patcher(model, management.get_torch_device(), management.unet_offload_device())


def controlnet(dtype: torch.dtype) -> Any:
    """SD1.5's ControlNet with random weights, as ComfyUI's loader returns it."""
    import comfy.cldm.cldm
    import comfy.controlnet
    import comfy.model_management as management
    import comfy.ops

    sizes = {k: v for k, v in UNET.items() if k not in ("out_channels", "use_temporal_attention")}
    network = comfy.cldm.cldm.ControlNet(
        **sizes, num_heads=8, hint_channels=3, dtype=dtype, operations=comfy.ops.disable_weight_init
    )
    return comfy.controlnet.ControlNet(fill(network), load_device=management.get_torch_device())


def with_loras(model: Any, count: int) -> Any:
    """The model with `count` random LoRAs, through ComfyUI's own LoRA code."""
    import comfy.sd

    for _ in range(count):
        model, _ = comfy.sd.load_lora_for_models(model, None, lora_file(model), 1.0, 0.0)
    return model


def lora_file(model: Any, rank: int = 16) -> dict[str, Tensor]:
    """A random LoRA in kohya's names on every weight matrix of the model's UNet."""
    import comfy.lora

    weights, named = model.model.state_dict(), comfy.lora.model_lora_keys_unet(model.model, {})
    names = {key: name for name, key in named.items() if "lora_unet" in name and key in weights}
    lora = {}
    for key, name in names.items():
        lora[f"{name}.lora_up.weight"] = 0.01 * torch.randn(weights[key].shape[0], rank)
        lora[f"{name}.lora_down.weight"] = 0.01 * torch.randn(rank, weights[key][0].numel())
    return lora


def checkpoint_file(model: Any, dtype: torch.dtype) -> dict[str, Tensor]:
    """The model's UNet with a random CLIP and VAE, in the names of SD1.5's checkpoints."""
    from comfy.ldm.models.autoencoder import AutoencoderKL
    from comfy.sd1_clip import SDClipModel

    parts = {
        "model.diffusion_model.": model.model.diffusion_model,
        "cond_stage_model.transformer.text_model.": fill(SDClipModel()).get_submodule("transformer.text_model"),
        "first_stage_model.": fill(AutoencoderKL(ddconfig=VAE, embed_dim=LATENT_CHANNELS)),
    }
    return {prefix + key: w.to(dtype) for prefix, part in parts.items() for key, w in part.state_dict().items()}


def controlnet_file(dtype: torch.dtype) -> dict[str, Tensor]:
    """A random ControlNet in the names of lllyasviel's files."""
    weights: dict[str, Tensor] = controlnet(dtype).control_model.state_dict()
    return {f"control_model.{key}": weight for key, weight in weights.items()}


def motion_file(dtype: torch.dtype, pictures: bool = False) -> dict[str, Tensor]:
    """A random motion module in the grammar of `AnimateLCM_sd15_t2v.ckpt`, or with `pictures` of `..._i2v.ckpt`."""
    from animatelcm.motion.config import ImageEncoderConfig, MotionConfig, ResidualConfig
    from animatelcm.motion.grammar import published_state_dict
    from animatelcm.motion.transformer import MotionModule

    widths = (320, 640, 1280, 1280)
    doubled = [width for width in widths for _ in range(2)]
    changes = zip(widths[:1] + tuple(doubled), doubled, strict=False)
    encoder = ImageEncoderConfig(tuple(ResidualConfig(after, in_conv=after != before) for before, after in changes))
    config = MotionConfig(widths, widths[::-1], widths[-1], image_encoder=encoder if pictures else None)
    return published_state_dict(fill(MotionModule(config, dtype=dtype)).state_dict())


def diffusers_unet(dtype: torch.dtype) -> Any:
    """Diffusers' UNetMotionModel: its SD1.5 UNet with its motion adapter."""
    from diffusers import UNetMotionModel

    unet = UNetMotionModel(use_motion_mid_block=True, motion_max_seq_length=64, cross_attention_dim=CONTEXT[1])
    return fill(unet).to(dtype)
