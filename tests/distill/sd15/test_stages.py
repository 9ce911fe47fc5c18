"""What trains in each stage on SD1.5, and the file that comes of it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from animatelcm.distill.diffusion import MOTION
from animatelcm.distill.distillation import Solver, move_average
from animatelcm.distill.sd15.base import Base, Residuals
from animatelcm.distill.sd15.config import Config, ConfigError, Recipe
from animatelcm.distill.sd15.data import Batch
from animatelcm.distill.sd15.stages import STAGES, Stage, build_stage, latent_shape
from animatelcm.motion.checkpoint import read_motion_module
from safetensors.torch import load_file, save_file
from torch import Tensor

from .conftest import SIZE, WIDTHS

ALL = sorted(STAGES)


@pytest.fixture
def built(configured: Callable[..., Config]) -> Callable[[str], Stage]:
    return lambda stage: build_stage(configured(stage))


def batch(stage: Stage, rows: int = 2) -> Batch:
    generator = torch.Generator().manual_seed(1)
    return Batch(torch.rand(rows, stage.frames, 3, SIZE, SIZE, generator=generator) * 2 - 1, ["a dog", "a cat"])


def test_a_recipe_says_how_the_teacher_leads(configured: Callable[..., Config]) -> None:
    config = configured("lcm_video")
    assert build_stage(config).solver(MOTION) == Solver(MOTION, config.recipe.cfg)
    recipe = Recipe(cfg=(5.0, 7.0), longest_step=10, noisy=0.5, latent_range=4.5)
    stage = build_stage(config.model_copy(update={"recipe": recipe}))
    assert stage.solver(MOTION) == Solver(MOTION, (5.0, 7.0), 10, 0.5, 4.5)


@pytest.mark.parametrize("name", ALL)
def test_only_what_trains_learns(built: Callable[[str], Stage], name: str) -> None:
    stage = built(name)
    torch.manual_seed(0)
    loss = stage(batch(stage), step=5)
    loss.backward()
    assert 0 < loss < 10
    assert {n for n, p in stage.named_parameters() if p.grad is not None} <= {
        f"trains.{n}" for n, _ in stage.trains.named_parameters()
    }
    assert any(p.grad is not None and p.grad.any() for p in stage.trains.parameters())
    assert not any(p.requires_grad for p in stage.base.unet.parameters())


@pytest.mark.parametrize("name", ALL)
def test_a_step_against_the_gradient_lowers_the_loss(built: Callable[[str], Stage], name: str) -> None:
    stage = built(name)
    optimizer = torch.optim.AdamW(stage.trains.parameters(), lr=3e-5)
    losses = []
    for _ in range(4):
        torch.manual_seed(0)  # the same timesteps and noise
        loss = stage(batch(stage), step=5)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(("step", "lora_weight"), [(0, 0.0), (1, 0.05), (1000, 1.0)])
def test_the_acceleration_lora_reaches_the_target_through_the_average_alone(
    built: Callable[[str], Stage], step: int, lora_weight: float
) -> None:
    """The paper's initialization strategy; the teacher never has the LoRA, the student always."""
    stage, called, predict = built("lcm_video"), [], Base.predict_noise

    def noting(x: Tensor, t: Tensor, context: Tensor, with_it: Residuals) -> Tensor:
        called.append(with_it)
        return predict(stage.base, x, t, context, with_it)

    stage.base.predict_noise = noting
    stage(batch(stage), step)
    teacher, unconditional, target, online = called
    assert teacher.lora is unconditional.lora is None
    assert teacher.motion is unconditional.motion is not stage.trains
    assert (target.motion, target.beta) == (stage.average, pytest.approx(0.8 * lora_weight))
    assert (online.motion, online.beta) == (stage.trains, 0.8)


@pytest.mark.parametrize("name", ALL)
def test_samples_are_clips_of_the_average(built: Callable[[str], Stage], name: str) -> None:
    stage = built(name)
    with torch.no_grad():
        for parameter in stage.trains.parameters():
            parameter.fill_(float("nan"))
        x = torch.randn(2, stage.frames, *latent_shape(stage.config))
        sampled = stage.sample(batch(stage), x, torch.Generator().manual_seed(0))
    assert sampled.shape == x.shape
    assert sampled.isfinite().all()


@pytest.mark.parametrize("name", ["lcm_video", "image_encoder"])
def test_a_motion_module_opens_as_animatelcms_own(built: Callable[[str], Stage], name: str, tmp_path: Path) -> None:
    stage = built(name)
    with torch.no_grad():
        for parameter in stage.trains.parameters():
            parameter.add_(0.01)
    move_average(stage.average.parameters(), stage.trains.parameters(), 0.5)
    save_file(stage.published(), tmp_path / "motion.safetensors")
    read = read_motion_module(tmp_path / "motion.safetensors")
    assert read.config.down_channels == WIDTHS
    assert read.config.max_frames == 64  # AnimateLCM's: no position encoding is stored
    assert (read.config.image_encoder is not None) == (name == "image_encoder")
    prefix = "image_encoder." if name == "image_encoder" else ""
    for key, value in stage.average.state_dict().items():
        assert torch.equal(read.state_dict[prefix + key], value)


@pytest.mark.parametrize("name", ["lcm_image", "style"])
def test_a_lora_has_kohyas_names_on_every_layer(built: Callable[[str], Stage], lora_file: Path, name: str) -> None:
    assert built(name).published().keys() == load_file(lora_file).keys()


def test_a_lora_of_something_else_is_named(
    built: Callable[[str], Stage], lora_file: Path, configured: Callable[..., Config], tmp_path: Path
) -> None:
    other = tmp_path / "other.safetensors"
    save_file({"lora_te_x.lora_down.weight": torch.zeros(4, 4)}, other)
    config = configured("lcm_video")
    wrong = config.model_copy(update={"networks": config.networks.model_copy(update={"lora": other})})
    with pytest.raises(ConfigError, match=r"other.safetensors has no lora_unet_.*stage lcm_image"):
        build_stage(wrong)
