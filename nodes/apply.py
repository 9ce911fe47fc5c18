"""The node that puts AnimateLCM's three residuals and its schedule on a model."""

import logging
from typing import Any

import comfy.sd
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from torch import Tensor

from ..lora.merge import merge_lora
from ..motion.attach import attach_motion
from ..motion.group_norm import grouped_in_training
from ..motion.weights import weight_over
from ..sampling.model_sampling import apply_schedule
from ..sampling.schedule import (
    ANIMATEDIFF,
    AVERAGE,
    COMMUNITY_LCM,
    COMMUNITY_LCM_100,
    COMMUNITY_LCM_ANIMATEDIFF,
    COMMUNITY_LCM_AVERAGE,
    I2V,
    T2V,
    Schedule,
)
from . import folders
from .checked import checked
from .compatibility import known
from .inputs import FileInput, PerFrameInput
from .load_motion_module import MotionModule
from .preflight import with_advice, with_mask_check

AUTOMATIC = "automatic (from the motion module)"
MODELS_OWN = "keep the model's own"
SCHEDULES = {
    "AnimateLCM T2V (reference)": T2V,
    "AnimateLCM I2V (reference)": I2V,
    "LCM (community)": COMMUNITY_LCM,
    "LCM (community, 100 steps)": COMMUNITY_LCM_100,
    "LCM (community, on AnimateDiff's noise)": COMMUNITY_LCM_ANIMATEDIFF,
    "LCM (community, average)": COMMUNITY_LCM_AVERAGE,
    "AnimateDiff (1000 steps)": ANIMATEDIFF,
    "AnimateDiff (1000 steps, average)": AVERAGE,
}
FRAME_BY_FRAME, ALL_FRAMES = "frame by frame", "over all frames"
PerFrame = float | list[float]
LETTERS = {"alpha": "α", "beta": "β", "gamma": "γ"}


