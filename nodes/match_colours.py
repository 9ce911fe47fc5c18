"""The node that gives a video the colours of a picture."""

from comfy_api.latest import io
from torch import Tensor

from ..video.colours import match_colours
from ..video.frames import check_all_finite
from .checked import checked
from .compatibility import known
from .progress import on_frame


@checked
class AnimateLCMMatchColors(io.ComfyNode):
    """Takes back the colours that a video drifted away from."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AnimateLCMMatchColors",
            display_name="AnimateLCM Match Colors",
            category="AnimateLCM",
            description="Gives each frame of a video the colours of a picture: mean and deviation of saturation and "
            "value, and the mean hue.",
            inputs=[
                io.Image.Input("images", tooltip="The frames, from VAE Decode."),
                io.Image.Input(
                    "picture",
                    tooltip="The picture whose colours they are to have, such as the one that was animated. Of "
                    "several, the first counts.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    display_mode=io.NumberDisplay.slider,
                    tooltip="0 leaves the frames as they are, 1 matches them fully.",
                ),
            ],
            outputs=[io.Image.Output(display_name="images", tooltip="The frames in the picture's colours.")],
            **known(io.Schema, search_aliases=["color match", "color correct", "drift"]),
        )

    @classmethod
    def execute(cls, images: Tensor, picture: Tensor, strength: float) -> io.NodeOutput:
        check_all_finite(images)
        return io.NodeOutput(match_colours(images, picture[0].to(images.device), strength, on_frame()))
