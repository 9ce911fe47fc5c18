"""Every kind of model file is known by the names of its tensors, and sent to the folder where it belongs."""

from pathlib import Path

import pytest
import torch
from animatelcm.files import kinds
from animatelcm.files.header import dense
from animatelcm.files.kinds import Kind, check_kind, kind_of
from animatelcm.files.read import ModelFile, open_model
from animatelcm.files.refusal import ModelFileError

ROOT = Path(__file__).resolve().parents[2]
TEMPORAL = "down_blocks.0.motion_modules.0.temporal_transformer."
ATTENTION = f"{TEMPORAL}transformer_blocks.0.attention_blocks.0."

# A few names of tensors that such a file has
NAMES: dict[str, tuple[Kind, list[str]]] = {
    "motion module": (kinds.MOTION_MODULE, [f"{TEMPORAL}norm.weight", "down_blocks.3.motion_modules.1.x"]),
    "motion module in training": (kinds.MOTION_MODULE, [f"module.{TEMPORAL}norm.weight", "module.down_blocks.3.a"]),
    "MotionAdapter": (
        kinds.MOTION_MODULE,
        [
            "down_blocks.3.motion_modules.0.norm.weight",
            "mid_block.motion_modules.0.transformer_blocks.0.attn1.to_q.weight",
        ],
    ),
    "AnimateLCM-I2V": (
        kinds.MOTION_MODULE,
        ["img_encoder.conv_in.weight", "img_encoder.body.0.block1.weight", f"{TEMPORAL}x"],
    ),
    "SDXL motion module": (kinds.SDXL_MOTION_MODULE, [f"down_blocks.{i}.motion_modules.0.x" for i in range(3)]),
    "HotshotXL": (kinds.HOTSHOT_MODULE, ["down_blocks.0.temporal_attentions.0.norm.weight"]),
    "AnimateDiff motion LoRA": (kinds.MOTION_LORA, [f"{ATTENTION}processor.to_q_lora.down.weight"]),
    "diffusers motion LoRA": (
        kinds.MOTION_LORA,
        ["unet.down_blocks.0.motion_modules.0.transformer_blocks.0.attn1.to_q.lora_A.weight"],
    ),
    "kohya motion LoRA": (
        kinds.MOTION_LORA,
        ["lora_unet_down_blocks_0_motion_modules_0_temporal_transformer_transformer_blocks_0_x.lora_down.weight"],
    ),
    "kohya LoRA": (kinds.LORA, ["lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight"]),
    "diffusers LoRA": (kinds.LORA, ["unet.down_blocks.0.attentions.0.proj_in.lora_A.weight"]),
    "old diffusers LoRA": (kinds.LORA, ["unet.down_blocks.0.attentions.0.processor.to_q_lora.up.weight"]),
    "PEFT LoRA": (kinds.LORA, ["base_model.model.down_blocks.0.attentions.0.proj_in.lora_A.default.weight"]),
    "LoHa": (kinds.LORA, ["lora_unet_mid_block_attentions_0_proj_in.hada_w1_a"]),
    "GLoRA": (kinds.LORA, ["lora_unet_mid_block_attentions_0_proj_in.a1.weight"]),
    "LoRA of a text encoder": (kinds.LORA, ["text_encoder.text_model.x.mlp.fc1.lora_linear_layer.up.weight"]),
    "LoKr": (kinds.LORA, ["lora_unet_mid_block_attentions_0_proj_in.lokr_w1"]),
    "full differences": (
        kinds.LORA,
        ["diffusion_model.input_blocks.0.0.diff", "diffusion_model.input_blocks.0.0.diff_b"],
    ),
    "SD checkpoint": (kinds.CHECKPOINT, ["model.diffusion_model.input_blocks.0.0.weight", "cond_stage_model.x"]),
    "SDXL checkpoint": (kinds.CHECKPOINT, ["conditioner.embedders.0.transformer.text_model.x"]),
    "diffusers UNet": (kinds.UNET, ["conv_in.weight", "down_blocks.0.resnets.0.conv1.weight"]),
    "UNet": (kinds.UNET, ["input_blocks.0.0.weight"]),
    "VAE": (kinds.VAE, ["encoder.down_blocks.0.resnets.0.conv1.weight", "decoder.conv_in.weight"]),
    "old VAE": (kinds.VAE, ["encoder.down.0.block.0.conv1.weight", "quant_conv.weight"]),
    "ControlNet": (kinds.CONTROLNET, ["control_model.input_blocks.0.0.weight"]),
    "diffusers ControlNet": (kinds.CONTROLNET, ["controlnet_cond_embedding.conv_in.weight", "conv_in.weight"]),
    "SparseCtrl": (kinds.CONTROLNET, ["controlnet_cond_embedding.conv_in.weight", f"{TEMPORAL}norm.weight"]),
    "Control-LoRA": (kinds.CONTROLNET, ["lora_controlnet", "input_blocks.0.0.down"]),
    "T2I-Adapter": (kinds.T2I_ADAPTER, ["conv_in.weight", "body.0.block1.weight"]),
    "IP-Adapter": (kinds.IP_ADAPTER, ["image_proj.proj.weight", "ip_adapter.1.to_k_ip.weight"]),
    "GLIGEN": (kinds.GLIGEN, ["position_net.linears.0.weight", "input_blocks.1.1.transformer_blocks.0.fuser.x"]),
    "CLIP vision": (kinds.CLIP_VISION, ["vision_model.embeddings.class_embedding"]),
    "text encoder": (kinds.TEXT_ENCODER, ["text_model.embeddings.token_embedding.weight"]),
    "T5": (kinds.TEXT_ENCODER, ["encoder.block.0.layer.0.SelfAttention.q.weight", "shared.weight"]),
    "embedding": (kinds.EMBEDDING, ["emb_params"]),
    "SDXL embedding": (kinds.EMBEDDING, ["clip_l", "clip_g"]),
    "something else": (kinds.OTHER, ["a", "b", "c", "d"]),
    "nothing": (kinds.OTHER, []),
}

