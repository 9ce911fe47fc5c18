"""The node for clips that are longer than a motion module sees at once."""

from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ..motion.attach import check_window, motion_config_of
from ..sampling.long_clip import attach_windows
from ..sampling.windows import LAYOUTS, WEIGHTS, WindowPlan
from .checked import checked
from .compatibility import known


@checked
class AnimateLCMLongClip(io.ComfyNode):
    """Samples a long clip in windows that overlap, and whose joins move from step to step."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AnimateLCMLongClip",
            display_name="AnimateLCM Long Clip",
            category="AnimateLCM",
            description="Lets every sampler make clips of any length, to 4096 frames, and loops: the motion module "
            "sees one window of frames at a time. A clip of at most one window is not changed.",
            inputs=[
                io.Model.Input("model", tooltip="The model from 'Apply AnimateLCM', or from a node behind it."),
                io.Int.Input(
                    "length",
                    default=16,
                    min=4,
                    max=64,
                    tooltip="Frames of a window, 4 to 64. Motion modules are trained on 16.",
                ),
                io.Int.Input(
                    "overlap",
                    default=2,
                    min=0,
                    max=63,
                    tooltip="Frames that neighbouring windows share, 0 to 63, fewer than the length. Each costs one "
                    "more frame per window: 2 of 16 take 14 % longer, 4 take 33 %.",
                ),
                io.Boolean.Input(
                    "loop",
                    default=False,
                    tooltip="Whether the last frame leads into the first, for a video that plays on without a cut.",
                ),
                io.Float.Input(
                    "repeat_noise",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    display_mode=io.NumberDisplay.slider,
                    tooltip="How much every window has the noise of the first, 0 to 1: 1 keeps what is shown, and "
                    "moves alike in every window; 0 lets the clip wander. In windows from afar it is the noise of the "
                    "steps, which 'AnimateLCM Sampler' and lcm add; in others that of the start too.",
                ),
                io.Combo.Input(
                    "windows",
                    options=list(LAYOUTS),
                    default="from afar",
                    tooltip="From afar: the whole clip first, in every n-th frame, then neighbours, whose windows meet "
                    "somewhere else at each step; moving: the latter alone; fixed: always the same; or as the uniform "
                    "context options of AnimateDiff-Evolved, with a stride. Its looped ones go over the end.",
                    **known(io.Combo.Input, advanced=True),
                ),
                io.Combo.Input(
                    "weights",
                    options=list(WEIGHTS),
                    default="pyramid",
                    tooltip="How windows are mixed where they overlap: from one to the other, or half and half.",
                    **known(io.Combo.Input, advanced=True),
                ),
                io.Int.Input(
                    "stride",
                    default=1,
                    min=1,
                    max=8,
                    tooltip="For uniform windows, 1 to 8: 1 is windows of neighbouring frames; 2 adds windows of every "
                    "2nd frame, 3 of every 4th too, and so on, each one more pass over the clip.",
                    **known(io.Int.Input, advanced=True),
                ),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The model, for any sampler.")],
            **known(io.Schema, search_aliases=["context options", "context windows", "sliding window", "freenoise"]),
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        length: int,
        overlap: int,
        loop: bool,
        repeat_noise: float,
        windows: str,
        weights: str,
        stride: int,
    ) -> io.NodeOutput:
        if config := motion_config_of(model):
            check_window(length, config)
        plan = WindowPlan(length, overlap, loop, windows, stride, weights)
        return io.NodeOutput(attach_windows(model, plan, repeat_noise))
