"""The node that animates pictures."""

from typing import Any

import comfy.model_management
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from torch import Tensor

from ..motion.attach_image import Pictures, attach_pictures, check_encoder
from ..motion.pictures import check_latents, check_picture, check_time, cropped, read_keyframes, read_strengths
from .checked import checked
from .compatibility import known
from .inputs import frames_input, size_input
from .memory import check_memory


@checked
class AnimateLCMImageToVideo(io.ComfyNode):
    """Lets a video start from a picture, or pass through several."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AnimateLCMImageToVideo",
            display_name="AnimateLCM Image to Video",
            category="AnimateLCM",
            description="Animates a picture, or goes from one picture to the next. Needs AnimateLCM's image-to-video "
            "motion module, AnimateLCM_sd15_i2v.ckpt.",
            inputs=[
                io.Model.Input("model", tooltip="The model from 'Apply AnimateLCM'."),
                io.Vae.Input("vae", tooltip="The checkpoint's VAE, which encodes the pictures."),
                io.Image.Input("image", tooltip="A picture, or a batch of them. The middle of it is used."),
                size_input("width"),
                size_input("height"),
                frames_input(),
                io.Float.Input(
                    "motion_scale",
                    default=0.8,
                    min=0.0,
                    max=1.5,
                    step=0.05,
                    display_mode=io.NumberDisplay.slider,
                    tooltip="How much moves, 0 to 1.5. 0 stands still; the lower, the more the video is like the "
                    "picture.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    display_mode=io.NumberDisplay.slider,
                    tooltip="How much the picture counts, 0 to 2. At 0 it is not looked at.",
                ),
                _share("start", 0.0, "from which on"),
                _share("end", 1.0, "up to which"),
                io.String.Input(
                    "keyframes",
                    default="",
                    tooltip="For several pictures: the frame that each belongs to, from 0, separated by commas; "
                    "negative numbers count from the end. Empty spreads them evenly, from the first frame to the last.",
                    **known(io.String.Input, advanced=True),
                ),
                io.String.Input(
                    "level_strengths",
                    default="1, 1, 1, 1",
                    tooltip="Times strength, at each of the UNet's four levels: from fine detail to the whole.",
                    **known(io.String.Input, advanced=True),
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The model that knows the pictures."),
                io.Latent.Output(display_name="latent", tooltip="One empty latent per frame, of the size chosen here."),
            ],
            **known(io.Schema, search_aliases=["i2v", "animate image", "img2vid"]),
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        vae: Any,
        image: Tensor,
        width: int,
        height: int,
        frames: int,
        motion_scale: float,
        strength: float,
        start: float,
        end: float,
        keyframes: str,
        level_strengths: str,
    ) -> io.NodeOutput:
        check_encoder(model)
        check_picture(image)
        check_time(start, end)
        frame = read_keyframes(keyframes, len(image), frames)
        order = sorted(range(len(image)), key=frame.__getitem__)
        strengths = read_strengths(strength, level_strengths)
        latents = vae.encode(cropped(image[order], width, height))
        check_latents(latents)
        pictures = Pictures(
            latents=latents,
            keyframes=tuple(frame[i] for i in order),
            motion_scale=motion_scale,
            strengths=strengths,
            start=start,
            end=end,
        )
        shape = frames, *latents.shape[1:]
        check_memory(f"Latents of {frames} frames of {width} x {height} pixels", *shape)
        device = comfy.model_management.intermediate_device()
        return io.NodeOutput(
            attach_pictures(model, pictures),
            {"samples": torch.zeros(shape, device=device)},
        )


def _share(name: str, default: float, when: str) -> io.Float.Input:
    tooltip = f"Share of the sampling, 0 to 1, {when} the picture counts."
    return io.Float.Input(name, default=default, min=0.0, max=1.0, step=0.01, tooltip=tooltip)
