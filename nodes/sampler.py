"""The node that samples a video."""

from typing import Any

import comfy.sample
import comfy.utils
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ..sampling.model_sampling import consistency_sampler, sample_sigmas
from ..sampling.noise import initial_noise
from .checked import checked
from .compatibility import known
from .inputs import denoise_input, steps_input
from .preflight import check_before_sampling, check_finite, frame_numbers
from .preview import clip_callback


@checked
class AnimateLCMSampler(io.ComfyNode):
    """Samples all frames of a video together, with the consistency step."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AnimateLCMSampler",
            display_name="AnimateLCM Sampler",
            category="AnimateLCM",
            description="Samples a video in a few consistency steps, on the schedule that 'Apply AnimateLCM' chose. "
            "The same seed starts from the same noise on every device and at every length of the video.",
            inputs=[
                io.Model.Input("model", tooltip="The model from 'Apply AnimateLCM'."),
                io.Conditioning.Input("positive", tooltip="What the video shows."),
                io.Conditioning.Input(
                    "negative",
                    optional=True,
                    tooltip="What it does not show. Needed, and used, only where cfg is above 1.",
                ),
                io.Latent.Input(
                    "latent", tooltip="One latent per frame, from 'Empty AnimateLCM Latent', or a video's own."
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=True,
                    tooltip="Number of the noise, 0 to 2^64 - 1. The same number gives the same video.",
                ),
                steps_input(),
                io.Float.Input(
                    "cfg",
                    default=1.0,
                    min=1.0,
                    max=10.0,
                    step=0.1,
                    tooltip="Guidance, 1 to 10. 1 is twice as fast and needs no negative prompt; above 2 colours burn.",
                ),
                denoise_input(),
            ],
            outputs=[io.Latent.Output(display_name="latent", tooltip="One latent per frame, for VAE Decode.")],
            **known(io.Schema, search_aliases=["ksampler", "lcm", "video"]),
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        positive: Any,
        latent: dict[str, Any],
        seed: int,
        steps: int,
        cfg: float,
        denoise: float,
        negative: Any | None = None,
    ) -> io.NodeOutput:
        samples = comfy.sample.fix_empty_latent_channels(model, latent["samples"])
        check_before_sampling(model, samples, cfg, positive, negative)
        numbers = frame_numbers(latent)
        sigmas = sample_sigmas(model, steps, denoise)
        sampled = comfy.sample.sample_custom(
            model,
            initial_noise(samples.shape, seed, numbers),
            cfg,
            consistency_sampler(numbers),
            sigmas,
            positive,
            positive if negative is None else negative,  # not evaluated at cfg 1
            samples,
            noise_mask=latent.get("noise_mask"),
            callback=clip_callback(model, steps),
            disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
            seed=seed,
        )
        check_finite(sampled, model)
        return io.NodeOutput({**latent, "samples": sampled})