FOLDERS = {
    "animatediff_models": kinds.MOTION_MODULE,
    "checkpoints": kinds.CHECKPOINT,
    "controlnet": kinds.CONTROLNET,
    "loras": kinds.LORA,
}


def file_of(names: list[str]) -> ModelFile:
    return ModelFile(Path("some.ckpt"), "a LoRA", {name: dense(torch.float32, (4,), 0) for name in names})


@pytest.mark.parametrize("case", NAMES)
def test_kinds_are_told_by_names(case: str) -> None:
    kind, names = NAMES[case]
    assert kind_of(file_of(names).headers) == kind


@pytest.mark.parametrize("path", sorted((ROOT / "models").glob("*/*.safetensors")), ids=lambda path: path.stem)
def test_shipped_files_are_where_they_belong(path: Path) -> None:
    kind = kind_of(open_model(path, "a model").headers)
    assert kind == FOLDERS[path.parent.name]
    assert kind.folder == path.parent.name


def test_a_textual_inversion_of_old_is_an_embedding(tmp_path: Path) -> None:
    torch.save({"string_to_token": {"*": 265}, "string_to_param": {"*": torch.ones(2, 768)}}, tmp_path / "x.pt")
    assert kind_of(open_model(tmp_path / "x.pt", "a model").headers) == kinds.EMBEDDING


def test_a_kind_that_is_wanted_is_let_through() -> None:
    assert check_kind(file_of(NAMES["LoHa"][1]), kinds.LORA, kinds.MOTION_LORA) == kinds.LORA


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("VAE", r"some.ckpt is a VAE\. Expected a LoRA\. It belongs in models/vae\."),
        ("HotshotXL", r"is a HotshotXL motion module, made for SDXL\. Expected a LoRA\. This pack cannot use it\."),
        (
            "motion module",
            r"is a motion module for SD1.5\. Expected a LoRA\. It belongs in models/animatediff_models\.",
        ),
        ("something else", r"no model that this pack knows: it holds a, b, c and 1 more\. Expected a LoRA\."),
        ("nothing", r"it holds no tensors\. Expected a LoRA\. Choose another file\."),
    ],
)
def test_another_kind_is_refused_with_where_it_belongs(case: str, message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        check_kind(file_of(NAMES[case][1]), kinds.LORA)


def test_hostile_names_are_told_soon_and_shown_short() -> None:
    names = ["motion_modules." * 60 + str(i) for i in range(2000)] + ["\x1b[2J\ud800" * 99]
    with pytest.raises(ModelFileError) as raised:
        check_kind(file_of(names[-1:]), kinds.LORA)
    assert len(str(raised.value)) < 500 and str(raised.value).isprintable()
    assert kind_of(file_of(names).headers) == kinds.MOTION_MODULE
