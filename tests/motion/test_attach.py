"""The motion module on a real ComfyUI model: it takes part in every UNet call, and leaves nothing behind."""

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import comfy.controlnet
import comfy.lora
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.sample
import comfy.samplers
import comfy.sd
import comfy.supported_models
import pytest
import safetensors.torch
import torch
from animatelcm.motion.attach import (
    KEY,
    MotionModelError,
    attach_motion,
    load_motion_module,
    motion_config_of,
    places,
    width,
    widths,
)
from animatelcm.motion.config import MotionConfig
from animatelcm.motion.grammar import published_state_dict
from animatelcm.motion.transformer import MotionModule
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ..nodes.conftest import UNET
from ..read_back import ReadBack
from ..relative_error import relative_error
from .comfy_model import CONTEXT, FRAMES, STEPS, build_model, hooks, prompt, sample
from .conftest import CONFIG, fill

PLACES = 21
LORA_WEIGHTS = 282  # weight matrices of SD1.5's UNet


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, weights: dict[str, Tensor]) -> str:
    path = tmp_path_factory.mktemp("motion") / "motion.safetensors"
    safetensors.torch.save_file(published_state_dict(weights), path)
    return str(path)


@pytest.fixture(scope="module")
def motion(path: str) -> ModelPatcher:
    return load_motion_module(path)


@pytest.fixture
def model(base: ModelPatcher, motion: ModelPatcher) -> ModelPatcher:
    return attach_motion(base, motion)


@pytest.fixture(autouse=True)
def nothing_is_left(base: ModelPatcher) -> Iterator[None]:
    """After every test, whatever it did: no hook on the UNet, and its weights as they were."""
    before = {key: value.clone() for key, value in base.model.state_dict().items()}
    yield
    assert not hooks(base)
    after = base.model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], before[key]) for key in before)


@pytest.fixture
def calls(motion: ModelPatcher) -> Iterator[list[int]]:
    """The places that ran, in order."""
    ran: list[int] = []
    handles = [
        block.register_forward_hook(lambda *_, place=place: ran.append(place))
        for place, block in enumerate(motion.model.blocks())
    ]
    yield ran
    for handle in handles:
        handle.remove()


# Takes part


def test_every_temporal_transformer_runs_once_per_unet_call(model: ModelPatcher, calls: list[int]) -> None:
    sample(model)
    assert calls == list(range(PLACES)) * STEPS


def test_module_without_mid_block_has_20_places(base: ModelPatcher, weights: dict[str, Tensor], tmp_path: Path) -> None:
    tensors = published_state_dict({k: v for k, v in weights.items() if "mid" not in k}, 32)
    safetensors.torch.save_file(tensors, tmp_path / "v3.safetensors")
    model = attach_motion(base, load_motion_module(str(tmp_path / "v3.safetensors")))
    config = motion_config_of(model)
    assert config and len(widths(config)) == PLACES - 1
    assert relative_error(sample(model), sample(base)) > 1e-3


def test_frames_depend_on_each_other_with_the_module_only(base: ModelPatcher, model: ModelPatcher) -> None:
    assert relative_error(sample(base, frames=4)[:2], sample(base, frames=2)) < 1e-4
    assert relative_error(sample(model, frames=4)[:2], sample(model, frames=2)) > 1e-2


def test_sampling_repeats(model: ModelPatcher) -> None:
    assert torch.equal(sample(model), sample(model))


def test_gamma_0_is_the_image_model_exactly(base: ModelPatcher, motion: ModelPatcher, calls: list[int]) -> None:
    assert torch.equal(sample(attach_motion(base, motion, 0.0)), sample(base))
    assert not calls


def test_small_gamma_is_near_the_image_model_and_grows(base: ModelPatcher, motion: ModelPatcher) -> None:
    image = sample(base)
    distances = [(sample(attach_motion(base, motion, gamma)) - image).norm() for gamma in (0.001, 0.002, 0.1, 1.0)]
    assert distances == sorted(distances)
    assert distances[1] / distances[0] == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize(
    "options",
    [{}, {"gamma": torch.tensor([0.5, 1.0, 0.8])[:, None, None]}, {"scale": 1.2}, {"grouped": True}],
    ids=["plain", "gamma of frames", "scale", "GroupNorm over all frames"],
)
def test_no_number_is_read_back_in_a_step(base: ModelPatcher, motion: ModelPatcher, options: dict[str, Any]) -> None:
    """A step reads as many as ComfyUI's own."""
    assert in_two_more_steps(attach_motion(base, motion, **options)) == in_two_more_steps(base)


def in_two_more_steps(model: ModelPatcher) -> int:
    """How many more numbers are read back in a sample of four steps than in one of two."""
    counts = []
    for sigmas in ((14.0, 6.0, 3.0, 1.0, 0.0), (14.0, 3.0, 0.0)):
        with ReadBack() as read:
            sample(model, sigmas=sigmas)
        counts.append(read.count)
    return counts[0] - counts[1]


