"""The node that animates pictures."""

import logging
import math
from typing import Any

import comfy.model_management
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from torch import Tensor

from ..motion.attach_image import Pictures, attach_pictures, check_encoder
from .checked import checked
from .compatibility import known
from .inputs import frames_input, size_input

LEVELS = 4
LATENT_CHANNELS = 4
SMALLEST = 16  # pixels a side
NEXT_TO_NOTHING = 2
MOSTLY_CUT = 0.5


class PictureError(ValueError):
    """A picture, or a number that goes with it, cannot be used."""


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
    def validate_inputs(cls, keyframes: str | None = None, level_strengths: str | None = None) -> bool | str:
        """Check what is written here; what is missing, or handed over by another node, is None at this time."""
        try:
            numbers(keyframes or "", int, "keyframes", "0, 15")
            read_strengths(1.0, "1, 1, 1, 1" if level_strengths is None else level_strengths)
        except PictureError as error:
            return str(error)
        return True

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
        device = comfy.model_management.intermediate_device()
        return io.NodeOutput(
            attach_pictures(model, pictures),
            {"samples": torch.zeros(frames, *latents.shape[1:], device=device)},
        )


def _share(name: str, default: float, when: str) -> io.Float.Input:
    tooltip = f"Share of the sampling, 0 to 1, {when} the picture counts."
    return io.Float.Input(name, default=default, min=0.0, max=1.0, step=0.01, tooltip=tooltip)


def cropped(image: Tensor, width: int, height: int) -> Tensor:
    """Return the middle of pictures, (N, H, W, 3), at another size, with the Lanczos filter of AnimateLCM's code."""
    tall, wide = image.shape[1:3]
    seen_wide, seen_tall = min(wide, tall * width / height), min(tall, wide * height / width)
    if min(seen_wide, seen_tall) < NEXT_TO_NOTHING:
        raise PictureError(
            f"The picture is {wide} x {tall} pixels, the video {width} x {height}: next to nothing of the picture "
            "would be seen. Choose a width and a height more like its own."
        )
    kept = seen_wide * seen_tall / (wide * tall)
    if kept < MOSTLY_CUT:
        logging.warning(
            "AnimateLCM: the picture is %d x %d, the video %d x %d: only the middle %.0f %% of it is seen. Choose a "
            "width and a height more like it.",
            wide,
            tall,
            width,
            height,
            100 * kept,
        )
    return comfy.utils.common_upscale(image.movedim(-1, 1), width, height, "lanczos", "center").movedim(1, -1)


def check_picture(image: Tensor) -> None:
    """Refuse what is no RGB picture of some size."""
    height, width, channels = image.shape[1:]
    if channels != 3:
        raise PictureError(
            f"The picture has {channels} channels, and RGB has 3. Take off its alpha channel with 'Split Image with "
            "Alpha'."
        )
    if min(width, height) < SMALLEST:
        raise PictureError(
            f"The picture is {width} x {height} pixels. Connect one of at least {SMALLEST} pixels a side."
        )


def check_time(start: float, end: float) -> None:
    """Refuse a time in which the picture would never be told."""
    if start >= end:
        raise PictureError(
            f"start {start:g} is not before end {end:g}, so that the picture would never count. Choose a start below "
            "the end, such as 0 and 1, or strength 0."
        )


def check_latents(latents: Tensor) -> None:
    """Refuse the latents of another kind of model's VAE."""
    if latents.ndim != 4 or latents.shape[1] != LATENT_CHANNELS:
        raise PictureError(
            f"This VAE makes latents of the shape {tuple(latents.shape)}, and SD1.5 needs (pictures, "
            f"{LATENT_CHANNELS}, height / 8, width / 8). Connect the VAE of the SD1.5 checkpoint."
        )


def read_keyframes(text: str, pictures: int, frames: int) -> list[int]:
    """Return the frame that each picture belongs to, 0 to `frames` - 1.

    Raises:
        PictureError: if the numbers are not one per picture, all different, and inside of the clip.
    """
    if pictures > frames:
        raise PictureError(
            f"The batch has {pictures} pictures, and the video {frames} frames. Connect one picture, or at most one "
            "per frame."
        )
    if pictures == 1 or not text.strip():
        return [round(i * (frames - 1) / max(1, pictures - 1)) for i in range(pictures)]
    written = numbers(text, int, "keyframes", "0, 15")
    frame = [number + frames if number < 0 else number for number in written]
    if len(frame) != pictures:
        raise PictureError(
            f"keyframes '{text}' are {len(frame)} numbers for {pictures} picture{'s' if pictures > 1 else ''}. Write "
            "one for each, or nothing."
        )
    if len(set(frame)) < len(frame) or not all(0 <= number < frames for number in frame):
        raise PictureError(
            f"keyframes '{text}' do not fit: each is another frame of the video's {frames}, 0 to {frames - 1}, or -1 "
            "for the last."
        )
    return frame


def read_strengths(strength: float, levels: str) -> tuple[float, ...]:
    """Return the strength at each level of the UNet."""
    written = numbers(levels, float, "level_strengths", "1, 1, 1, 1")
    if len(written) != LEVELS:
        raise PictureError(
            f"level_strengths '{levels}' are {len(written)} numbers, and the UNet has {LEVELS} levels. Write four, "
            "such as 1, 1, 1, 1."
        )
    if not all(math.isfinite(level) for level in written):
        raise PictureError(f"level_strengths '{levels}' are not all finite. Write numbers such as 1, 1, 1, 1.")
    return tuple(strength * level for level in written)


def numbers(text: str, kind: type, name: str, example: str) -> list[Any]:
    """Return the numbers of a text such as "0, 15"."""
    try:
        return [kind(part) for part in text.replace(",", " ").split()]
    except ValueError as error:
        raise PictureError(
            f"{name} '{text}' are not numbers. Write them separated by commas, such as {example}."
        ) from error
