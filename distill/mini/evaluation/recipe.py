"""The weights that a clip is made with: Eq. 2 of the paper, with the stages' names for its residuals."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from ....motion.transformer import MotionModule
from ...diffusion import Model
from ...places import freeze
from ..stages import BETA, contexts, load_base, load_lora, load_motion
from ..unet import predict_video_noise


@dataclass(frozen=True)
class Recipe:
    """w' = w0 + α τ_style + β τ_accelerated_image + γ τ_accelerated_video.

    Attributes:
        motion: the stage whose motion module is τ_accelerated_video; "motion" is the teacher's.
        acceleration: the stage whose LoRA is τ_accelerated_image; None is none, as β = 0.
        style: the stage whose LoRA is τ_style; None is none.
        base: the stage whose image model is w0.
        alpha, beta, gamma: the strengths.
    """

    motion: str = "lcm_video"
    acceleration: str | None = "lcm_image"
    style: str | None = None
    base: str = "base"
    alpha: float = 1.0
    beta: float = BETA
    gamma: float = 1.0

    @property
    def stages(self) -> tuple[str, ...]:
        """All whose results the clips depend on."""
        named = (self.base, self.style, self.acceleration, self.motion)
        return ("vae", *(stage for stage in named if stage is not None))


@dataclass(frozen=True)
class Animated:
    """An image model with its residuals added, its text encoder, and the motion module that animates it."""

    base: nn.ModuleDict
    motion: MotionModule
    gamma: float

    def guided_by(self, prompts: list[str]) -> tuple[Model, Model]:
        """The noise predictions for clips (N, F, 4, h, w) with a prompt each, and with the empty prompt."""
        conditional, unconditional = contexts(self.base, prompts)

        def model(context: Tensor) -> Model:
            return lambda x, t: predict_video_noise(self.base["unet"], self.motion, x, t, context, self.gamma)

        return model(conditional), model(unconditional)


def combine(run: Path, recipe: Recipe) -> Animated:
    """Read the stages' results from a run's folder and add them up."""
    base = load_base(run, recipe.base)
    for stage, strength in ((recipe.style, recipe.alpha), (recipe.acceleration, recipe.beta)):
        if stage is not None:
            base["unet"].load_state_dict(load_lora(run, stage).merged(base["unet"], strength), strict=False)
    return Animated(base, freeze(load_motion(run, recipe.motion)), recipe.gamma)
