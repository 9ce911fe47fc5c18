"""The node that decodes latents straight into a video file."""

from collections.abc import Mapping
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..video.colours import match_colours
from ..video.decoded import Decoded
from .checked import checked
from .compatibility import known
from .saving import audio_input, save, saving_inputs


@checked
class AnimateLCMDecodeToVideo(io.ComfyNode):
    """Saves a video of any length without its frames ever being in memory together."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AnimateLCMDecodeToVideo",
            display_name="AnimateLCM Decode to Video",
            category="AnimateLCM",
            description="Decodes a latent a few frames at a time, straight into a video file: VAE Decode and Save "
            "AnimateLCM Video in one, for clips whose frames would not fit into memory together.",
            inputs=[
                io.Latent.Input("latent", tooltip="One latent per frame, from a sampler."),
                io.Vae.Input("vae", tooltip="The VAE of the checkpoint."),
                *saving_inputs(),
                io.Image.Input(
                    "picture",
                    optional=True,
                    tooltip="The picture whose colours the frames are to have, as in AnimateLCM Match Colors. Of "
                    "several, the first counts.",
                ),
                audio_input(),
            ],
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo],
            is_output_node=True,
            **known(io.Schema, search_aliases=["vae decode", "video combine", "long video", "mp4"]),
        )

    @classmethod
    def validate_inputs(cls, format: str | None = None) -> bool | str:
        """Have the format checked before anything runs."""
        return True

    @classmethod
    def execute(
        cls,
        latent: dict[str, Tensor],
        vae: Any,
        fps: float,
        filename_prefix: str,
        format: str,
        quality: int,
        ping_pong: bool,
        picture: Tensor | None = None,
        audio: Mapping[str, Any] | None = None,
    ) -> io.NodeOutput:
        def decode(some: Tensor) -> Tensor:
            frames = vae.decode(some)
            return frames if picture is None else match_colours(frames, picture[0].to(frames.device))

        frames = Decoded(latent["samples"], decode)
        return save(frames, cls.hidden, fps, filename_prefix, format, quality, ping_pong, audio)
