"""The nodes that make a layout: from text, or box by box, and the picture of it."""

from comfy_api.latest import io, ui

from ..layout.boxes import Layout
from ..layout.draw import HINTS, hints
from ..layout.errors import LayoutError
from ..layout.keyframes import EASINGS, RANGES, Keyframe
from ..layout.parse import read_layout
from ..layout.preview import preview
from .checked import checked
from .compatibility import known
from .inputs import frames_input, size_input
from .memory import check_memory
from .progress import on_frame

LAYOUT = io.Custom("LAYOUT")

START = """{"boxes": [
  {"name": "thing", "prompt": "", "keyframes": [
    {"frame": 0, "x": 0.05, "y": 0.3, "width": 0.4, "height": 0.4},
    {"frame": 15, "x": 0.55, "y": 0.3, "width": 0.4, "height": 0.4}
  ]}
]}"""


@checked
class AnimateLCMLayout(io.ComfyNode):
    """A layout from its text, which the page also lets people draw."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AnimateLCMLayout",
            display_name="AnimateLCM Layout",
            category="AnimateLCM",
            description="Says where things are in each frame: boxes with keyframes, drawn with the mouse or written as "
            "JSON.",
            inputs=[
                io.String.Input(
                    "text",
                    multiline=True,
                    default=START,
                    tooltip="The boxes. x, y (of the upper left corner), width and height are shares of the picture, "
                    "0 to 1; frames count from 0. A box may have a prompt and a colour (#rrggbb), a keyframe an "
                    f"easing: {', '.join(EASINGS)}.",
                )
            ],
            outputs=[LAYOUT.Output(display_name="layout", tooltip="The boxes over time.")],
            **known(io.Schema, search_aliases=["boxes", "path", "trajectory", "keyframes", "regional"]),
        )

    @classmethod
    def validate_inputs(cls, text: str | None = None) -> bool | str:
        """Check what is written here; what another node hands over is None at this time."""
        try:
            if text is not None:
                read_layout(text)
        except LayoutError as error:
            return str(error)
        return True

    @classmethod
    def execute(cls, text: str) -> io.NodeOutput:
        return io.NodeOutput(read_layout(text))


@checked
class AnimateLCMLayoutBox(io.ComfyNode):
    """One keyframe of one box; several in a row make a layout."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AnimateLCMLayoutBox",
            display_name="AnimateLCM Layout Box",
            category="AnimateLCM",
            description="Adds a box to a layout. Where the layout has a box of that name, this is one more keyframe of "
            "it: two of these nodes in a row move a box.",
            inputs=[
                LAYOUT.Input("layout", optional=True, tooltip="The boxes so far; none for the first."),
                io.String.Input("name", default="thing", tooltip="The box's name. The same name is the same box."),
                io.String.Input(
                    "prompt", default="", multiline=True, tooltip="What is in the box. Needed once per box, if at all."
                ),
                io.Int.Input("frame", default=0, min=0, max=RANGES["frame"][1], tooltip="Of the keyframe, from 0."),
                _share("x", 0.3, "From the picture's left to the box's"),
                _share("y", 0.3, "From the picture's top to the box's"),
                _share("width", 0.4, "Of the box"),
                _share("height", 0.4, "Of the box"),
                io.Combo.Input(
                    "easing",
                    options=list(EASINGS),
                    default="linear",
                    tooltip="How it goes on to the next keyframe: evenly; slowly at both ends, at the start, or at the "
                    "end; or not at all until then.",
                ),
            ],
            outputs=[LAYOUT.Output(display_name="layout", tooltip="The boxes with this one.")],
            **known(io.Schema, search_aliases=["box", "keyframe", "region", "bounding box"]),
        )

    @classmethod
    def execute(
        cls,
        name: str,
        prompt: str,
        frame: int,
        x: float,
        y: float,
        width: float,
        height: float,
        easing: str,
        layout: Layout | None = None,
    ) -> io.NodeOutput:
        keyframe = Keyframe(frame, x, y, width, height, easing)
        return io.NodeOutput((layout or Layout()).with_keyframe(name, prompt, keyframe))


@checked
class AnimateLCMLayoutPreview(io.ComfyNode):
    """The boxes over time as a picture."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AnimateLCMLayoutPreview",
            display_name="AnimateLCM Layout Preview",
            category="AnimateLCM",
            description="Shows where the boxes go: five moments from dark to bright, the way of their centres, and "
            "a dot at each keyframe.",
            inputs=[
                LAYOUT.Input("layout", tooltip="The boxes."),
                size_input("width"),
                size_input("height"),
                frames_input("at least 1"),
            ],
            outputs=[io.Image.Output(display_name="image", tooltip="One picture.")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, layout: Layout, width: int, height: int, frames: int) -> io.NodeOutput:
        picture = preview(layout, frames, width, height)
        return io.NodeOutput(picture, ui=ui.PreviewImage(picture, cls=cls))


@checked
class AnimateLCMLayoutHints(io.ComfyNode):
    """The boxes as a ControlNet knows them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AnimateLCMLayoutHints",
            display_name="AnimateLCM Layout Hints",
            category="AnimateLCM",
            description="Draws one picture per frame for 'Apply ControlNet'.",
            inputs=[
                LAYOUT.Input("layout", tooltip="The boxes."),
                size_input("width", " As the video's."),
                size_input("height", " As the video's."),
                frames_input("as the video's"),
                io.Combo.Input(
                    "kind",
                    options=list(HINTS),
                    default="outline",
                    tooltip="What the ControlNet was trained on: outline for canny, lineart, MLSD and the mini family; "
                    "filled for masks; segmentation for areas of one colour each, which a box can choose; scribble "
                    "for rounded strokes.",
                ),
                io.Float.Input(
                    "line_width",
                    default=2.0,
                    min=0.5,
                    max=64.0,
                    step=0.5,
                    tooltip="Width of outlines in pixels, 0.5 to 64; a scribble's is three times that.",
                ),
            ],
            outputs=[io.Image.Output(display_name="images", tooltip="One hint per frame, white on black.")],
            **known(io.Schema, search_aliases=["controlnet hint", "scribble", "segmentation", "mask"]),
        )

    @classmethod
    def execute(
        cls, layout: Layout, width: int, height: int, frames: int, kind: str, line_width: float
    ) -> io.NodeOutput:
        check_memory(f"{frames} hints of {width} x {height} pixels", frames, height, width, 3)
        return io.NodeOutput(hints(layout, frames, width, height, kind, line_width, on_frame()))


def _share(name: str, default: float, of_what: str) -> io.Float.Input:
    least, most = RANGES[name]
    tooltip = f"{of_what}, as a share of the picture, {least:g} to {most:g}; below 0 and above 1 is outside of it."
    return io.Float.Input(name, default=default, min=least, max=most, step=0.01, tooltip=tooltip)
