"""The node that puts a motion LoRA on a motion module."""

from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ..motion.attach_lora import attach_motion_lora
from . import folders
from .checked import checked
from .compatibility import known
from .inputs import FileInput
from .load_motion_module import MotionModule


@checked
class AnimateLCMMotionLora(io.ComfyNode):
    """Adds strength * motion LoRA to the weights of a motion module."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        files = folders.loras(folders.MOTION_LORAS)
        return io.Schema(
            node_id="AnimateLCMMotionLora",
            display_name="AnimateLCM Motion LoRA",
            category="AnimateLCM",
            description="Changes how things move, by a small file for a motion module: a camera that zooms, pans, "
            "tilts or rolls, say. Several may follow one another.",
            inputs=[
                MotionModule.Input(
                    "motion_module", tooltip="From 'Load AnimateLCM Motion Module', or another of these nodes."
                ),
                FileInput(
                    "lora",
                    options=files,
                    default=files[min(1, len(files) - 1)],
                    tooltip="A .safetensors or .ckpt file of the folder models/animatediff_motion_lora: "
                    "v2_lora_ZoomIn.ckpt, say; or none. Style LoRAs belong into 'Apply AnimateLCM'.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=-2.0,
                    max=2.0,
                    step=0.05,
                    tooltip="Weight of the motion LoRA, -2 to 2; 0.25 to 0.8 as a rule with AnimateLCM, 0 changes "
                    "nothing. Below 0 it moves the other way.",
                ),
            ],
            outputs=[
                MotionModule.Output(
                    display_name="motion_module", tooltip="For 'Apply AnimateLCM', or another of these nodes."
                )
            ],
            **known(io.Schema, search_aliases=["animatediff", "camera", "motion lora", "zoom", "pan"]),
        )

    @classmethod
    def validate_inputs(cls, lora: str | None = None) -> bool | str:
        """Check the name that is chosen here; one that is missing, or handed over, is None at this time."""
        return (lora not in (None, folders.NONE) and folders.missing(folders.MOTION_LORAS, lora)) or True

    @classmethod
    def fingerprint_inputs(cls, lora: str | None = None, **_: object) -> str:
        return folders.fingerprint(folders.MOTION_LORAS, None if lora == folders.NONE else lora)

    @classmethod
    def execute(cls, motion_module: ModelPatcher, lora: str, strength: float) -> io.NodeOutput:
        if lora == folders.NONE:
            return io.NodeOutput(motion_module)
        path = folders.path_of(folders.MOTION_LORAS, lora, "lora")
        return io.NodeOutput(attach_motion_lora(motion_module, path, strength))