def test_cfg_batch_equals_two_separate_calls(model: ModelPatcher, calls: list[int]) -> None:
    """Conditional and unconditional rows go through the UNet together, and their frames stay apart."""
    one_step = (14.0, 0.0)
    positive, negative = (sample(model, positive=prompt(seed), sigmas=one_step) for seed in (1, 2))
    calls.clear()
    guided = sample(model, cfg=3.0, sigmas=one_step)
    assert len(calls) == PLACES  # one UNet call with both
    assert relative_error(guided, negative + 3.0 * (positive - negative)) < 1e-4


def test_a_prompt_per_area_keeps_the_frame_count(model: ModelPatcher, calls: list[int]) -> None:
    """Two conds of one size are two rows of clips, as conditional and unconditional are."""
    both = [[prompt(1)[0][0], {"strength": 1.0}], [prompt(3)[0][0], {"strength": 1.0}]]
    sample(model, positive=both)
    assert calls == list(range(PLACES)) * STEPS


def test_tiles_of_a_clip_are_clips_of_their_own(model: ModelPatcher) -> None:
    """Another node may send several pieces of a picture through the UNet together; here it is the whole one twice."""

    def twice(apply_model: Callable[..., Tensor], options: dict[str, Any]) -> Tensor:
        x, t, c = options["input"], options["timestep"], dict(options["c"])
        c["c_crossattn"] = torch.cat([c["c_crossattn"]] * 2)
        return apply_model(torch.cat((x, x)), torch.cat((t, t)), **c)[len(x) :]

    tiled = model.clone()
    tiled.set_model_unet_function_wrapper(twice)
    expected = sample(model)
    assert relative_error(sample(tiled), expected) < 1e-4


def test_a_node_that_cuts_the_clip_is_named(model: ModelPatcher) -> None:
    def one_by_one(apply_model: Callable[..., Tensor], options: dict[str, Any]) -> Tensor:
        return apply_model(options["input"][:1], options["timestep"][:1], **options["c"])

    model.set_model_unet_function_wrapper(one_by_one)
    with pytest.raises(MotionModelError, match="called with 1 rows, and the clip has 3 frames"):
        sample(model)


# Settings and clones


def test_survives_clone(model: ModelPatcher) -> None:
    assert torch.equal(sample(model.clone().clone()), sample(model))


def test_attaching_again_replaces(base: ModelPatcher, motion: ModelPatcher, calls: list[int]) -> None:
    twice = attach_motion(attach_motion(base, motion, 0.3), motion, 0.7)
    assert len(twice.get_additional_models_with_key(KEY)) == 1
    assert torch.equal(sample(twice), sample(attach_motion(base, motion, 0.7)))
    assert len(calls) == 2 * STEPS * PLACES


def test_two_clones_with_different_gamma_do_not_mix(base: ModelPatcher, motion: ModelPatcher) -> None:
    strong, weak = attach_motion(base, motion, 1.0), attach_motion(base, motion, 0.1)
    first = sample(strong)
    sample(weak)
    assert torch.equal(sample(strong), first)


def test_the_base_and_its_other_clones_are_unaffected(base: ModelPatcher, motion: ModelPatcher) -> None:
    other, before = base.clone(), sample(base)
    model = attach_motion(base, motion)
    assert not torch.equal(sample(model), before)
    assert torch.equal(sample(base), before)
    assert torch.equal(sample(other), before)
    assert motion_config_of(base) is None
    assert motion_config_of(model) == CONFIG


def test_ad_params_are_published_to_other_packs(model: ModelPatcher) -> None:
    """IP-Adapter and Advanced-ControlNet read them, as AnimateDiff-Evolved writes them."""
    seen: list[dict[str, Any]] = []
    model.set_model_input_block_patch(lambda h, options: seen.append(options["ad_params"]) or h)
    before = set(model.model_options["transformer_options"])
    sample(model, cfg=2.0)
    assert all(params == {"full_length": FRAMES, "context_length": FRAMES, "sub_idxs": None} for params in seen)
    assert seen
    assert set(model.model_options["transformer_options"]) == before


def test_ad_params_are_there_when_controlnets_run(model: ModelPatcher) -> None:
    """They run before the UNet, and outside of what wraps it."""
    seen: list[Any] = []

    class Control(comfy.controlnet.ControlBase):
        def get_control(self, x: Tensor, t: Tensor, cond: Any, batched: int, transformer_options: Any) -> None:
            seen.append(transformer_options["ad_params"]["full_length"])

    positive = prompt(1)
    positive[0][1]["control"] = Control()
    sample(model, positive=positive)
    assert seen == [FRAMES] * STEPS


