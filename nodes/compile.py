"""The node that has a model's layers compiled."""

from collections.abc import Callable

from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ..motion.attach_compile import attach_compiler
from .checked import checked
from .compatibility import known
from .running import running_server

MOTION, ALL = "motion module", "motion module and UNet"


@checked
class AnimateLCMCompile(io.ComfyNode):
    """Compiles the layers that have something to gain, each by itself."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AnimateLCMCompile",
            display_name="AnimateLCM Compile",
            category="AnimateLCM",
            description="Compiles the temporal transformers of the motion module, and layers of the UNet too, by "
            "torch.compile: the same clips, faster from the second on. Where that fails, layers run as they are, and "
            "the log says why.",
            inputs=[
                io.Model.Input("model", tooltip="The model from 'Apply AnimateLCM', or from a node behind it."),
                io.Combo.Input(
                    "compiled",
                    options=[MOTION, ALL],
                    default=MOTION,
                    tooltip="The temporal transformers alone, seconds for the first clip of a size; or the UNet's "
                    "residual blocks and feed-forwards as well, a minute or more.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The same model, compiled while it is sampled.")],
            hidden=[io.Hidden.unique_id],
            **known(io.Schema, search_aliases=["torch.compile", "inductor", "speed"]),
        )

    @classmethod
    def execute(cls, model: ModelPatcher, compiled: str) -> io.NodeOutput:
        return io.NodeOutput(attach_compiler(model, compiled == ALL, say=_on_node(cls.hidden.unique_id)))


def _on_node(node: str | None) -> Callable[[str], None]:
    """Return what shows a text on a node of the page; sampling, which another node does, is when there is one."""

    def say(text: str) -> None:
        if server := running_server():
            server.send_progress_text(text, node)

    return say
