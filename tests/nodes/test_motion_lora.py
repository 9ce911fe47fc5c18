"""'AnimateLCM Motion LoRA' finds its files, sends those in the wrong place to the right one, and runs in a chain."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import torch
from animatelcm.files.refusal import ModelFileError

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

LAYER = (
    "down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0.attention_blocks.0.processor.to_q_lora."
)
WEIGHT = "down_blocks.0.0.attentions.0.to_qkv.weight"


def motion_lora() -> dict[str, torch.Tensor]:
    return {f"{LAYER}up.weight": torch.ones(32, 2), f"{LAYER}down.weight": torch.ones(2, 32)}


@pytest.fixture
def name(save_model: Callable[..., str]) -> str:
    return save_model("animatediff_motion_lora", "zoom.safetensors", motion_lora())


def put(motion: ModelPatcher, name: str, strength: float = 1.0) -> Any:
    from animatelcm.nodes.motion_lora import AnimateLCMMotionLora

    return AnimateLCMMotionLora.execute(motion_module=motion, lora=name, strength=strength)[0]


def test_files_are_listed(name: str) -> None:
    from animatelcm.nodes.motion_lora import AnimateLCMMotionLora

    (lora,) = (i for i in AnimateLCMMotionLora.define_schema().inputs if i.id == "lora")
    assert lora.options == ["none", name]
    assert lora.default == name


def test_none_changes_nothing(motion: ModelPatcher) -> None:
    assert put(motion, "none") is motion


def test_none_is_there_where_no_file_is() -> None:
    from animatelcm.nodes.motion_lora import AnimateLCMMotionLora

    (lora,) = (i for i in AnimateLCMMotionLora.define_schema().inputs if i.id == "lora")
    assert (lora.options, lora.default) == (["none"], "none")
    assert AnimateLCMMotionLora.validate_inputs(lora="none") is True


def test_a_chain_is_several_patches_on_a_clone(name: str, motion: ModelPatcher) -> None:
    chained = put(put(motion, name, 0.5), name, -0.25)
    assert [(patch[0], patch[3]) for patch in chained.patches[WEIGHT]] == [(0.5, (0, 0, 32)), (-0.25, (0, 0, 32))]
    assert not motion.patches


def test_a_missing_file_is_named() -> None:
    from animatelcm.nodes.motion_lora import AnimateLCMMotionLora

    message = AnimateLCMMotionLora.validate_inputs(lora="pan.ckpt")
    assert message.startswith("There is no file 'pan.ckpt' in models/animatediff_motion_lora")


def test_a_style_lora_here_is_sent_to_its_folder(motion: ModelPatcher, save_model: Callable[..., str]) -> None:
    tensors = {"lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight": torch.ones(4, 4)}
    save_model("animatediff_motion_lora", "style.safetensors", tensors)
    with pytest.raises(ModelFileError, match=r"style.safetensors is a LoRA\. Expected a motion LoRA.*models/loras"):
        put(motion, "style.safetensors")


def test_a_motion_lora_in_a_style_slot_is_sent_to_its_folder(
    apply: Callable[..., ModelPatcher], save_model: Callable[..., str]
) -> None:
    save_model("loras", "zoom.safetensors", motion_lora())
    with pytest.raises(ModelFileError, match="is a motion LoRA.*belongs in models/animatediff_motion_lora"):
        apply(style_lora="zoom.safetensors")
