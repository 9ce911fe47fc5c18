"""The node that makes the latent a video starts from."""

import comfy.model_management
import torch
from comfy_api.latest import io

from .compatibility import known
from .inputs import size_input


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
                io.Int.Input(
                    "frames",
                    default=16,
                    min=1,
                    max=4096,
                    tooltip="Length in frames, at least 2. Motion modules are trained on 16 frames, which is 2 seconds "
                    "at 8 frames per second; they end at some length, AnimateLCM's at 64.",
                ),
            ],
            outputs=[io.Latent.Output(display_name="latent", tooltip="One empty latent per frame.")],
            **known(io.Schema, search_aliases=["empty latent video", "frames"]),
        )

    @classmethod
    def execute(cls, width: int, height: int, frames: int) -> io.NodeOutput:
        device = comfy.model_management.intermediate_device()
        return io.NodeOutput({"samples": torch.zeros(frames, 4, height // 8, width // 8, device=device)})
