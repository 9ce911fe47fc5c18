"""A tiny SD1.5 as a diffusers folder, files to train on, and configurations that name them."""

import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from animatelcm.comfyui_server import comfyui_dir
from animatelcm.distill.lora import Lora
from animatelcm.distill.sd15.config import Config
from animatelcm.motion.config import MotionConfig
from animatelcm.motion.grammar import published_state_dict
from animatelcm.motion.transformer import MotionModule
from animatelcm.video.write import VideoSettings, write_video
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

WIDTHS = (32, 64, 64, 64)
CONTEXT = 32
FRAMES, SIZE = 3, 64


def random_weights(model: nn.Module, seed: int) -> nn.Module:
    """Small random values everywhere: what starts at nought would hide mistakes."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SD1.5's classes and layout, narrower."""
    folder = tmp_path_factory.mktemp("sd15")
    torch.manual_seed(0)
    UNet2DConditionModel(sample_size=SIZE // 8, block_out_channels=WIDTHS, cross_attention_dim=CONTEXT).save_pretrained(
        folder / "unet"
    )
    blocks: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "block_out_channels": (32,) * 4,
        "layers_per_block": 1,
    }
    AutoencoderKL(latent_channels=4, **blocks).save_pretrained(folder / "vae")
    text = CLIPTextConfig(hidden_size=CONTEXT, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2)
    CLIPTextModel(text).save_pretrained(folder / "text_encoder")
    CLIPTokenizer.from_pretrained(str(comfyui_dir() / "comfy" / "sd1_tokenizer")).save_pretrained(folder / "tokenizer")
    return folder


@pytest.fixture(scope="session")
def motion_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("motion") / "motion.safetensors"
    module = random_weights(MotionModule(MotionConfig(WIDTHS, WIDTHS[::-1], WIDTHS[-1])), seed=1)
    save_file(published_state_dict(module.state_dict(), position_frames=32), path)
    return path


@pytest.fixture(scope="session")
def lora_file(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Path:
    path = tmp_path_factory.mktemp("lora") / "lora.safetensors"
    unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet")
    save_file(random_weights(Lora(unet, rank=4), seed=2).published(), path)
    return path


def write_clip(path: Path, frames: int = 12, size: int = SIZE) -> None:
    """A clip whose frame i is gray, 20 i of 255, and the caption "clip NAME"."""
    levels = torch.arange(frames) * 20 / 255
    pixels = levels[:, None, None, None].expand(-1, size, size, 3)
    write_video(path, pixels, VideoSettings(quality=100))
    path.with_suffix(".txt").write_text(f"clip {path.stem}\n")


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five clips in a folder."""
    folder = tmp_path_factory.mktemp("clips")
    for name in "abcde":
        write_clip(folder / f"{name}.mp4")
    return folder


@pytest.fixture(scope="session")
def shard(tmp_path_factory: pytest.TempPathFactory, clips: Path) -> Path:
    """The same as a WebDataset shard."""
    path = tmp_path_factory.mktemp("shards") / "00000.tar"
    pack_shard(path, sorted(clips.iterdir()))
    return path


def pack_shard(path: Path, files: Iterable[Path]) -> None:
    with tarfile.open(path, "w") as tar:
        for file in files:
            tar.add(file, file.name)


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from PIL import Image

    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for name in "abc":
        Image.fromarray(random.integers(256, size=(70, 90, 3), dtype=np.uint8)).save(folder / f"{name}.png")
        (folder / f"{name}.txt").write_text(f"image {name}")
    return folder


@pytest.fixture
def configured(
    tmp_path: Path, folder: Path, motion_file: Path, lora_file: Path, clips: Path, images: Path
) -> Callable[..., Config]:
    """A configuration of a stage on the tiny SD1.5; keyword arguments change its training."""

    def make(stage: str, run: Path = tmp_path / "run", **training: Any) -> Config:
        of_images = stage in ("lcm_image", "style")
        return Config.model_validate(
            {
                "stage": stage,
                "run": run,
                "data": {
                    "sources": [str(images if of_images else clips)],
                    "width": SIZE,
                    "height": SIZE,
                    "frames": FRAMES,
                    "fps": 4,
                    "workers": 0,
                },
                "networks": {"base": str(folder), "motion": motion_file, "lora": lora_file, "rank": 4},
                "training": {
                    "steps": 2,
                    "warmup": 0,
                    "learning_rate": 1e-3,
                    "precision": "no",
                    "sample_steps": 1,
                    **training,
                },
            }
        )

    return make
