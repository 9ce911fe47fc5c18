"""The node that makes the latent a video starts from."""

import comfy.model_management
import torch
from comfy_api.latest import io

from .checked import checked
from .compatibility import known
from .inputs import frames_input, size_input
from .memory import check_memory


@checked
class AnimateLCMEmptyLatent(io.ComfyNode):
    """Makes an empty latent of as many frames as the video has."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AnimateLCMEmptyLatent",
            display_name="Empty AnimateLCM Latent",
            category="AnimateLCM",
            description="Sets the size and the length of the video.",
            inputs=[
                size_input("width"),
                size_input("height"),
                frames_input(),
            ],
            outputs=[io.Latent.Output(display_name="latent", tooltip="One empty latent per frame.")],
            **known(io.Schema, search_aliases=["empty latent video", "frames"]),
        )

    @classmethod
    def execute(cls, width: int, height: int, frames: int) -> io.NodeOutput:
        device = comfy.model_management.intermediate_device()
        shape = frames, 4, height // 8, width // 8
        check_memory(f"Latents of {frames} frames of {width} x {height} pixels", *shape)
        return io.NodeOutput({"samples": torch.zeros(shape, device=device)})
