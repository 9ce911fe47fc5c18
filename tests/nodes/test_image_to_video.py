"""AnimateLCM Image to Video: which part of which picture belongs to which frame, and what cannot be used."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from animatelcm.motion.attach import MotionModelError
from animatelcm.motion.config import ImageEncoderConfig, ResidualConfig
from animatelcm.motion.grammar import published_state_dict
from animatelcm.motion.pictures import PictureError
from animatelcm.motion.transformer import MotionModule
from animatelcm.nodes.image_to_video import AnimateLCMImageToVideo
from animatelcm.nodes.load_motion_module import AnimateLCMLoadMotionModule
from animatelcm.nodes.mini import register_mini
from animatelcm.nodes.sampler import AnimateLCMSampler
from animatelcm.sampling.model_sampling import schedule_of
from animatelcm.sampling.schedule import I2V
from comfy.model_patcher import ModelPatcher
from torch import Tensor

import nodes

from ..relative_error import relative_error
from .conftest import WIDTHS, fill

MINI = "animatelcm_mini_synthetic.safetensors"


@pytest.fixture(scope="module")
def vae() -> Any:
    register_mini()
    return nodes.CheckpointLoaderSimple().load_checkpoint(MINI)[2]


@pytest.fixture
def motion(save_model: Callable[..., str], motion: ModelPatcher) -> ModelPatcher:
    """The module of ../conftest.py with an image encoder, so that 'Apply AnimateLCM' takes this one."""
    blocks = (ResidualConfig(width, in_conv=True) for width in WIDTHS)
    config = dataclasses.replace(motion.model.config, image_encoder=ImageEncoderConfig(tuple(blocks)))
    tensors = published_state_dict(fill(MotionModule(config), seed=2).state_dict())
    return AnimateLCMLoadMotionModule.execute(save_model("animatediff_models", "tiny_i2v.safetensors", tensors))[0]


@pytest.fixture
def animate(apply: Callable[..., ModelPatcher], vae: Any) -> Callable[..., Any]:
    def run(image: Tensor, model: ModelPatcher | None = None, **inputs: Any) -> Any:
        values = {i.id: i.default for i in AnimateLCMImageToVideo.GET_SCHEMA().inputs if hasattr(i, "default")}
        values |= {"width": 64, "height": 64, "frames": 4, **inputs}
        return AnimateLCMImageToVideo.execute(model=model or apply(), vae=vae, image=image, **values)

    return run


def random_image(count: int = 1, height: int = 80, width: int = 120, seed: int = 1) -> Tensor:
    return torch.rand(count, height, width, 3, generator=torch.Generator().manual_seed(seed))


def sampled(result: Any, positive: Any) -> Tensor:
    model, latent = result.args
    return AnimateLCMSampler.execute(model, positive, latent, seed=5, steps=2, cfg=1.0, denoise=1.0)[0]["samples"]


def test_the_picture_is_in_the_video(animate: Callable[..., Any], positive: Any) -> None:
    clips = [sampled(animate(random_image(seed=seed)), positive) for seed in (1, 2)]
    without = sampled(animate(random_image(), strength=0.0), positive)
    assert clips[0].shape == (4, 4, 8, 8)
    assert all(relative_error(clips[0], other) > 1e-2 for other in (clips[1], without))


def test_the_schedule_is_the_image_to_video_one(animate: Callable[..., Any]) -> None:
    assert schedule_of(animate(random_image())[0]) == I2V


@pytest.mark.parametrize(("width", "height"), [(64, 64), (72, 128)])
@pytest.mark.parametrize("size", [(80, 120), (16, 4000)])
def test_a_picture_of_any_size_is_cropped_to_the_video(
    animate: Callable[..., Any], size: tuple[int, int], width: int, height: int
) -> None:
    _, latent = animate(random_image(1, *size), width=width, height=height).args
    assert latent["samples"].shape == (4, 4, height // 8, width // 8)


def test_pictures_may_come_in_any_order(animate: Callable[..., Any], positive: Any) -> None:
    image = random_image(2)
    forth, back = animate(image, keyframes="0, 3"), animate(image.flip(0), keyframes="3, 0")
    assert torch.equal(sampled(forth, positive), sampled(back, positive))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"image": torch.rand(1, 32, 32, 4)}, "4 channels.*Split Image with Alpha"),
        ({"image": torch.rand(1, 1, 1, 3)}, "1 x 1 pixels.*at least 16"),
        ({"image": torch.rand(5, 32, 32, 3)}, "5 pictures, and the video 4 frames"),
        ({"image": torch.rand(1, 16, 2000, 3), "height": 4096}, "next to nothing"),
        ({"image": torch.rand(2, 32, 32, 3), "keyframes": "1"}, "1 numbers for 2 pictures"),
        ({"image": torch.rand(2, 32, 32, 3), "keyframes": "0, 4"}, "do not fit.*0 to 3"),
        ({"image": torch.rand(2, 32, 32, 3), "keyframes": "first"}, "'first' are not numbers.*such as 0, 15"),
        ({"level_strengths": "1, 1, 1, nan"}, "not all finite"),
        ({"image": torch.rand(2, 32, 32, 3), "keyframes": "1, 1"}, "do not fit"),
        ({"start": 0.5, "end": 0.5}, "start 0.5 is not before end 0.5"),
        ({"level_strengths": "1, 1"}, "2 numbers, and the UNet has 4 levels"),
    ],
)
def test_what_cannot_be_used_is_named(animate: Callable[..., Any], inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(PictureError, match=message):
        animate(**({"image": random_image()} | inputs))


def test_a_model_without_an_image_encoder_is_named(animate: Callable[..., Any], base: ModelPatcher) -> None:
    with pytest.raises(MotionModelError, match="no motion module"):
        animate(random_image(), model=base)
