"""The nodes that give AnimateLCM's noise levels and sampler to SamplerCustom and SamplerCustomAdvanced."""

from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ..sampling.model_sampling import consistency_sampler, sample_sigmas
from .checked import checked
from .compatibility import known
from .inputs import denoise_input, steps_input


@checked
class AnimateLCMSigmas(io.ComfyNode):
    """Gives the noise levels of a model's schedule."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AnimateLCMSigmas",
            display_name="AnimateLCM Sigmas",
            category="AnimateLCM",
            description="The noise levels that the model was trained to be sampled at, for SamplerCustom and "
            "SamplerCustomAdvanced. They follow the schedule chosen in 'Apply AnimateLCM'.",
            inputs=[
                io.Model.Input("model", tooltip="A model from 'Apply AnimateLCM'."),
                steps_input(),
                denoise_input(),
            ],
            outputs=[io.Sigmas.Output(display_name="sigmas", tooltip="Descending noise levels, and a final 0.")],
            **known(io.Schema, search_aliases=["scheduler", "lcm"]),
        )

    @classmethod
    def execute(cls, model: ModelPatcher, steps: int, denoise: float) -> io.NodeOutput:
        return io.NodeOutput(sample_sigmas(model, steps, denoise))


@checked
class AnimateLCMSamplerSelect(io.ComfyNode):
    """Gives the consistency sampler."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AnimateLCMSamplerSelect",
            display_name="AnimateLCM Sampler Select",
            category="AnimateLCM",
            description="The consistency step of 'AnimateLCM Sampler', for SamplerCustom and SamplerCustomAdvanced.",
            inputs=[],
            outputs=[io.Sampler.Output(display_name="sampler", tooltip="The multistep consistency sampler.")],
            **known(io.Schema, search_aliases=["ksamplerselect", "lcm"]),
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput(consistency_sampler())
