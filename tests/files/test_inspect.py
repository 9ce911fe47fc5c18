"""`python dev.py inspect FILE...` says what files are, what is wrong with them, and where they belong."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from animatelcm.files.base import base_of
from animatelcm.files.header import dense
from animatelcm.files.inspect import inspect
from animatelcm.files.kinds import MOTION_MODULE
from animatelcm.files.refusal import ModelFileError
from animatelcm.motion.checkpoint import describe_motion_module

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "models"
READERS = {MOTION_MODULE: describe_motion_module}

# A line of what is said of each file that comes with the pack
SHIPPED = {
    "animatediff_models/animatelcm_mini_synthetic_t2v": "AnimateLCM, text to video: up to 64 frames, a mid block",
    "animatediff_models/animatelcm_mini_synthetic_i2v": "AnimateLCM, image to video: up to 64 frames",
    "animatediff_models/animatelcm_mini_synthetic_teacher": "AnimateDiff v2: up to 32 frames",
    "checkpoints/animatelcm_mini_synthetic": "For this pack's mini family.",
    "controlnet/animatelcm_mini_synthetic_layout": "For this pack's mini family.",
    "loras/animatelcm_mini_synthetic_lcm_lora": "For this pack's mini family.",
    "loras/animatelcm_mini_synthetic_style_hollow": "Of ranks 4 to 16.",
}


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_files_are_described(name: str) -> None:
    lines = inspect(MODELS / f"{name}.safetensors", READERS)
    assert SHIPPED[name] in "\n".join(lines)
    assert lines[-1] == f"Belongs in models/{name.split('/')[0]}."


def test_what_no_node_takes_is_described_all_the_same(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2, 3), "b": torch.ones(4).half()}, tmp_path / "x.pt")
    first, contents, last = inspect(tmp_path / "x.pt", READERS)
    assert first == "x.pt: no model that this pack knows"
    assert contents.endswith(": 2 tensors, 10 numbers of float32, float16.")
    assert last == "It holds a, b. Nothing in this pack uses it."


def test_no_base_model_is_made_up_for_a_motion_lora(tmp_path: Path) -> None:
    layer = "unet.down_blocks.0.motion_modules.0.transformer_blocks.0.attn2.to_k"
    matrices = {f"{layer}.lora_A.weight": torch.ones(8, 320), f"{layer}.lora_B.weight": torch.ones(320, 8)}
    torch.save(matrices, tmp_path / "x.ckpt")
    first, _, rank, last = inspect(tmp_path / "x.ckpt", READERS)
    assert first == "x.ckpt: a motion LoRA, which changes a motion module"
    assert (rank, last) == ("Of rank 8.", "Belongs in models/animatediff_motion_lora.")


def test_a_motion_module_that_lacks_weights_is_refused(tmp_path: Path) -> None:
    torch.save({"down_blocks.0.motion_modules.0.temporal_transformer.norm.weight": torch.ones(64)}, tmp_path / "x.ckpt")
    with pytest.raises(ModelFileError, match="x.ckpt lacks up_blocks"):
        inspect(tmp_path / "x.ckpt", READERS)


@pytest.mark.parametrize(
    ("names", "base"),
    [
        ({"lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight": (8, 768)}, "SD1.5"),
        ({"unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_v.lora_A.weight": (8, 1024)}, "SD2"),
        ({"mid_block.attentions.0.transformer_blocks.0.attn2.processor.to_k_lora.down.weight": (4, 768)}, "SD1.5"),
        ({"model.diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight": (1280, 768)}, "SD1.5"),
        ({"control_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight": (1280, 2048)}, "SDXL"),
        ({"conditioner.embedders.0.transformer.text_model.x": (1,)}, "SDXL"),
        ({"lora_unet_double_blocks_0_img_attn_proj.lora_down.weight": (8, 3072)}, "Flux or a relative of it"),
        ({"x.attn2.to_k.weight": (1280, 77)}, "a model with a text encoder of width 77"),
        ({"x.attn2.to_k.weight": ()}, None),
        ({"x.attn1.to_k.weight": (1280, 1280)}, None),
    ],
)
def test_the_base_model_is_told_by_names_and_widths(names: dict[str, tuple[int, ...]], base: str | None) -> None:
    assert base_of({name: dense(torch.float32, shape, 0) for name, shape in names.items()}) == base


def test_the_command_names_good_and_bad_files(tmp_path: Path) -> None:
    (tmp_path / "page.ckpt").write_bytes(b"<html>")
    good = MODELS / "loras" / "animatelcm_mini_synthetic_lcm_lora.safetensors"
    command = [sys.executable, ROOT / "dev.py", "inspect", good, "page.ckpt", "missing.ckpt"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert f"{good.name}: a LoRA\n    5.5 MB: 840 tensors" in done.stdout
    assert "page.ckpt is a saved web page, not a model. Expected a model file. Use the page's" in done.stdout
    assert "missing.ckpt: No such file or directory.\n" in done.stdout
    assert not done.stderr
