"""AnimateLCM Sampler, and the same model in ComfyUI's own samplers and with ComfyUI's own model nodes."""

import inspect
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import comfy.cli_args
import comfy.latent_formats
import comfy.model_management
import comfy.sd
import comfy.utils
import numpy as np
import pytest
import torch
from animatelcm.nodes.custom_sampling import AnimateLCMSamplerSelect, AnimateLCMSigmas
from animatelcm.nodes.preflight import PreflightError, check_finite, check_frames
from animatelcm.nodes.sampler import AnimateLCMSampler
from animatelcm.sampling.model_sampling import schedule_of
from comfy.model_patcher import ModelPatcher
from comfy_extras.nodes_custom_sampler import BasicGuider, RandomNoise, SamplerCustom, SamplerCustomAdvanced
from comfy_extras.nodes_freelunch import FreeU
from comfy_extras.nodes_model_advanced import RescaleCFG
from torch import Tensor

import nodes

from ..relative_error import relative_error
from .conftest import FRAMES, SIZE, lora

Latent = dict[str, Tensor]
Apply = Callable[..., ModelPatcher]
Sample = Callable[..., Tensor]


@pytest.fixture
def sample(positive: Any, latent: Latent) -> Sample:
    def run(model: ModelPatcher, **inputs: Any) -> Tensor:
        defaults = {"positive": positive, "latent": latent, "seed": 5, "steps": 4, "cfg": 1.0, "denoise": 1.0}
        return AnimateLCMSampler.execute(model=model, **{**defaults, **inputs})[0]["samples"]

    return run


def patched(node: type, model: ModelPatcher, *values: float) -> ModelPatcher:
    """Run a model node of ComfyUI, written in either of its styles."""
    if hasattr(node, "execute"):
        return node.execute(model, *values)[0]
    return getattr(node(), node.FUNCTION)(model, *values)[0]


def rows_seen(model: ModelPatcher) -> tuple[ModelPatcher, list[int]]:
    """Return a clone that notes the batch size of every UNet call."""
    seen: list[int] = []

    def note(apply_model: Callable[..., Tensor], options: dict[str, Any]) -> Tensor:
        seen.append(options["input"].shape[0])
        return apply_model(options["input"], options["timestep"], **options["c"])

    clone = model.clone()
    clone.set_model_unet_function_wrapper(note)
    return clone, seen


# The sampler itself


def test_the_same_seed_gives_the_same_video_and_another_another(apply: Apply, sample: Sample) -> None:
    model = apply()
    first = sample(model)
    assert first.shape == (FRAMES, 4, SIZE, SIZE)
    assert torch.equal(sample(model), first)
    assert not torch.equal(sample(model, seed=6), first)


def test_frames_move_together(apply: Apply, sample: Sample) -> None:
    """With the motion module a frame depends on the others; at gamma 0 it does not."""
    for gamma, together in ((1.0, True), (0.0, False)):
        model = apply(gamma=gamma)
        short, long = (sample(model, steps=1, latent={"samples": torch.zeros(f, 4, SIZE, SIZE)}) for f in (2, 4))
        difference = relative_error(long[:2], short)
        assert difference > 1e-3 if together else difference < 1e-5


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
def test_without_cfg_only_the_prompt_is_evaluated(apply: Apply, sample: Sample, negative: Any, steps: int) -> None:
    model, seen = rows_seen(apply())
    sample(model, steps=steps, negative=negative)
    assert seen == [FRAMES] * steps


def test_with_cfg_both_prompts_are_evaluated(apply: Apply, sample: Sample, negative: Any) -> None:
    model, seen = rows_seen(apply())
    guided = sample(model, cfg=2.0, negative=negative)
    assert sum(seen) == 2 * FRAMES * 4
    assert relative_error(guided, sample(model)) > 1e-3


def test_less_denoise_keeps_more_of_the_latent(apply: Apply, sample: Sample) -> None:
    model = apply()
    given = {"samples": torch.randn(FRAMES, 4, SIZE, SIZE, generator=torch.Generator().manual_seed(9))}
    distance = [float((sample(model, latent=given, steps=2, denoise=d) - given["samples"]).norm()) for d in (0.05, 0.5)]
    assert distance[0] < distance[1]


