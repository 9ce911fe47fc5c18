"""SD1.5 with what hangs on its UNet, against the same residuals merged and attached the other way."""

from pathlib import Path

import pytest
import torch
from animatelcm.distill.lora import Lora, Merged
from animatelcm.distill.mini.unet import predict_noise, predict_video_noise
from animatelcm.distill.places import freeze
from animatelcm.distill.sd15.base import Base, Residuals
from animatelcm.distill.sd15.config import ConfigError
from animatelcm.distill.sd15.stages import build_encoder, read_lora, read_motion
from animatelcm.motion.config import MotionConfig
from animatelcm.motion.image_encoder import ImageEncoder
from animatelcm.motion.transformer import MotionModule

from ...relative_error import relative_error
from .conftest import CONTEXT, FRAMES, SIZE, WIDTHS, random_weights

BETA = 0.7
CLIPS = 2


@pytest.fixture(scope="module")
def base(folder: Path) -> Base:
    return Base.load(str(folder))


@pytest.fixture(scope="module")
def lora(base: Base, lora_file: Path) -> Lora:
    return read_lora(base, lora_file)


@pytest.fixture(scope="module")
def motion(motion_file: Path) -> MotionModule:
    return freeze(read_motion(motion_file))


@pytest.fixture(scope="module")
def encoder(motion: MotionModule) -> ImageEncoder:
    return random_weights(build_encoder(motion.config), seed=5)


@pytest.fixture
def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(CLIPS, FRAMES, 4, SIZE // 8, SIZE // 8, generator=generator)
    return x, torch.tensor([900, 100]), torch.randn(CLIPS, 77, CONTEXT, generator=generator)


def test_nothing_hangs_there_by_itself(base: Base, folder: Path, inputs: tuple[torch.Tensor, ...]) -> None:
    x, t, context = inputs
    plain = type(base.unet).from_pretrained(folder, subfolder="unet").eval()
    with torch.no_grad():
        rows = [predict_noise(plain, x[:, i], t, context) for i in range(FRAMES)]
        assert relative_error(base.predict_noise(x, t, context), torch.stack(rows, dim=1)) < 1e-4


def test_a_lora_is_what_it_is_when_merged(base: Base, lora: Lora, inputs: tuple[torch.Tensor, ...]) -> None:
    x, t, context = inputs
    with torch.no_grad():
        found = base.predict_noise(x[:, :1], t, context, Residuals(lora, BETA))
        base.residuals = Residuals()
        expected = predict_noise(Merged(base.unet, lora.merged(base.unet, BETA)), x[:, 0], t, context)
    assert relative_error(found[:, 0], expected) < 1e-4
    assert relative_error(expected, predict_noise(base.unet, x[:, 0], t, context)) > 1e-2


@pytest.mark.parametrize("middle", [True, False])
def test_motion_and_picture_are_those_of_the_mini_familys_training(
    base: Base, motion: MotionModule, encoder: ImageEncoder, inputs: tuple[torch.Tensor, ...], middle: bool
) -> None:
    x, t, context = inputs
    rows = torch.arange(CLIPS * FRAMES)
    image_features = [f.detach() for f in encoder(x[:, :1].repeat(1, FRAMES, 1, 1, 1).flatten(0, 1), rows % FRAMES)]
    module = motion if middle else random_weights(MotionModule(MotionConfig(WIDTHS, WIDTHS[::-1], None)), seed=6)
    reference = motion if middle else _with_idle_middle(module)
    with torch.no_grad():
        found = base.predict_noise(
            x, t, context, Residuals(motion=module, frames=FRAMES, image_features=image_features)
        )
        base.residuals = Residuals()
        assert (
            relative_error(
                found, predict_video_noise(base.unet, reference, x, t, context, image_features=image_features)
            )
            < 1e-4
        )


def _with_idle_middle(motion: MotionModule) -> MotionModule:
    whole = MotionModule(MotionConfig(WIDTHS, WIDTHS[::-1], WIDTHS[-1]))
    whole.load_state_dict(motion.state_dict(), strict=False)
    for parameter in whole.mid_block[0].proj_out.parameters():
        torch.nn.init.zeros_(parameter)
    return whole


def test_gradient_checkpointing_changes_no_gradient(
    base: Base, folder: Path, lora: Lora, motion_file: Path, inputs: tuple[torch.Tensor, ...]
) -> None:
    """The backward pass runs layers once more, and what hung there has to hang there still."""
    x, t, context = inputs
    gradients = []
    for one in (base, Base.load(str(folder), gradient_checkpointing=True)):
        motion = read_motion(motion_file)
        one.predict_noise(x, t, context, Residuals(lora, BETA, motion, FRAMES)).square().mean().backward()
        gradients.append({name: p.grad for name, p in motion.named_parameters()})
    for name, gradient in gradients[0].items():
        assert relative_error(gradients[1][name], gradient) < 1e-3


def test_a_folder_that_is_no_sd15_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"networks.base is {tmp_path}.*from_single_file"):
        Base.load(str(tmp_path))


def test_latents_are_those_that_decode(base: Base) -> None:
    pixels = torch.rand(CLIPS, FRAMES, 3, SIZE, SIZE) * 2 - 1
    latents = base.encode(pixels)
    assert latents.shape == (CLIPS, FRAMES, 4, SIZE // 8, SIZE // 8)
    with torch.no_grad():
        expected = base.vae.decode(latents[1, 2:] / 0.18215).sample / 2 + 0.5
    assert relative_error(base.decode(latents)[1, 2], expected[0].clamp(0, 1)) < 1e-4
