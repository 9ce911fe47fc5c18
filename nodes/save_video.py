"""The node that saves a video file."""

from collections.abc import Mapping
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from .checked import checked
from .compatibility import known
from .saving import audio_input, save, saving_inputs


@checked
class AnimateLCMSaveVideo(io.ComfyNode):
    """Saves frames as a video, with the graph that made them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AnimateLCMSaveVideo",
            display_name="Save AnimateLCM Video",
            category="AnimateLCM",
            description="Saves frames, and sound, as MP4, WebM, GIF, MOV, WebP or a sequence of PNG files in "
            "ComfyUI's output folder, and plays them here. The workflow is stored in the file: drop it on the page to "
            "get it back.",
            inputs=[
                io.Image.Input("images", tooltip="The frames, from VAE Decode."),
                *saving_inputs(),
                audio_input(),
            ],
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo],
            is_output_node=True,
            **known(io.Schema, search_aliases=["video combine", "mp4", "gif", "webm"]),
        )

    @classmethod
    def validate_inputs(cls, format: str | None = None) -> bool | str:
        """Have the format checked before anything runs."""
        return True

    @classmethod
    def execute(
        cls,
        images: Tensor,
        fps: float,
        filename_prefix: str,
        format: str,
        quality: int,
        ping_pong: bool,
        audio: Mapping[str, Any] | None = None,
    ) -> io.NodeOutput:
        return save(images, cls.hidden, fps, filename_prefix, format, quality, ping_pong, audio)
