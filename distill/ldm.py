"""Key names: diffusers' UNet and VAE as an SD1.5 checkpoint (and so ComfyUI) calls them."""

import re

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
LAYERS_PER_BLOCK = 2
HINT_LAYERS = 7  # convolutions of a ControlNet's hint before the last
LAYER = re.compile(r"(down|mid|up)_block(?:s\.(\d+))?\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)")


def unet_key(key: str) -> str:
    """The ldm name of a weight of diffusers' UNet2DConditionModel with two layers per block."""
    layer, _, parameter = key.rpartition(".")
    if layer in ENDS:
        return f"model.diffusion_model.{ENDS[layer]}.{parameter}"
    match = LAYER.fullmatch(key)
    if match is None:
        raise KeyError(key)
    side, block, kind, index, rest = match.groups()
    if kind == "resnets":
        name, _, parameter = rest.partition(".")
        rest = f"{RESNET[name]}.{parameter}"
    place = _place(side, int(block or 0), kind, int(index))
    return f"model.diffusion_model.{place}.{rest.replace('conv.', 'op.') if kind == 'downsamplers' else rest}"


def _place(side: str, block: int, kind: str, index: int) -> str:
    """Where in ldm's flat lists a layer sits: a resnet, then its attention, then what changes the resolution."""
    if side == "mid":
        return f"middle_block.{1 if kind == 'attentions' else 2 * index}"
    if kind == "downsamplers":
        return f"input_blocks.{(LAYERS_PER_BLOCK + 1) * (block + 1)}.0"
    if side == "down":
        return f"input_blocks.{1 + (LAYERS_PER_BLOCK + 1) * block + index}.{int(kind == 'attentions')}"
    if kind == "upsamplers":  # the first up block has no attention before it
        return f"output_blocks.{(LAYERS_PER_BLOCK + 1) * block + LAYERS_PER_BLOCK}.{1 if block == 0 else 2}"
    return f"output_blocks.{(LAYERS_PER_BLOCK + 1) * block + index}.{int(kind == 'attentions')}"


def controlnet_key(key: str) -> str:
    """The ldm name of a weight of diffusers' ControlNetModel."""
    part, _, rest = key.partition(".")
    if part == "controlnet_cond_embedding":
        return f"control_model.input_hint_block.{_hint_layer(rest)}"
    if part == "controlnet_down_blocks":
        index, _, parameter = rest.partition(".")
        return f"control_model.zero_convs.{index}.0.{parameter}"
    if part == "controlnet_mid_block":
        return f"control_model.middle_block_out.0.{rest}"
    return unet_key(key).replace("model.diffusion_model.", "control_model.")


def _hint_layer(key: str) -> str:
    """Ldm counts the activations between the hint's convolutions as layers."""
    layer, _, parameter = key.rpartition(".")
    if layer == "conv_in":
        return f"0.{parameter}"
    if layer == "conv_out":
        return f"{2 * HINT_LAYERS}.{parameter}"
    return f"{2 * (int(layer.removeprefix('blocks.')) + 1)}.{parameter}"


def vae_key(key: str) -> str:
    """The name in ComfyUI of a weight of diffusers' AutoencoderTiny. ComfyUI's decoder counts its clamp as a layer."""
    side, _, index, rest = key.split(".", 3)
    return f"first_stage_model.taesd_{side}.{int(index) + (side == 'decoder')}.{rest}"


def text_key(key: str) -> str:
    return f"cond_stage_model.transformer.{key}"


def lora_name(module: str) -> str:
    """Kohya's name of the residual of a module of diffusers' UNet."""
    return "lora_unet_" + module.replace(".", "_")
