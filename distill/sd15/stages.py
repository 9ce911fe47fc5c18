"""The stages on SD1.5: what trains in each, how one step's loss comes about, and the file that comes of it."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ...motion.checkpoint import read_motion_module
from ...motion.config import ImageEncoderConfig, MotionConfig, ResidualConfig
from ...motion.grammar import published_state_dict
from ...motion.image_encoder import ImageEncoder
from ...motion.transformer import MotionModule
from ...sampling.schedule import I2V, Schedule
from ..diffusion import BASE, MOTION, Model, add_noise, alpha_bar_at, ddim, guided, lcm
from ..distillation import Networks, Solver, absorbed, distillation_loss, training_loss
from ..lora import Lora
from ..places import BLOCKS_PER_LEVEL, freeze
from .base import Base, Residuals
from .config import Config, ConfigError
from .data import Batch

SAMPLE_STEPS, SAMPLE_CFG = 20, 7.5  # of a style, which is sampled without acceleration


@dataclass(frozen=True)
class Pretrained:
    """What a stage builds on, frozen. Not a module, as `Base`: it is not kept in checkpoints.

    Attributes:
        base: SD1.5.
        motion: a motion module: the teacher's, or AnimateLCM's.
        lora: the acceleration LoRA.
    """

    base: Base
    motion: MotionModule | None = None
    lora: Lora | None = None

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        self.base.to(device, dtype)
        for network in (self.motion, self.lora):
            if network is not None:
                network.to(device, dtype)


class Stage(nn.Module):
    """What all stages have: the part that trains, and its moving average, which is the target and the result.

    Args:
        pretrained: frozen.
        config: of the run.
        trains: the part that trains.
    """

    schedule: Schedule
    trains: Any
    average: Any

    def __init__(self, pretrained: Pretrained, config: Config, trains: nn.Module) -> None:
        super().__init__()
        self.pretrained, self.base, self.config = pretrained, pretrained.base, config
        self.trains = trains.requires_grad_(True)
        self.average = freeze(copy.deepcopy(trains))

    @property
    def frames(self) -> int:
        """Frames per row of a batch; 1 for images."""
        return self.config.data.frames

    def forward(self, batch: Batch, step: int) -> Tensor:
        """The loss of a batch at an optimizer step."""
        raise NotImplementedError

    def sample(self, shown: Batch, x: Tensor, generator: torch.Generator) -> Tensor:
        """What the average makes of noise x, (N, F, 4, h, w), for the captions shown; on x's device."""
        raise NotImplementedError

    def published(self) -> dict[str, Tensor]:
        """The average in the format of published files."""
        raise NotImplementedError

    def solver(self, schedule: Schedule) -> Solver:
        """How the teacher leads from a timestep of a schedule to an earlier one, by the recipe."""
        recipe = self.config.recipe
        return Solver(schedule, recipe.cfg, recipe.longest_step, recipe.noisy, recipe.latent_range)

    def contexts(self, captions: list[str]) -> tuple[Tensor, Tensor]:
        """The captions encoded, and as many empty ones."""
        context = self.base.encode_text(captions)
        return context, self.base.encode_text([""]).expand_as(context)


class ImageAcceleration(Stage):
    """The paper's stage 1, tau_accelerated_image: an LCM-LoRA by consistency distillation of the image model."""

    schedule = BASE
    frames = 1

    def __init__(self, pretrained: Pretrained, config: Config) -> None:
        super().__init__(pretrained, config, Lora(pretrained.base.unet, config.networks.rank))

    def forward(self, batch: Batch, step: int) -> Tensor:
        context, empty = self.contexts(batch.captions)
        networks = Networks(
            self.model(self.trains, context),
            self.model(self.average, context),
            lambda x, t: self.base.predict_noise(x, t, context),
            lambda x, t: self.base.predict_noise(x, t, empty),
        )
        x0 = self.base.encode(batch.pixels)
        return distillation_loss(networks, x0, self.solver(BASE))

    def model(self, trained: Lora, context: Tensor) -> Model:
        return lambda x, t: self.base.predict_noise(x, t, context, Residuals(lora=trained))

    def sample(self, shown: Batch, x: Tensor, generator: torch.Generator) -> Tensor:
        model = self.model(self.average, self.base.encode_text(shown.captions))
        return lcm(model, x, self.schedule, self.config.training.sample_steps, generator)

    def published(self) -> dict[str, Tensor]:
        return self.average.published()