def test_ad_params_of_a_context_handler_are_kept(model: ModelPatcher) -> None:
    seen: list[dict[str, Any]] = []
    given = {"full_length": 9, "context_length": FRAMES, "sub_idxs": [2, 3, 4]}
    model.model_options["transformer_options"]["ad_params"] = given
    model.set_model_input_block_patch(lambda h, options: seen.append(options["ad_params"]) or h)
    sample(model)
    assert all(params == given for params in seen)


# Leaves nothing behind (see also `nothing_is_left`)


def test_hooks_are_there_during_a_call_only(model: ModelPatcher) -> None:
    during: list[int] = []
    between: list[int] = []
    model.set_model_input_block_patch(lambda h, options: during.append(hooks(model)) or h)
    sample(model, callback=lambda *_: between.append(hooks(model)))
    assert set(during) == {PLACES + 1}  # and one that notes that the UNet ran
    assert set(between) == {0}


def stop(*_: Any) -> None:
    raise comfy.model_management.InterruptProcessingException


def fail(*_: Any) -> None:
    raise RuntimeError("out of memory")


@pytest.mark.parametrize("error", [stop, fail])
def test_nothing_is_left_after_an_error_between_calls(
    error: Callable[..., None], base: ModelPatcher, model: ModelPatcher
) -> None:
    before, expected = sample(base), sample(model)
    with pytest.raises((comfy.model_management.InterruptProcessingException, RuntimeError)):
        sample(model, callback=error)
    assert not hooks(model)
    assert torch.equal(sample(base), before)
    assert torch.equal(sample(model), expected)


@pytest.mark.parametrize("error", [stop, fail])
def test_nothing_is_left_after_an_error_in_a_call(error: Callable[..., None], model: ModelPatcher) -> None:
    expected, broken = sample(model), model.clone()
    broken.set_model_input_block_patch(error)
    with pytest.raises((comfy.model_management.InterruptProcessingException, RuntimeError)):
        sample(broken)
    assert not hooks(model)
    assert torch.equal(sample(model), expected)


def test_a_clone_may_die_in_mid_run(model: ModelPatcher, calls: list[int]) -> None:
    expected = sample(model)
    calls.clear()
    clones = [model.clone()]

    def collect(*_: Any) -> None:
        clones.clear()
        gc.collect()

    assert torch.equal(sample(model, callback=collect), expected)
    assert calls == list(range(PLACES)) * STEPS


def test_unloading_and_sampling_again(model: ModelPatcher) -> None:
    expected = sample(model)
    comfy.model_management.unload_all_models()
    assert torch.equal(sample(model), expected)


# LoRAs


def lora_on_everything(model: ModelPatcher, style: str) -> dict[str, Tensor]:
    """A LoRA with a weight for every name of one naming style that ComfyUI matches."""
    starts = {
        "diffusers": ("lora_unet_down", "lora_unet_mid_block", "lora_unet_up", "lora_unet_conv", "lora_unet_time_emb")
    }
    starts["ldm"] = ("diffusion_model.",)
    names = comfy.lora.model_lora_keys_unet(model.model, {})
    lora: dict[str, Tensor] = {}
    for name in (name for name in names if name.startswith(starts[style])):
        lora[f"{name}.lora_up.weight"], lora[f"{name}.lora_down.weight"] = torch.ones(1, 1), torch.ones(1, 1)
    return lora


@pytest.mark.parametrize("style", ["ldm", "diffusers"])
def test_loras_match_every_weight_before_and_after(style: str, tmp_path: Path) -> None:
    base = build_model(channel_mult=(1, 2, 4, 4))  # SD1.5's, which takes one more skip connection than the mini's
    config = MotionConfig((32, 64, 128, 128), (128, 128, 64, 32), 128)
    for net in (base.model, module := MotionModule(config)):
        fill(net, seed=6)
    safetensors.torch.save_file(published_state_dict(module.state_dict()), tmp_path / "motion.safetensors")
    model = attach_motion(base, load_motion_module(str(tmp_path / "motion.safetensors")))
    lora = lora_on_everything(base, style)

    def matched(patcher: ModelPatcher) -> set[str]:
        patched, _ = comfy.sd.load_lora_for_models(patcher, None, lora, 1.0, 0.0)
        return {key for key in patched.patches if base.model.state_dict()[key].ndim > 1}

    before = matched(base)
    assert len(before) == LORA_WEIGHTS
    sample(model)
    assert matched(base) == matched(model) == before


def test_a_lora_changes_the_video_and_only_there(base: ModelPatcher, motion: ModelPatcher) -> None:
    name = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
    lora = {f"{name}.lora_up.weight": torch.ones(64, 1), f"{name}.lora_down.weight": torch.ones(1, CONTEXT)}
    styled, _ = comfy.sd.load_lora_for_models(base, None, lora, 1.0, 0.0)
    plain = sample(attach_motion(base, motion))
    assert relative_error(sample(attach_motion(styled, motion)), plain) > 1e-3
    assert torch.equal(sample(attach_motion(base, motion)), plain)
    sample(base)  # puts the weights back


