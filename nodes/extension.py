"""The list of nodes, and what has to be in place before the first one is drawn."""

from comfy_api.latest import ComfyExtension, io

from .apply import AnimateLCMApply
from .compile import AnimateLCMCompile
from .custom_sampling import AnimateLCMSamplerSelect, AnimateLCMSigmas
from .decode_to_video import AnimateLCMDecodeToVideo
from .empty_latent import AnimateLCMEmptyLatent
from .folders import register_folders
from .image_to_video import AnimateLCMImageToVideo
from .layout import AnimateLCMLayout, AnimateLCMLayoutBox, AnimateLCMLayoutHints, AnimateLCMLayoutPreview
from .layout_conditioning import AnimateLCMLayoutConditioning
from .load_motion_module import AnimateLCMLoadMotionModule
from .load_video import AnimateLCMLoadVideo
from .long_clip import AnimateLCMLongClip
from .match_colours import AnimateLCMMatchColors
from .mini import register_mini
from .motion_lora import AnimateLCMMotionLora
from .move import register_replacements, register_route
from .prompt_schedule import AnimateLCMPromptSchedule
from .sampler import AnimateLCMSampler
from .save_video import AnimateLCMSaveVideo


class AnimateLCMExtension(ComfyExtension):
    """Everything that this pack adds to ComfyUI."""

    async def on_load(self) -> None:
        await register_replacements()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        register_folders()
        register_mini()
        register_route()
        return [
            AnimateLCMLoadMotionModule,
            AnimateLCMMotionLora,
            AnimateLCMApply,
            AnimateLCMEmptyLatent,
            AnimateLCMSampler,
            AnimateLCMSigmas,
            AnimateLCMSamplerSelect,
            AnimateLCMSaveVideo,
            AnimateLCMImageToVideo,
            AnimateLCMLoadVideo,
            AnimateLCMMatchColors,
            AnimateLCMLayout,
            AnimateLCMLayoutBox,
            AnimateLCMLayoutPreview,
            AnimateLCMLayoutHints,
            AnimateLCMLayoutConditioning,
            AnimateLCMPromptSchedule,
            AnimateLCMLongClip,
            AnimateLCMDecodeToVideo,
            AnimateLCMCompile,
        ]
