"""The node that reads a motion module from a file."""

from comfy_api.latest import io

from ..motion.attach import load_motion_module
from . import folders
from .checked import checked
from .compatibility import known
from .inputs import FileInput

MotionModule = io.Custom("ANIMATELCM_MOTION_MODULE")


@checked
class AnimateLCMLoadMotionModule(io.ComfyNode):
    """Reads a motion module."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AnimateLCMLoadMotionModule",
            display_name="Load AnimateLCM Motion Module",
            category="AnimateLCM",
            description="Reads the weights that make the frames of a video move together: AnimateLCM's or another "
            "SD1.5 motion module of the AnimateDiff family.",
            inputs=[
                FileInput(
                    "motion_module",
                    options=folders.motion_modules(),
                    tooltip="A .safetensors or .ckpt file of the folder models/animatediff_models, for SD1.5: "
                    "AnimateLCM_sd15_t2v.ckpt, say. The files 'animatelcm_mini_synthetic' are small toys that come "
                    "with this pack and fit its mini checkpoint only.",
                ),
            ],
            outputs=[MotionModule.Output(display_name="motion_module", tooltip="For 'Apply AnimateLCM'.")],
            **known(io.Schema, search_aliases=["animatediff", "motion model", "animatelcm"]),
        )

    @classmethod
    def validate_inputs(cls, motion_module: str | None = None) -> bool | str:
        """Check the name that is chosen here; one that is missing, or handed over, is None at this time."""
        return (motion_module and folders.missing(folders.MOTION_MODULES, motion_module)) or True

    @classmethod
    def fingerprint_inputs(cls, motion_module: str | None = None) -> str:
        return folders.fingerprint(folders.MOTION_MODULES, motion_module)

    @classmethod
    def execute(cls, motion_module: str) -> io.NodeOutput:
        return io.NodeOutput(
            load_motion_module(str(folders.path_of(folders.MOTION_MODULES, motion_module, "motion_module")))
        )
