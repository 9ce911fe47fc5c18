"""UNet, motion module and consistency sampling end to end give the latents of diffusers' AnimateDiffPipeline."""

from pathlib import Path

import comfy.model_management
import comfy.sample
import comfy.supported_models
import pytest
import safetensors.torch
import torch
from animatelcm.motion.attach import attach_motion, load_motion_module
from animatelcm.sampling.consistency import sample_consistency
from animatelcm.sampling.model_sampling import apply_schedule, sample_sigmas
from animatelcm.sampling.schedule import I2V, T2V, Schedule
from comfy.samplers import KSAMPLER
from diffusers import AnimateDiffPipeline, LCMScheduler, MotionAdapter, UNet2DConditionModel
from torch import Tensor

from ..nodes.conftest import UNET
from ..relative_error import relative_error
from .conftest import normalized_per_frame
from .diffusers_model import SIZE, comfy_model, diffusers_adapter, diffusers_unet

FRAMES, SEED = 6, 5
CONTEXT = torch.randn(1, 77, UNET["context_dim"], generator=torch.Generator().manual_seed(2))
NOISE = torch.randn(FRAMES, 4, SIZE, SIZE, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def unet() -> UNet2DConditionModel:
    return diffusers_unet()


@pytest.fixture(scope="module")
def adapter() -> MotionAdapter:
    return diffusers_adapter()


def diffusers_latents(unet: UNet2DConditionModel, adapter: MotionAdapter, schedule: Schedule, steps: int) -> Tensor:
    """Latents of AnimateDiffPipeline, (frames, 4, height, width)."""
    scheduler = LCMScheduler(
        beta_start=schedule.beta_start,
        beta_end=schedule.beta_end,
        beta_schedule=schedule.spacing,
        original_inference_steps=schedule.original_steps,
        clip_sample=False,
    )
    pipeline = AnimateDiffPipeline(None, None, None, unet, adapter, scheduler)
    normalized_per_frame(pipeline.unet)
    pipeline.set_progress_bar_config(disable=True)
    latents = pipeline(
        prompt_embeds=CONTEXT,
        num_frames=FRAMES,
        height=8 * SIZE,
        width=8 * SIZE,
        num_inference_steps=steps,
        guidance_scale=1.0,
        latents=NOISE.movedim(0, 1)[None].clone(),
        generator=torch.Generator().manual_seed(SEED),
        output_type="latent",
    ).frames
    return latents[0].movedim(1, 0)


def our_latents(
    unet: UNet2DConditionModel, adapter: MotionAdapter, schedule: Schedule, steps: int, folder: Path
) -> Tensor:
    """The same from a MODEL of ComfyUI, with diffusers' weights and its noise of each step."""
    patcher = comfy_model(unet)
    safetensors.torch.save_file(adapter.state_dict(), folder / "motion.safetensors")

    patcher = attach_motion(patcher, load_motion_module(str(folder / "motion.safetensors")))
    patcher = apply_schedule(patcher, schedule)
    generator = torch.Generator().manual_seed(SEED)

    def noise_sampler(sigma: Tensor, sigma_next: Tensor) -> Tensor:
        return torch.randn(1, 4, FRAMES, SIZE, SIZE, generator=generator)[0].movedim(1, 0).to(sigma.device)

    sampler = KSAMPLER(sample_consistency, extra_options={"noise_sampler": noise_sampler})
    sigmas = sample_sigmas(patcher, steps, denoise=1.0)
    cond, blank = [[CONTEXT, {}]], torch.zeros_like(NOISE)
    latents = comfy.sample.sample_custom(patcher, NOISE, 1.0, sampler, sigmas, cond, cond, blank, disable_pbar=True)
    return patcher.model.latent_format.process_in(latents)


@pytest.mark.parametrize("schedule", [T2V, I2V], ids=["t2v", "i2v"])
@pytest.mark.parametrize("steps", [1, 4])
def test_equals_animatediff_pipeline(
    schedule: Schedule, steps: int, unet: UNet2DConditionModel, adapter: MotionAdapter, tmp_path: Path
) -> None:
    expected = diffusers_latents(unet, adapter, schedule, steps)
    ours = our_latents(unet, adapter, schedule, steps, tmp_path)
    assert relative_error(ours, expected) < 1e-4