@checked
class AnimateLCMApply(io.ComfyNode):
    """Puts w' = w0 + α * style + β * acceleration + γ * motion on a model (Eq. 2 of the AnimateLCM paper)."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AnimateLCMApply",
            display_name="Apply AnimateLCM",
            category="AnimateLCM",
            description="Turns an SD1.5 model into a video model that needs about 4 steps and no CFG: "
            "w' = w0 + α style LoRA + β acceleration LoRA + γ motion module. The result works in "
            "'AnimateLCM Sampler', and in every other sampler and model node.",
            inputs=[
                io.Model.Input(
                    "model", tooltip="An SD1.5 model. LoRA loaders and other model nodes may come before or after."
                ),
                io.Clip.Input("clip", optional=True, tooltip="Its text encoder, for LoRAs that change it too."),
                MotionModule.Input("motion_module", tooltip="From 'Load AnimateLCM Motion Module'."),
                _lora("acceleration_lora", "AnimateLCM_sd15_t2v_lora.safetensors, which makes 4 steps enough"),
                _lora("style_lora", "any SD1.5 LoRA"),
                _weight("alpha", 1.0, "the style LoRA"),
                _weight("beta", 0.8, "the acceleration LoRA; its authors use 0.8"),
                _weight("gamma", 1.0, "the motion module; 0 is the image model on every frame", PerFrameInput),
                io.Combo.Input(
                    "schedule",
                    options=[AUTOMATIC, *SCHEDULES, MODELS_OWN],
                    default=AUTOMATIC,
                    tooltip="The noise levels to sample at. They have to be those that the motion module was "
                    "trained on: leave this on automatic unless you know better. 'AnimateDiff' is for its v2 and v3 "
                    "modules without an acceleration LoRA, in KSampler at 20 steps or so.",
                ),
                PerFrameInput(
                    "motion_scale",
                    display_name="motion scale",
                    optional=True,
                    default=1.0,
                    min=0.0,
                    max=10.0,
                    step=0.01,
                    tooltip="Factor on the scores by which frames attend to each other, 0 to 10: above 1 they follow "
                    "few others, as a rule with more motion; at 0 all others alike. 1 is how modules are trained. The "
                    "same as 'scale' in AnimateDiff-Evolved. A list of numbers is one for each frame.",
                    **known(io.Float.Input, advanced=True),
                ),
                _mask("gamma_mask", "γ"),
                _mask("motion_scale_mask", "the motion scale"),
                io.Combo.Input(
                    "group_norm",
                    optional=True,
                    options=[AUTOMATIC, FRAME_BY_FRAME, ALL_FRAMES],
                    default=AUTOMATIC,
                    tooltip="Whether GroupNorm is taken of each frame, as for all newer motion modules, or of all "
                    "frames of a clip or window together, as for AnimateDiff's v1 modules. Automatic is over all "
                    "frames for v1 modules alone. 'AnimateLCM Compile' does nothing where it is over all frames.",
                    **known(io.Combo.Input, advanced=True),
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The video model."),
                io.Clip.Output(
                    display_name="clip", tooltip="The text encoder with the LoRAs; nothing where none came in."
                ),
            ],
            **known(io.Schema, search_aliases=["animatediff", "lcm", "video"]),
        )

    @classmethod
    def validate_inputs(cls, style_lora: str | None = None) -> bool | str:
        """Check the style that is chosen here; what is missing, or handed over by another node, is None at this time.

        The other file is looked for by newer versions of ComfyUI before the run, and by `execute` in any case.
        """
        if style_lora in (None, folders.NONE):
            return True
        return folders.missing(folders.LORAS, str(style_lora)) or True

    @classmethod
    def fingerprint_inputs(
        cls, acceleration_lora: str | None = None, style_lora: str | None = None, **_: Any
    ) -> list[str]:
        return [folders.fingerprint(folders.LORAS, name) for name in (acceleration_lora, style_lora)]

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        motion_module: ModelPatcher,
        acceleration_lora: str,
        style_lora: str,
        alpha: float,
        beta: float,
        gamma: PerFrame,
        schedule: str,
        clip: comfy.sd.CLIP | None = None,
        motion_scale: PerFrame = 1.0,
        gamma_mask: Tensor | None = None,
        motion_scale_mask: Tensor | None = None,
        group_norm: str = AUTOMATIC,
    ) -> io.NodeOutput:
        chosen = schedule_of_choice(schedule, motion_module)
        weights = weight_over(gamma, gamma_mask), weight_over(motion_scale, motion_scale_mask)
        grouped = group_norm_of_choice(group_norm, motion_module)
        model = with_mask_check(attach_motion(model, motion_module, *weights, grouped))
        merged = {"style_lora": (style_lora, alpha), "acceleration_lora": (acceleration_lora, beta)}
        for slot, (name, strength) in merged.items():
            if name != folders.NONE:
                model, clip = merge_lora(model, clip, folders.path_of(folders.LORAS, name, slot), strength)
        if acceleration_lora != folders.NONE and beta > 0:
            model = with_advice(model)
        return io.NodeOutput(apply_schedule(model, chosen) if chosen else model, clip)


def schedule_of_choice(choice: str, motion_module: ModelPatcher) -> Schedule | None:
    """Return the schedule that `choice` means for a motion module, or None for the model's own.

    Every SD1.5 motion module was trained on the noise of `T2V`, and AnimateLCM-I2V's alone on that of `I2V`.
    """
    if choice == AUTOMATIC:
        kind = "I2V" if motion_module.model.config.image_encoder else "T2V"
        choice = f"AnimateLCM {kind} (reference)"
        logging.info("AnimateLCM: the motion module's schedule is '%s'.", choice)
    return SCHEDULES.get(choice)


def group_norm_of_choice(choice: str, motion_module: ModelPatcher) -> bool:
    """Return whether `choice` means GroupNorm over all frames for a motion module."""
    if choice == AUTOMATIC and grouped_in_training(motion_module.model.config):
        logging.info("AnimateLCM: this is a v1 motion module: GroupNorm is taken over all frames.")
        return True
    return choice == ALL_FRAMES


def _lora(name: str, example: str) -> FileInput:
    default = folders.default_acceleration_lora() if name == "acceleration_lora" else folders.NONE
    tooltip = f"A file of the folder models/loras: {example}; or none. It is merged into the weights before sampling."
    return FileInput(name, options=folders.loras(), default=default, tooltip=tooltip)


def _weight(name: str, default: float, what: str, kind: type[io.Float.Input] = io.Float.Input) -> io.Float.Input:
    letter = LETTERS[name]
    return kind(
        name,
        display_name=f"{letter} {name}",
        default=default,
        min=0.0,
        max=2.0,
        step=0.05,
        display_mode=io.NumberDisplay.slider,
        tooltip=f"{letter}, 0 to 2: weight of {what}."
        + " A list of numbers from another node is one for each frame." * (kind is PerFrameInput),
    )


def _mask(name: str, what: str) -> io.Mask.Input:
    tooltip = f"Multiplies {what} over the frame, where connected: one mask for all frames, or one for each."
    return io.Mask.Input(name, optional=True, tooltip=tooltip, **known(io.Mask.Input, advanced=True))