def test_a_mask_keeps_what_it_does_not_cover(apply: Apply, sample: Sample) -> None:
    given = torch.randn(FRAMES, 4, SIZE, SIZE, generator=torch.Generator().manual_seed(9))
    mask = torch.zeros(1, 8 * SIZE, 8 * SIZE)
    mask[..., : 4 * SIZE] = 1.0
    result = sample(apply(), latent={"samples": given, "noise_mask": mask})
    assert relative_error(result[..., SIZE // 2 :], given[..., SIZE // 2 :]) < 1e-6
    assert relative_error(result[..., : SIZE // 2], given[..., : SIZE // 2]) > 1e-3


def test_an_interrupt_stops_within_one_unet_call_and_the_next_run_is_right(apply: Apply, sample: Sample) -> None:
    model = apply()
    expected = sample(model)
    interrupted, seen = rows_seen(model)
    note = interrupted.model_options["model_function_wrapper"]

    def interrupt(apply_model: Callable[..., Tensor], options: dict[str, Any]) -> Tensor:
        if len(seen) == 1:
            comfy.model_management.interrupt_current_processing()
        return note(apply_model, options)

    interrupted.set_model_unet_function_wrapper(interrupt)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        sample(interrupted)
    assert len(seen) == 2
    assert torch.equal(sample(model), expected)


# What does not fit is said before sampling


@pytest.mark.parametrize("method", ["Latent2RGB", "NoPreviews"])
def test_the_preview_shows_all_frames_at_every_step(
    apply: Apply, sample: Sample, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(comfy.cli_args.args, "preview_method", comfy.cli_args.LatentPreviewMethod[method])
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", lambda done, total, preview, **_: shown.append(preview))
    video = sample(apply(), steps=3)
    if method == "NoPreviews":
        assert set(shown) == {None}  # newer versions leave out what comes too soon after another
        return
    last = np.asarray(shown[-1][1])
    columns, rows = (side // SIZE for side in shown[-1][1].size)
    assert len(shown) == 3 and rows * columns >= FRAMES
    factors = torch.tensor(comfy.latent_formats.SD15().latent_rgb_factors)
    for frame, latent in enumerate(comfy.latent_formats.SD15().process_in(video)):
        row, column = divmod(frame, columns)
        found = last[row * SIZE : (row + 1) * SIZE, column * SIZE : (column + 1) * SIZE]
        expected = ((torch.einsum("chw,cr->hwr", latent, factors) + 1) / 2).clamp(0, 1) * 255
        assert np.abs(found - expected.numpy()).max() <= 1


def test_a_model_without_motion_is_refused(base: ModelPatcher, sample: Sample) -> None:
    with pytest.raises(PreflightError, match="no motion module"):
        sample(base)


@pytest.mark.parametrize(
    ("frames", "message"), [(1, r"has 1 frame\. This .* 2 to 64"), (65, r"has 65 frames\. This .*")]
)
def test_a_length_that_cannot_work_is_refused(apply: Apply, sample: Sample, frames: int, message: str) -> None:
    with pytest.raises(PreflightError, match=message):
        sample(apply(), latent={"samples": torch.zeros(frames, 4, SIZE, SIZE)})


def test_context_windows_lift_the_upper_limit(apply: Apply) -> None:
    model = apply().clone()
    model.model_options["context_handler"] = object()
    check_frames(model, 65)


@pytest.mark.parametrize("shape", [(3, 16, 8, 8), (1, 4, 3, 8, 8)])
def test_latents_of_another_model_are_refused(apply: Apply, sample: Sample, shape: tuple[int, ...]) -> None:
    with pytest.raises(PreflightError, match=r"has the shape .* 4, height / 8"):
        sample(apply(), latent={"samples": torch.ones(shape)})


def test_empty_latents_of_other_models_are_made_to_fit(apply: Apply, sample: Sample) -> None:
    latent = {"samples": torch.zeros(FRAMES, 16, SIZE, SIZE)}
    assert sample(apply(), latent=latent).shape == (FRAMES, 4, SIZE, SIZE)


def test_cfg_without_a_negative_prompt_is_refused(apply: Apply, sample: Sample) -> None:
    with pytest.raises(PreflightError, match=r"cfg 1\.5 .* none is connected"):
        sample(apply(), cfg=1.5)


def masked(positive: Any, count: int) -> Any:
    return [[positive[0][0], {"mask": torch.ones(count, SIZE, SIZE), "mask_strength": 1.0}]]


def test_masks_of_another_length_are_refused(apply: Apply, sample: Sample, positive: Any) -> None:
    with pytest.raises(PreflightError, match=f"masks for {FRAMES - 1} frames, and the latent has {FRAMES}"):
        sample(apply(), positive=masked(positive, FRAMES - 1))


@pytest.mark.parametrize("count", [1, FRAMES, FRAMES + 2])
def test_one_mask_and_masks_for_every_frame_are_taken(apply: Apply, sample: Sample, positive: Any, count: int) -> None:
    model = apply()
    assert relative_error(sample(model, positive=masked(positive, count)), sample(model)) < 1e-4


def test_more_steps_than_the_schedule_has_are_refused(apply: Apply, sample: Sample) -> None:
    with pytest.raises(ValueError, match=r"30 steps do not fit: .* 20 timesteps at denoise 0\.2"):
        sample(apply(), steps=30, denoise=0.2)


@pytest.fixture
def accelerated(apply: Apply, save_model: Callable[..., str]) -> Apply:
    return partial(apply, acceleration_lora=save_model("loras", "fast.safetensors", lora(11)))


@pytest.mark.parametrize(
    ("inputs", "applied", "message"),
    [
        ({"cfg": 7.0}, {}, "cfg 7 burns colours in"),
        ({}, {}, "3 frames; motion modules are trained on 16"),
        ({}, {"schedule": "keep the model's own"}, "a schedule of its own"),
    ],
    ids=["cfg", "frames", "schedule"],
)
def test_what_is_seldom_meant_is_logged(
    accelerated: Apply,
    sample: Sample,
    negative: Any,
    caplog: pytest.LogCaptureFixture,
    inputs: dict[str, Any],
    applied: dict[str, str],
    message: str,
) -> None:
    with caplog.at_level(logging.WARNING):
        sample(accelerated(**applied), negative=negative, **inputs)
    assert message in caplog.text


def test_in_ksampler_it_is_logged_too(
    accelerated: Apply, positive: Any, negative: Any, latent: Latent, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        nodes.common_ksampler(accelerated(), 0, 1, 8.0, "euler", "normal", positive, negative, latent)
    assert "cfg 8 burns colours in" in caplog.text
    assert "the sampler euler is not made for this model" in caplog.text


def test_a_model_without_acceleration_may_be_sampled_as_any_other(
    apply: Apply, positive: Any, negative: Any, latent: Latent, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        nodes.common_ksampler(apply(), 0, 1, 8.0, "euler", "normal", positive, negative, latent)
    assert "AnimateLCM" not in caplog.text


NAN = float("nan")


def test_results_that_are_no_numbers_are_refused(base: ModelPatcher) -> None:
    check_finite(torch.zeros(2), base)
    with pytest.raises(PreflightError, match="half precision overflowed"):
        check_finite(torch.tensor([0.0, NAN]), base)


@pytest.mark.parametrize("strength", [1.0, NAN])
def test_a_lora_that_is_no_number_is_named_as_the_cause(base: ModelPatcher, strength: float) -> None:
    weights = lora(3) if strength != strength else {key: NAN * value for key, value in lora(3).items()}
    broken, _ = comfy.sd.load_lora_for_models(base, None, weights, strength, 0.0)
    with pytest.raises(PreflightError, match="LoRA on this model has weights that are not numbers"):
        check_finite(torch.tensor([0.0, NAN]), broken)


def test_inputs_that_are_no_numbers_are_refused_before_sampling(
    apply: Apply, sample: Sample, positive: Any, negative: Any
) -> None:
    broken = [[NAN * negative[0][0], {}]]
    for inputs in ({"positive": broken}, {"negative": broken}, {"positive": [*positive, *broken]}):
        with pytest.raises(PreflightError, match="encoding of a prompt has values that are not numbers"):
            sample(apply(), **inputs)
    with pytest.raises(PreflightError, match="The latent has values that are not numbers"):
        sample(apply(), latent={"samples": torch.full((FRAMES, 4, SIZE, SIZE), NAN)})


# The numbers of frames


def test_a_part_of_a_latent_has_the_noise_of_its_frames(apply: Apply, sample: Sample) -> None:
    """From the start, and in every step: without motion they are the frames of the whole clip."""
    model, clip = apply(gamma=0.0), {"samples": torch.zeros(2 * FRAMES, 4, SIZE, SIZE)}
    (part,) = nodes.LatentFromBatch().frombatch(clip, 2, FRAMES)
    assert relative_error(sample(model, latent=part), sample(model, latent=clip)[2 : 2 + FRAMES]) < 1e-4


def test_a_fixed_seed_gives_all_frames_the_same_noise(apply: Apply, sample: Sample, latent: Latent) -> None:
    """As ComfyUI's LatentBatchSeedBehavior numbers them."""
    frames = sample(apply(gamma=0.0), latent={**latent, "batch_index": [0] * FRAMES})
    assert relative_error(frames, frames[:1].expand_as(frames)) < 1e-4


@pytest.mark.parametrize("numbers", [[0], [0, 1, -1], [0, 1, 2**40], [0, 1, 0.5]])
def test_numbers_that_are_not_the_frames_are_refused(
    apply: Apply, sample: Sample, latent: Latent, numbers: list[float]
) -> None:
    with pytest.raises(PreflightError, match="batch_index does not number its 3 frames"):
        sample(apply(), latent={**latent, "batch_index": numbers})


# ComfyUI's samplers


def test_sampler_custom_gives_the_same_video(
    apply: Apply, sample: Sample, positive: Any, negative: Any, latent: Latent
) -> None:
    model = apply()
    (sampler,) = AnimateLCMSamplerSelect.execute().args
    (sigmas,) = AnimateLCMSigmas.execute(model, 4, 1.0).args
    custom = SamplerCustom.execute(model, True, 5, 1.0, positive, negative, sampler, sigmas, latent)
    assert torch.equal(custom[0]["samples"], sample(model))


def test_sampler_custom_advanced_gives_the_same_video(
    apply: Apply, sample: Sample, positive: Any, latent: Latent
) -> None:
    model = apply()
    (sampler,) = AnimateLCMSamplerSelect.execute().args
    (sigmas,) = AnimateLCMSigmas.execute(model, 4, 1.0).args
    noise, guider = RandomNoise.execute(5)[0], BasicGuider.execute(model, positive)[0]
    advanced = SamplerCustomAdvanced.execute(noise, guider, sampler, sigmas, latent)
    assert torch.equal(advanced[0]["samples"], sample(model))


@pytest.mark.parametrize("scheduler", ["simple", "sgm_uniform"])
def test_ksampler_lcm_takes_the_same_first_step(
    apply: Apply, sample: Sample, positive: Any, negative: Any, latent: Latent, scheduler: str
) -> None:
    """One step has no step noise, which is the only thing that is KSampler's own."""
    model = apply()
    one = nodes.KSampler().sample(model, 5, 1, 1.0, "lcm", scheduler, positive, negative, latent)[0]["samples"]
    assert relative_error(one, sample(model, steps=1)) < 1e-5
    four = nodes.KSampler().sample(model, 5, 4, 1.0, "lcm", scheduler, positive, negative, latent)[0]["samples"]
    assert four.isfinite().all()


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", "lcm"])
def test_ksampler_advanced_works(apply: Apply, positive: Any, negative: Any, latent: Latent, sampler: str) -> None:
    model, seen = rows_seen(apply())
    arguments = (model, "enable", 5, 4, 1.5, sampler, "simple", positive, negative, latent, 0, 10000, "disable")
    result = nodes.KSamplerAdvanced().sample(*arguments)[0]["samples"]
    assert result.isfinite().all()
    assert sum(seen) == 2 * FRAMES * 4


# ComfyUI's model nodes


@pytest.mark.parametrize(
    ("node", "values"), [(FreeU, (1.1, 1.2, 0.9, 0.2)), (RescaleCFG, (0.7,))], ids=["FreeU", "RescaleCFG"]
)
def test_a_model_node_may_come_before_or_after(
    base: ModelPatcher, apply: Apply, sample: Sample, negative: Any, node: type, values: tuple[float, ...]
) -> None:
    guided = {"cfg": 1.8, "negative": negative}
    before = sample(apply(patched(node, base, *values)), **guided)
    after = sample(patched(node, apply(), *values), **guided)
    assert torch.equal(before, after)
    assert relative_error(before, sample(apply(), **guided)) > 1e-4


def test_a_lora_loader_may_come_before_or_after(
    base: ModelPatcher, apply: Apply, sample: Sample, save_model: Callable[..., str]
) -> None:
    name = save_model("loras", "any.safetensors", lora(12))
    own = sample(apply(style_lora=name))
    before = sample(apply(nodes.LoraLoaderModelOnly().load_lora_model_only(base, name, 1.0)[0]))
    after = sample(nodes.LoraLoaderModelOnly().load_lora_model_only(apply(), name, 1.0)[0])
    assert torch.equal(before, own)
    assert torch.equal(after, own)
    assert relative_error(own, sample(apply())) > 1e-3


def test_base_motion_base_motion(
    base: ModelPatcher, apply: Apply, sample: Sample, positive: Any, negative: Any, latent: Latent
) -> None:
    """Neither leaves anything behind on the other: ComfyUI issue #16490."""

    def plain() -> Tensor:
        arguments = (base, 5, 4, 2.0, "euler", "normal", positive, negative, latent)
        return nodes.KSampler().sample(*arguments)[0]["samples"]

    model = apply()
    images, videos = [], []
    for _ in range(2):
        images.append(plain())
        videos.append(sample(model))
        assert len(base.get_model_object("model_sampling").sigmas) == 1000
        assert schedule_of(model) is not None
    assert torch.equal(*images)
    assert torch.equal(*videos)


def test_the_steps_and_their_defaults_are_those_of_the_node() -> None:
    defaults = {i.id: i.default for i in AnimateLCMSampler.define_schema().inputs if hasattr(i, "default")}
    assert defaults == {"seed": 0, "steps": 4, "cfg": 1.0, "denoise": 1.0}
    assert {i.id for i in AnimateLCMSampler.define_schema().inputs} == set(
        inspect.signature(AnimateLCMSampler.execute).parameters
    )
