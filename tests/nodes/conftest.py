"""A small real ComfyUI model, motion module and LoRAs, with random weights, where ComfyUI looks for them.

ComfyUI is imported inside the fixtures: pytest reads this file before ../conftest.py has set ComfyUI's options.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import safetensors.torch
import torch
from animatelcm.motion.config import MotionConfig
from animatelcm.motion.grammar import published_state_dict
from animatelcm.motion.transformer import MotionModule
from torch import Tensor, nn

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

FRAMES, SIZE, CONTEXT = 3, 8, 64
MODELS = Path(__file__).resolve().parents[2] / "models"
MINI = "animatelcm_mini_synthetic"
WIDTHS = (32, 64, 64, 64)
LAYER = "diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight"
LAYER_IN_LORA = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"

# SD1.5's layout in every block, narrower
UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 32,
    "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": (1, 2, 2, 2),
    "use_spatial_transformer": True,
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
    "transformer_depth_middle": 1,
    "context_dim": CONTEXT,
    "use_linear_in_transformer": False,
    "adm_in_channels": None,
    "use_temporal_attention": False,
    "legacy": False,
}


def fill(model: nn.Module, seed: int) -> nn.Module:
    """Give every weight a small random value, and every norm's a 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 and name.endswith("weight"):
                parameter.fill_(1.0)
            else:
                parameter.copy_(0.08 * torch.randn(parameter.shape, generator=generator))
    return model.eval().requires_grad_(False)


def lora(seed: int, rank: int = 4, alpha: float = 2.0, width: int = CONTEXT) -> dict[str, Tensor]:
    """A kohya LoRA on one layer, rank `rank`."""
    generator = torch.Generator().manual_seed(seed)
    return {
        f"{LAYER_IN_LORA}.lora_up.weight": torch.randn(64, rank, generator=generator),
        f"{LAYER_IN_LORA}.lora_down.weight": torch.randn(rank, width, generator=generator),
        f"{LAYER_IN_LORA}.alpha": torch.tensor(alpha),
    }


def replace_with_same_time(path: Path, tensors: dict[str, Tensor]) -> None:
    """Put another model of the same size in the place of `path`, and set its time to the former's."""
    before = path.stat()
    safetensors.torch.save_file(tensors, path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


@pytest.fixture(scope="session", autouse=True)
def registered() -> None:
    from animatelcm.nodes.folders import register_folders

    register_folders()


@pytest.fixture
def save_model() -> Any:
    """Write tensors as a file of one of ComfyUI's model folders; the files go after the test."""
    import folder_paths

    written: list[Path] = []

    def save(folder: str, name: str, tensors: dict[str, Tensor]) -> str:
        path = Path(folder_paths.models_dir) / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        safetensors.torch.save_file(tensors, path)
        written.append(path)
        return name

    yield save
    for path in written:
        path.unlink()


@pytest.fixture(scope="session")
def base() -> ModelPatcher:
    """An SD1.5 model, as a checkpoint loader returns it."""
    import comfy.model_management
    import comfy.model_patcher
    import comfy.supported_models

    config = comfy.supported_models.SD15(dict(UNET))
    config.set_inference_dtype(torch.float32, None)
    model = fill(config.get_model({}, ""), seed=1)
    patcher = getattr(comfy.model_patcher, "CoreModelPatcher", comfy.model_patcher.ModelPatcher)
    return patcher(model, comfy.model_management.get_torch_device(), comfy.model_management.unet_offload_device())


@pytest.fixture(scope="session")
def motion_tensors() -> dict[str, Tensor]:
    module = fill(MotionModule(MotionConfig(WIDTHS, WIDTHS[::-1], WIDTHS[-1])), seed=2)
    return published_state_dict(module.state_dict())


@pytest.fixture
def motion_file(save_model: Callable[..., str], motion_tensors: dict[str, Tensor]) -> str:
    return save_model("animatediff_models", "tiny_motion.safetensors", motion_tensors)


@pytest.fixture
def motion(motion_file: str) -> ModelPatcher:
    from animatelcm.nodes.load_motion_module import AnimateLCMLoadMotionModule

    return AnimateLCMLoadMotionModule.execute(motion_file)[0]


@pytest.fixture
def apply(base: ModelPatcher, motion: ModelPatcher) -> Callable[..., ModelPatcher]:
    """Run 'Apply AnimateLCM', without LoRAs where none are named."""
    from animatelcm.nodes.apply import AUTOMATIC, AnimateLCMApply

    def run(model: ModelPatcher = base, **inputs: Any) -> ModelPatcher:
        defaults = {"acceleration_lora": "none", "style_lora": "none", "alpha": 1.0, "beta": 0.8, "gamma": 1.0}
        return AnimateLCMApply.execute(
            model=model, motion_module=motion, **{**defaults, "schedule": AUTOMATIC, **inputs}
        )[0]

    return run


@pytest.fixture
def positive() -> list[Any]:
    return [[torch.randn(1, 77, CONTEXT, generator=torch.Generator().manual_seed(3)), {}]]


@pytest.fixture
def negative() -> list[Any]:
    return [[torch.randn(1, 77, CONTEXT, generator=torch.Generator().manual_seed(4)), {}]]


@pytest.fixture
def latent() -> dict[str, Tensor]:
    return {"samples": torch.zeros(FRAMES, 4, SIZE, SIZE)}


@pytest.fixture(scope="session")
def mini() -> tuple[ModelPatcher, Any]:
    """The mini family's model with its motion module, and its CLIP."""
    import comfy.sd
    from animatelcm.motion.attach import attach_motion, load_motion_module
    from animatelcm.nodes.mini import register_mini

    register_mini()
    model, clip, *_ = comfy.sd.load_checkpoint_guess_config(str(MODELS / f"checkpoints/{MINI}.safetensors"))
    motion = load_motion_module(str(MODELS / f"animatediff_models/{MINI}_t2v.safetensors"))
    return attach_motion(model, motion), clip


@pytest.fixture(scope="session")
def still_mini() -> ModelPatcher:
    """The mini family's image model: every frame is an image of its own."""
    import comfy.sd
    from animatelcm.nodes.mini import register_mini

    register_mini()
    return comfy.sd.load_checkpoint_guess_config(str(MODELS / f"checkpoints/{MINI}.safetensors"))[0]


@pytest.fixture
def clip(mini: tuple[ModelPatcher, Any]) -> Any:
    return mini[1]