# Refuses


def test_too_long_a_clip_is_refused_before_the_first_step(model: ModelPatcher, calls: list[int]) -> None:
    with pytest.raises(MotionModelError, match="65 frames.*positions for 64"):
        sample(model, frames=65)
    assert not calls


def test_the_longest_clip_works(model: ModelPatcher) -> None:
    assert sample(model, frames=64, sigmas=(14.0, 0.0)).isfinite().all()


def test_a_single_frame_is_warned_about(model: ModelPatcher, caplog: pytest.LogCaptureFixture) -> None:
    sample(model, frames=1)
    assert "single frame has no motion" in caplog.text


def test_a_motion_module_of_animatediff_evolved_beside_it_is_warned_about(
    model: ModelPatcher, motion: ModelPatcher, caplog: pytest.LogCaptureFixture
) -> None:
    sample(model)
    assert "AnimateDiff-Evolved" not in caplog.text
    model.set_additional_models("ADE", [motion.clone()])
    sample(model)
    assert "motion module of AnimateDiff-Evolved too, and both move the video" in caplog.text


@pytest.mark.parametrize("kind", [comfy.supported_models.SDXL, comfy.supported_models.SD20], ids=["SDXL", "SD2"])
def test_other_kinds_of_models_are_named(kind: type, motion: ModelPatcher) -> None:
    with pytest.raises(MotionModelError, match=f"{kind.__name__}.*Load an SD1.5 checkpoint"):
        attach_motion(build_model(kind), motion)


def test_a_module_of_another_width_is_named(base: ModelPatcher, tmp_path: Path) -> None:
    config = MotionConfig((32, 64, 96, 96), (96, 96, 64, 32), 96)
    tensors = published_state_dict(fill(MotionModule(config), seed=5).state_dict())
    safetensors.torch.save_file(tensors, tmp_path / "wide.safetensors")
    with pytest.raises(MotionModelError, match=r"widths \[32, 64\].*widths \[32, 64, 96\]"):
        attach_motion(base, load_motion_module(str(tmp_path / "wide.safetensors")))


def test_a_node_that_skips_layers_is_found_out(model: ModelPatcher, base: ModelPatcher) -> None:
    def skip_middle(executor: Any, *args: Any, **kwargs: Any) -> Tensor:
        unet = executor.class_obj
        middle, unet.middle_block = unet.middle_block, torch.nn.Sequential()
        try:
            return executor(*args, **kwargs)
        finally:
            unet.middle_block = middle

    model.add_wrapper(WrappersMP.DIFFUSION_MODEL, skip_middle)
    with pytest.raises(MotionModelError, match="20 of 21 parts of the motion module ran"):
        sample(model)


# Full size, and loading


def test_a_cache_may_answer_in_place_of_the_unet(model: ModelPatcher, calls: list[int]) -> None:
    """As ComfyUI's EasyCache does."""

    def cached(executor: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return torch.zeros_like(x)

    model.add_wrapper(WrappersMP.DIFFUSION_MODEL, cached)
    assert torch.isfinite(sample(model)).all()
    assert not calls


def test_the_places_have_the_widths_of_sd15() -> None:
    unet = UNetModel(
        **(UNET | {"model_channels": 320, "channel_mult": (1, 2, 4, 4), "context_dim": 768}),
        num_heads=8,
        device="meta",
        operations=comfy.ops.disable_weight_init,
    )
    config = MotionConfig((320, 640, 1280, 1280), (1280, 1280, 640, 320), 1280)
    assert [width(place) for place in places(unet, config)] == widths(config)
    assert len(widths(config)) == PLACES


def test_load_gives_a_patcher_that_can_be_made_again(path: str) -> None:
    """ComfyUI makes one per GPU, and one outside of dynamic VRAM, from `cached_patcher_init`."""
    patcher = load_motion_module(path)
    make, arguments = patcher.cached_patcher_init
    again = make(*arguments, disable_dynamic=True)
    assert type(again) is ModelPatcher
    assert again.model.config == patcher.model.config == CONFIG


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_files_run_where_the_device_lets_them(
    dtype: torch.dtype, base: ModelPatcher, weights: dict[str, Tensor], tmp_path: Path
) -> None:
    tensors = {key: value.to(dtype) for key, value in published_state_dict(weights).items()}
    safetensors.torch.save_file(tensors, tmp_path / "half.safetensors")
    model = attach_motion(base, load_motion_module(str(tmp_path / "half.safetensors")))
    assert sample(model).isfinite().all()
