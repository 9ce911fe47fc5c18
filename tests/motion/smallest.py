"""The smallest UNet with all that hangs on it: the same code is compiled of it as of a large one, in less time."""

import comfy.sd
import torch
from animatelcm.motion.config import ImageEncoderConfig, MotionConfig, ResidualConfig
from animatelcm.motion.transformer import MotionModule
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from .comfy_model import CONTEXT, build_model
from .conftest import fill

UNET = {"num_res_blocks": [1], "channel_mult": (1,), "transformer_depth": [1], "transformer_depth_middle": 0}
UNET |= {"transformer_depth_output": [1, 1]}
ENCODER = ImageEncoderConfig((ResidualConfig(32),), levels=1)
CONFIG = MotionConfig((32,), (32,), 32, down_modules=1, up_modules=2, image_encoder=ENCODER)
PLACES = 4
LAYER = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"


def smallest_model() -> ModelPatcher:
    model = build_model(**UNET)
    fill(model.model, seed=2)
    return model


def smallest_motion() -> ModelPatcher:
    cpu = torch.device("cpu")
    return ModelPatcher(fill(MotionModule(CONFIG), seed=1), cpu, cpu)


def with_lora(model: ModelPatcher, strength: float) -> ModelPatcher:
    lora = {f"{LAYER}.lora_up.weight": torch.ones(32, 1), f"{LAYER}.lora_down.weight": torch.ones(1, CONTEXT)}
    return comfy.sd.load_lora_for_models(model, None, lora, strength, 0.0)[0]


def assert_same(found: Tensor, expected: Tensor) -> None:
    assert float((found - expected).norm() / expected.norm()) <= 1e-4