class Style(Stage):
    """tau_style: a LoRA from images alone, by noise prediction on the image model, without anything else."""

    schedule = BASE
    frames = 1

    def __init__(self, pretrained: Pretrained, config: Config) -> None:
        super().__init__(pretrained, config, Lora(pretrained.base.unet, config.networks.rank))

    def forward(self, batch: Batch, step: int) -> Tensor:
        x0 = self.base.encode(batch.pixels)
        t, epsilon = torch.randint(1000, (len(x0),)), torch.randn_like(x0)
        model = self.model(self.trains, self.base.encode_text(batch.captions))
        return (model(add_noise(x0, epsilon, alpha_bar_at(BASE, t, x0)), t) - epsilon).square().mean()

    def model(self, trained: Lora, context: Tensor) -> Model:
        return lambda x, t: self.base.predict_noise(x, t, context, Residuals(lora=trained))

    def sample(self, shown: Batch, x: Tensor, generator: torch.Generator) -> Tensor:
        """With DDIM and guidance: a style knows nothing of acceleration."""
        conditional, unconditional = (self.model(self.average, context) for context in self.contexts(shown.captions))
        return ddim(lambda x, t: guided(conditional(x, t), unconditional(x, t), SAMPLE_CFG), x, BASE, SAMPLE_STEPS)

    def published(self) -> dict[str, Tensor]:
        return self.average.published()


class VideoAcceleration(Stage):
    """The paper's stage 2, tau_accelerated_video: consistency distillation of clips; only the motion module trains.

    Its initialization strategy: the target starts as the image model without the acceleration LoRA, which enters it
    through the moving average alone.
    """

    schedule = MOTION

    def __init__(self, pretrained: Pretrained, config: Config) -> None:
        assert pretrained.motion is not None  # the configuration sees to it
        super().__init__(pretrained, config, copy.deepcopy(pretrained.motion))

    def forward(self, batch: Batch, step: int) -> Tensor:
        context, empty = self.contexts(batch.captions)
        lora_weight = absorbed(step, self.config.training.ema)
        networks = Networks(
            self.model(self.trains, context),
            self.model(self.average, context, lora_weight),
            lambda x, t: self.base.predict_noise(x, t, context, self.taught),
            lambda x, t: self.base.predict_noise(x, t, empty, self.taught),
        )
        x0 = self.base.encode(batch.pixels)
        return distillation_loss(networks, x0, self.solver(MOTION))

    @property
    def taught(self) -> Residuals:
        return Residuals(motion=self.pretrained.motion, frames=self.frames)

    def model(self, trained: MotionModule, context: Tensor, lora_weight: float = 1.0) -> Model:
        residuals = Residuals(self.pretrained.lora, self.config.networks.beta * lora_weight, trained, self.frames)
        return lambda x, t: self.base.predict_noise(x, t, context, residuals)

    def sample(self, shown: Batch, x: Tensor, generator: torch.Generator) -> Tensor:
        model = self.model(self.average, self.base.encode_text(shown.captions))
        return lcm(model, x, self.schedule, self.config.training.sample_steps, generator)

    def published(self) -> dict[str, Tensor]:
        return published_state_dict(self.average.state_dict())


