"""What a training run is told, read from a TOML file and checked."""

import math
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Positive = Annotated[int, Field(gt=0)]
EXAMPLES = Path(__file__).with_name("configs")
Share = Annotated[float, Field(ge=0, le=1)]


class ConfigError(ValueError):
    """A configuration cannot be used."""


class Section(BaseModel):
    """A part of a configuration; names that it does not know are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(Section):
    """Where clips or images come from.

    Attributes:
        sources: folders (searched with all that is in them), files, or WebDataset shards (.tar); "*" and "?" stand for
            several. Each clip or image has its caption beside it, under the same name with the suffix .txt.
        width, height: in pixels, multiples of 64; the middle of what is larger, scaled, is used.
        frames: per clip.
        fps: frames of a clip in a second of its video (8: AnimateDiff's); videos with fewer are left out.
        caption_dropout: share of the captions that are left out.
        workers: processes that read.
    """

    sources: list[str] = Field(min_length=1)
    width: Annotated[int, Field(gt=0, multiple_of=64)] = 512
    height: Annotated[int, Field(gt=0, multiple_of=64)] = 512
    frames: Positive = 16
    fps: Annotated[float, Field(gt=0, le=240)] = 8.0
    caption_dropout: Share = 0.0
    workers: Annotated[int, Field(ge=0)] = 4


class Networks(Section):
    """What is trained on, frozen.

    Attributes:
        base: SD1.5 as a diffusers folder, or its name on the Hugging Face hub.
        motion: motion module file, any that the nodes load: the teacher's for `lcm_video`, AnimateLCM's for
            `image_encoder`.
        lora: file of the acceleration LoRA, from the stage `lcm_image`.
        beta: strength of the acceleration LoRA.
        rank: of the LoRA that trains.
    """

    base: str
    motion: Path | None = None
    lora: Path | None = None
    beta: Share = 0.8
    rank: Positive = 64


class Recipe(Section):
    """How one step's loss comes about.

    Attributes:
        cfg: range of the teacher's guidance, baked into the student; 1 is none.
        longest_step: timesteps of the solver's grid that a step skips at the most (LCM, section 4.3).
        noisy: share of the rows that start in the noisier half of the grid, beyond those that would anyway.
        latent_range: what the teacher's x0 is clamped to, on both sides of 0.
        motion_scale: of the image encoder.
        to_data: share of the rows whose second noising is none at all (`image_encoder`).
    """

    cfg: tuple[float, float] = (6.0, 16.0)  # our choice; the paper names none
    longest_step: Annotated[int, Field(ge=1, le=100)] = 1  # published code: neighbours on its grid of 50 or 100
    noisy: Share = 0.0  # published code: all alike
    latent_range: Annotated[float, Field(gt=0)] = math.inf  # published code: not clamped
    motion_scale: float = 0.8  # published code's default
    to_data: Share = 0.0  # paper: neighbours alone


class Training(Section):
    """How long, how fast, and what is kept.

    Attributes:
        steps: optimizer steps.
        batch: clips or images per process and forward pass.
        accumulate: forward passes per optimizer step.
        learning_rate: of AdamW, after `warmup` steps.
        weight_decay: of AdamW.
        largest_gradient: its norm is clipped to this.
        ema: share of the old value in each step's moving average, which is the target and the result.
        precision: of the arithmetic; what trains is kept in 32 bits. Neighbouring timesteps differ by less than bf16
            rounds to, so that distillation learns from rounding there; fp16 needs a GPU, "no" is for CPUs.
        gradient_checkpointing: compute the UNet's features again in the backward pass instead of keeping them.
        seed: of everything drawn.
        save_every: steps between checkpoints; the newest `keep` stay.
        sample_every: steps between sample grids.
        sample_steps: consistency steps of a sample.
        prompts: what the sample grids show; where there are none, the first captions of the data.
    """

    steps: Positive
    batch: Positive = 1
    accumulate: Positive = 1
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    warmup: Annotated[int, Field(ge=0)] = 500
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    largest_gradient: Annotated[float, Field(gt=0)] = 1.0
    ema: Share = 0.95
    precision: Literal["no", "fp16", "bf16"] = "fp16"  # paper
    gradient_checkpointing: bool = True
    seed: int = 0
    save_every: Positive = 500
    keep: Positive = 2
    sample_every: Positive = 500
    sample_steps: Annotated[int, Field(ge=1, le=50)] = 4
    prompts: list[str] = []


class Config(Section):
    """A whole run.

    Attributes:
        stage: what trains: "lcm_image", "lcm_video", "image_encoder" or "style".
        run: folder for checkpoints, logs, sample grids and the result.
    """

    stage: Literal["lcm_image", "lcm_video", "image_encoder", "style"]
    run: Path
    data: Data
    networks: Networks
    recipe: Recipe = Recipe()
    training: Training

    @model_validator(mode="after")
    def needs_are_met(self) -> "Config":
        needed = {"lcm_video": ("motion", "lora"), "image_encoder": ("motion", "lora")}
        for name in needed.get(self.stage, ()):
            if getattr(self.networks, name) is None:
                raise ValueError(f"the stage {self.stage} needs networks.{name}")
        return self


def read_config(path: Path) -> Config:
    """Read a configuration; paths in it are relative to the working directory.

    Raises:
        ConfigError: if there is no such file, it is no TOML, or says something that is unknown or out of range.
    """
    try:
        with path.open("rb") as file:
            return Config.model_validate(tomllib.load(file))
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}. Configurations to start from: {EXAMPLES}"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}.") from None
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'it'}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{path} cannot be used. {wrong}.") from None