class PictureEncoder(Stage):
    """The paper's stage 3, without a teacher: AnimateLCM-I2V's image encoder by consistency training; it alone trains.

    The picture is a clip's first frame.
    """

    schedule = I2V

    def __init__(self, pretrained: Pretrained, config: Config) -> None:
        assert pretrained.motion is not None  # the configuration sees to it
        super().__init__(pretrained, config, build_encoder(pretrained.motion.config))

    def forward(self, batch: Batch, step: int) -> Tensor:
        x0, context = self.base.encode(batch.pixels), self.base.encode_text(batch.captions)
        online, target = (self.conditioned(e, context, x0[:, 0]) for e in (self.trains, self.average))
        return training_loss(online, target, x0, I2V, self.config.recipe.to_data)

    def conditioned(self, encoder: nn.Module, context: Tensor, pictures: Tensor) -> Model:
        """The noise prediction where an encoder tells the frames about pictures, (N, 4, h, w)."""

        def model(x: Tensor, t: Tensor) -> Tensor:
            frame = torch.arange(self.frames, device=x.device).repeat(len(pictures))
            rows = pictures.repeat_interleave(self.frames, dim=0)
            features = encoder(rows, frame, self.config.recipe.motion_scale)
            pretrained, beta = self.pretrained, self.config.networks.beta
            return self.base.predict_noise(
                x, t, context, Residuals(pretrained.lora, beta, pretrained.motion, self.frames, features)
            )

        return model

    def sample(self, shown: Batch, x: Tensor, generator: torch.Generator) -> Tensor:
        """The first frames shown, animated."""
        pictures = self.base.encode(shown.pixels[:, :1])[:, 0]
        model = self.conditioned(self.average, self.base.encode_text(shown.captions), pictures)
        return lcm(model, x, self.schedule, self.config.training.sample_steps, generator)

    def published(self) -> dict[str, Tensor]:
        """With the motion module that it was trained on, as the file has it: `pretrained` may be in fewer bits."""
        assert self.config.networks.motion is not None  # likewise
        motion = read_motion(self.config.networks.motion).state_dict()
        encoder = {f"image_encoder.{key}": value.cpu() for key, value in self.average.state_dict().items()}
        return published_state_dict(motion | encoder)


STAGES: dict[str, Callable[[Pretrained, Config], Stage]] = {
    "lcm_image": ImageAcceleration,
    "lcm_video": VideoAcceleration,
    "image_encoder": PictureEncoder,
    "style": Style,
}


def build_stage(config: Config) -> Stage:
    """Load what a stage is trained on.

    Raises:
        ConfigError, ModelFileError: if a file is not what it should be.
    """
    networks = config.networks
    base = Base.load(networks.base, config.training.gradient_checkpointing)
    motion = freeze(read_motion(networks.motion)) if networks.motion else None
    lora = read_lora(base, networks.lora) if networks.lora else None
    return STAGES[config.stage](Pretrained(base, motion, lora), config)


def latent_shape(config: Config) -> tuple[int, int, int]:
    return 4, config.data.height // 8, config.data.width // 8


# Files


def read_motion(path: Path) -> MotionModule:
    """A motion module of any kind that the nodes load, in 32 bits, without its image encoder."""
    read = read_motion_module(path)
    plain = {key: value.float() for key, value in read.state_dict.items() if not key.startswith("image_encoder.")}
    motion = MotionModule(replace(read.config, image_encoder=None))
    motion.load_state_dict(plain)
    return motion


def read_lora(base: Base, path: Path) -> Lora:
    """The acceleration LoRA, as the stage `lcm_image` writes it."""
    weights = load_file(path)
    rank = max((len(w) for key, w in weights.items() if key.endswith("lora_down.weight")), default=1)
    lora = Lora(base.unet, rank)
    try:
        lora.load_published(weights)
    except KeyError as missing:
        raise ConfigError(
            f"{path} has no {missing.args[0]}. Expected a LoRA on every layer of this UNet, as the stage lcm_image "
            "writes it."
        ) from None
    return freeze(lora)


def build_encoder(config: MotionConfig) -> ImageEncoder:
    """An image encoder with the widths of a motion module, in the published layout."""
    widths = [width for width in config.down_channels for _ in range(BLOCKS_PER_LEVEL)]
    before = [widths[0], *widths]
    blocks = (ResidualConfig(width, in_conv=width != last) for width, last in zip(widths, before, strict=False))
    return ImageEncoder(ImageEncoderConfig(tuple(blocks)))
