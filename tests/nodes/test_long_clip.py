"""Long clips in windows, through ComfyUI's own sampling.

Where frames do not see each other (an image model), a clip in windows is the clip at once: whatever belongs to a frame
has to follow it. Where they do, a window is a short clip of its own.
"""

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

import comfy.cldm.cldm
import comfy.controlnet
import comfy.hooks
import comfy.model_management
import comfy.ops
import comfy.sample
import comfy.samplers
import comfy.utils
import pytest
import torch
from animatelcm.motion.attach import MotionModelError
from animatelcm.nodes.long_clip import AnimateLCMLongClip
from animatelcm.nodes.preflight import with_mask_check
from animatelcm.sampling.model_sampling import consistency_sampler
from animatelcm.sampling.noise import held, initial_noise, repeated
from animatelcm.sampling.windows import WindowError, WindowPlan, shares, windows
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from comfy.t2i_adapter.adapter import Adapter
from comfy_extras.nodes_context_windows import ContextWindowsManualNode
from torch import Tensor, nn

import nodes

from ..relative_error import relative_error
from .conftest import CONTEXT, SIZE, UNET, WIDTHS, fill

FRAMES, LENGTH, OVERLAP = 9, 4, 1
# As windows from afar start: neighbours with the same noise
NOISE = held(torch.randn(FRAMES, 4, SIZE, SIZE, generator=torch.Generator().manual_seed(6)), 3)
SIGMAS = torch.tensor([14.0, 2.0, 0.0])
Conds = list[list[Any]]


def long(model: ModelPatcher, **inputs: Any) -> ModelPatcher:
    defaults = {"length": LENGTH, "overlap": OVERLAP, "loop": False, "repeat_noise": 0.0, "stride": 1}
    defaults |= {"windows": "from afar", "weights": "pyramid"}
    return AnimateLCMLongClip.execute(model, **{**defaults, **inputs})[0]


def sample(
    model: ModelPatcher,
    positive: Conds,
    negative: Conds | None = None,
    noise: Tensor = NOISE,
    sampler: Any = None,
    sigmas: Tensor = SIGMAS,
    **options: Any,
) -> Tensor:
    latent, cfg = torch.zeros_like(noise), 2.0 if negative else 1.0
    sampler = sampler or comfy.samplers.sampler_object("euler")
    options = {"disable_pbar": True, "seed": 1, **options}
    return comfy.sample.sample_custom(
        model, noise, cfg, sampler, sigmas, positive, negative or positive, latent, **options
    )


def prompt(seed: int, rows: int = 1, tokens: int = 8, **values: Any) -> Conds:
    return [[torch.randn(rows, tokens, CONTEXT, generator=torch.Generator().manual_seed(seed)), values]]


def assert_same(found: Tensor, expected: Tensor) -> None:
    # random weights make much of what a batch of another size rounds differently
    assert relative_error(found, expected) < 2e-3


# What belongs to a frame follows it


def hints(count: int, seed: int = 5) -> Tensor:
    return torch.rand(count, 8 * SIZE, 8 * SIZE, 3, generator=torch.Generator().manual_seed(seed))


def controlnet(seed: int = 7) -> Any:
    sizes = {name: value for name, value in UNET.items() if name not in ("out_channels", "use_temporal_attention")}
    net = comfy.cldm.cldm.ControlNet(**sizes, num_heads=8, hint_channels=3, operations=comfy.ops.disable_weight_init)
    return comfy.controlnet.ControlNet(fill(net, seed), load_device=torch.device("cpu"))


def adapter() -> Any:
    net: nn.Module = Adapter(channels=list(WIDTHS), cin=3 * 64, nums_rb=2, ksize=1, sk=True, use_conv=False, xl=False)
    return comfy.controlnet.T2IAdapter(fill(net, 8), 3, 8, "nearest-exact", device=torch.device("cpu"))


def controlled(conds: Conds, *controls: Any, count: int = FRAMES, end: float = 1.0) -> Conds:
    for i, control in enumerate(controls):
        conds = nodes.ControlNetApplyAdvanced().apply_controlnet(conds, [], control, hints(count, i), 1.0, 0.0, end)[0]
    return conds


def masked(conds: Conds, count: int, **values: Any) -> Conds:
    mask = torch.rand(count, SIZE, SIZE, generator=torch.Generator().manual_seed(count))
    told = {"mask": mask, "set_area_to_bounds": False, "mask_strength": 1.0, **values}
    return [[embedding, {**before, **told}] for embedding, before in conds]


BELONGINGS: dict[str, Callable[[], Conds]] = {
    "a prompt for all": lambda: prompt(1),
    "a prompt per frame": lambda: prompt(1, FRAMES),
    "prompts for fewer frames": lambda: prompt(1, 4),
    "a mask per frame": lambda: masked(prompt(1), FRAMES) + prompt(2),
    "masks for fewer frames": lambda: masked(prompt(1), 3) + prompt(2),
    "a mask for all": lambda: masked(prompt(1), 1) + prompt(2),
    "an area": lambda: prompt(1, FRAMES, area=(4, 4, 2, 2)) + prompt(2),
    "a part of the steps": lambda: prompt(1, FRAMES, end_percent=0.3) + prompt(2, start_percent=0.3),
    "hints": lambda: controlled(prompt(1), controlnet()),
    "fewer hints": lambda: controlled(prompt(1), controlnet(), count=4),
    "a hint for all": lambda: controlled(prompt(1), controlnet(), count=1),
    "more hints": lambda: controlled(prompt(1), controlnet(), count=FRAMES + 3),
    "hints of a chain": lambda: controlled(prompt(1, FRAMES), controlnet(), adapter(), controlnet(9)),
    "hints of a T2I adapter": lambda: controlled(prompt(1), adapter()),
    "hints for a part of the steps": lambda: controlled(prompt(1), controlnet(), adapter(), end=0.5),
}
PLANS = pytest.mark.parametrize("plan", [{}, {"loop": True}, {"windows": "uniform", "stride": 2}], ids=str)


@pytest.mark.parametrize("conds", BELONGINGS.values(), ids=BELONGINGS)
def test_what_belongs_to_a_frame_follows_it(base: ModelPatcher, conds: Callable[[], Conds]) -> None:
    told = conds()
    expected = sample(with_mask_check(base), told)
    assert_same(sample(with_mask_check(long(base)), told), expected)
    assert_same(sample(with_mask_check(base), told), expected)  # nothing is left of the windows


@PLANS
def test_it_follows_in_every_kind_of_window_and_in_a_negative(base: ModelPatcher, plan: dict[str, Any]) -> None:
    positive, negative = controlled(prompt(1), controlnet()), masked(prompt(2, FRAMES), FRAMES)
    assert_same(sample(long(base, **plan), positive, negative), sample(base, positive, negative))


def test_a_noise_mask_is_the_clips(base: ModelPatcher) -> None:
    mask = (torch.arange(FRAMES) % 2).float()[:, None, None].expand(FRAMES, SIZE, SIZE)
    found, expected = (sample(model, prompt(1, FRAMES), noise_mask=mask) for model in (long(base), base))
    assert_same(found, expected)


def test_a_prompts_lora_follows_into_every_window(base: ModelPatcher, lora_prompt: Conds) -> None:
    found, expected = (sample(model, lora_prompt) for model in (long(base), base))
    assert_same(found, expected)
    assert (expected - sample(base, prompt(1))).abs().max() > 1e-3 * expected.abs().max()


@pytest.fixture
def lora_prompt() -> Conds:
    weights = {"diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (torch.randn(32, CONTEXT),)}
    hook = comfy.hooks.WeightHook(strength_model=1.0, strength_clip=0.0)
    hook.weights, hook.weights_clip, hook.need_weight_init = (
        {next(iter(weights)): ("diff", weights.popitem()[1])},
        {},
        False,
    )
    group = comfy.hooks.HookGroup()
    group.add(hook)
    return prompt(1, hooks=group)


# Windows are short clips


def test_a_clip_of_at_most_a_window_is_unchanged_to_the_bit(apply: Callable[..., ModelPatcher]) -> None:
    model, conds = apply(), prompt(1)
    for frames in (2, LENGTH):
        noise = NOISE[:frames]
        found = sample(long(model, repeat_noise=1.0), conds, noise=noise, sampler=consistency_sampler())
        assert torch.equal(found, sample(model, conds, noise=noise, sampler=consistency_sampler()))


def test_a_window_moves_as_a_clip_of_its_own(apply: Callable[..., ModelPatcher]) -> None:
    model, conds, sigmas = apply(), prompt(1), torch.tensor([10.0, 0.0])
    found = sample(long(model, overlap=0, windows="fixed"), conds, noise=NOISE[:8], sigmas=sigmas)
    parts = [sample(model, conds, noise=part, sigmas=sigmas) for part in NOISE[:8].split(LENGTH)]
    assert_same(found, torch.cat(parts))
    assert (found - sample(model, conds, noise=NOISE[:8], sigmas=sigmas)).abs().max() > 1e-3


@pytest.mark.parametrize(
    "plan", [WindowPlan(LENGTH, 2), WindowPlan(LENGTH, 2, True), WindowPlan(LENGTH, 3, weights="flat")]
)
def test_predictions_are_added_up_by_their_shares(apply: Callable[..., ModelPatcher], plan: WindowPlan) -> None:
    model, conds, sigmas = apply(), prompt(1), torch.tensor([10.0, 0.0])
    options = {"overlap": plan.overlap, "loop": plan.loop, "weights": plan.weights}
    expected, now = torch.zeros_like(NOISE), windows(plan, FRAMES, 0, 1)
    for window, share in zip(now, shares(now, plan.weights), strict=True):
        alone = sample(model, conds, noise=NOISE[list(window)], sigmas=sigmas)
        expected[list(window)] += torch.tensor(share)[:, None, None, None] * alone
    assert_same(sample(long(model, **options), conds, sigmas=sigmas), expected)


def test_windows_change_from_step_to_step(base: ModelPatcher) -> None:
    seen: list[tuple[int, ...]] = []

    def watch(executor: Any, x: Tensor, t: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        options = args[3]
        seen.append((len(x), *options["ad_params"]["sub_idxs"]))
        assert options["ad_params"]["full_length"] == FRAMES
        return executor(x, t, *args, **kwargs)

    model = long(base)
    model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "watch", watch)
    sample(model, prompt(1))
    plan = WindowPlan(LENGTH, OVERLAP)
    expected = [(len(window), *window) for step in (0, 1) for window in windows(plan, FRAMES, step, 2)]
    assert seen == expected
    assert windows(plan, FRAMES, 0, 2) != windows(plan, FRAMES, 1, 2)


# Noise


class Noise:
    """SamplerCustomAdvanced's noise, drawn as KSampler draws it."""

    seed = 1

    def generate_noise(self, latent: dict[str, Tensor]) -> Tensor:
        return comfy.sample.prepare_noise(latent["samples"], self.seed)


@pytest.mark.parametrize("sampler", ["consistency", "lcm"])
def test_frames_with_the_same_noise_are_the_same_in_every_sampler(base: ModelPatcher, sampler: str) -> None:
    """An image model and one prompt: what a frame shows is its noise alone, that of the start and that of each step."""
    taken = consistency_sampler() if sampler == "consistency" else comfy.samplers.sampler_object("lcm")
    model = long(base, repeat_noise=1.0, windows="moving").clone()  # as every node that comes behind
    found = sample(model, prompt(1), noise=initial_noise(NOISE.shape, 1), sampler=taken)
    order = torch.arange(FRAMES) % LENGTH
    assert_same(found, found[order])
    free = sample(long(base), prompt(1), noise=initial_noise(NOISE.shape, 1), sampler=taken)
    assert (free - free[order]).abs().max() > 0.1 * free.abs().max()


def test_the_steps_noise_is_that_of_the_latents_own_frames(base: ModelPatcher) -> None:
    """Frames with a "batch_index" have the noise of those numbers in every step, of which the first window repeats."""
    later = range(5, 5 + FRAMES)
    found, plain = (
        sample(long(base, repeat_noise=1.0, windows="moving"), prompt(1), sampler=consistency_sampler(numbers))
        for numbers in (later, None)
    )
    assert (found - plain).abs().max() > 0.1 * plain.abs().max()


def test_samplers_of_comfyui_start_from_the_same_noise(apply: Callable[..., ModelPatcher]) -> None:
    started: list[Tensor] = []

    def watch(executor: Any, noise: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        started.append(noise)
        return executor(noise, *args, **kwargs)

    from animatelcm.nodes.sampler import AnimateLCMSampler
    from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced

    model, conds, latent = (
        long(apply(), repeat_noise=0.8, windows="moving"),
        prompt(1),
        {"samples": torch.zeros_like(NOISE)},
    )
    model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, "watch", watch)
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(conds, conds)
    AnimateLCMSampler.execute(model, conds, latent, 1, 1, 1.0, 1.0)
    nodes.KSampler().sample(model, 1, 1, 1.0, "lcm", "sgm_uniform", conds, conds, latent)
    SamplerCustomAdvanced.execute(Noise(), guider, consistency_sampler(), torch.tensor([10.0, 0.0]), latent)
    expected = repeated(initial_noise(NOISE.shape, 1), LENGTH, 0.8)
    assert len(started) == 3
    for noise in started:
        torch.testing.assert_close(noise.cpu(), expected)


def test_from_afar_neighbours_start_from_the_same_noise(base: ModelPatcher) -> None:
    """Of pure noise; what is there already is seen as it is."""
    started: list[Tensor] = []

    def watch(executor: Any, noise: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        started.append(noise)
        return executor(noise, *args, **kwargs)

    model, noise = long(base), initial_noise(NOISE.shape, 1)
    model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, "watch", watch)
    for sigmas in ([14.0, 3.0, 0.0], [4.0, 1.0, 0.0]):
        sample(model, prompt(1), noise=noise, sigmas=torch.tensor(sigmas))
    torch.testing.assert_close(started[0].cpu(), held(noise, 3))
    torch.testing.assert_close(started[1].cpu(), noise)


# How it sits in ComfyUI


def test_room_is_made_for_one_window(base: ModelPatcher) -> None:
    asked: list[list[int]] = []

    def watch(executor: Any, model: Any, noise_shape: Any, *args: Any, **kwargs: Any) -> Any:
        asked.append(list(noise_shape))
        return executor(model, noise_shape, *args, **kwargs)

    model = long(base)
    model.add_wrapper_with_key(WrappersMP.PREPARE_SAMPLING, "watch", watch)
    sample(model, prompt(1))
    sample(model, prompt(1), noise=NOISE[:2])
    assert asked == [[LENGTH, 4, SIZE, SIZE], [2, 4, SIZE, SIZE]]


def test_progress_counts_windows(base: ModelPatcher) -> None:
    moved: list[tuple[int, int]] = []
    comfy.utils.set_progress_bar_global_hook(lambda value, total, *args, **kwargs: moved.append((value, total)))
    try:
        sample(long(base), prompt(1))
    finally:
        comfy.utils.set_progress_bar_global_hook(None)
    counts = [len(windows(WindowPlan(LENGTH, OVERLAP), FRAMES, step, 2)) for step in (0, 1)]
    after_steps = {counts[0], sum(counts)}  # the sampler's own callback counts these
    assert moved == [(done, sum(counts)) for done in range(1, sum(counts)) if done not in after_steps]


def test_an_interrupt_stops_between_windows_and_nothing_is_left_behind(base: ModelPatcher) -> None:
    calls = []

    def interrupt(executor: Any, *args: Any, **kwargs: Any) -> Tensor:
        calls.append(args)
        if len(calls) == 2:
            comfy.model_management.interrupt_current_processing()
        return executor(*args, **kwargs)

    control = controlnet()
    conds = controlled(prompt(1), control)
    (used,) = (values["control"] for _, values in conds)
    before = used.cond_hint_original
    model = long(base)
    model.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, "interrupt", interrupt)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        sample(model, conds)
    assert len(calls) == 2
    assert used.cond_hint_original is before


def test_other_windows_are_named_and_the_later_node_wins(
    base: ModelPatcher, caplog: pytest.LogCaptureFixture, comfyuis: Callable[[ModelPatcher], ModelPatcher]
) -> None:
    caplog.set_level(logging.WARNING)
    ours = long(comfyuis(base))
    assert "has windows from an earlier node (IndexListContextHandler)" in caplog.text
    assert_same(sample(ours, prompt(1, FRAMES)), sample(base, prompt(1, FRAMES)))
    caplog.clear()
    theirs = comfyuis(long(base, repeat_noise=1.0))
    short = sample(theirs, prompt(1), noise=NOISE[:LENGTH])  # theirs fails on long ones in older versions
    assert "another node's windows, IndexListContextHandler, replace those" in caplog.text
    assert_same(short, sample(base, prompt(1), noise=NOISE[:LENGTH]))


@pytest.fixture
def comfyuis() -> Callable[[ModelPatcher], ModelPatcher]:
    """ComfyUI's own node, with its defaults where it has more inputs."""
    inputs = ContextWindowsManualNode.GET_SCHEMA().inputs
    settings = {i.id: next(iter(getattr(i, "options", None) or [getattr(i, "default", None)])) for i in inputs}
    settings |= {"context_length": LENGTH, "context_overlap": OVERLAP, "dim": 0}

    def run(model: ModelPatcher) -> ModelPatcher:
        return ContextWindowsManualNode.execute(**{**settings, "model": model})[0]

    return run


def test_a_stride_that_does_not_fit_is_said(base: ModelPatcher, caplog: pytest.LogCaptureFixture) -> None:
    sample(long(base, windows="uniform", stride=2), prompt(1))
    assert "stride" not in caplog.text
    sample(long(base, windows="uniform", stride=4), prompt(1))
    assert f"{FRAMES} frames are too few for a stride of 4: it is 2." in caplog.text


def test_the_same_node_again_replaces_the_first(base: ModelPatcher, caplog: pytest.LogCaptureFixture) -> None:
    twice = long(long(base, overlap=3), overlap=OVERLAP)
    assert "has windows from an earlier node (LongClip)" in caplog.text
    expected = sample(long(base), prompt(1))
    assert torch.equal(sample(twice, prompt(1)), expected)
    assert [len(wrappers) for wrappers in twice.wrappers[WrappersMP.OUTER_SAMPLE].values()] == [1]


def test_the_model_itself_is_not_changed(base: ModelPatcher) -> None:
    before = dict(base.model_options)
    long(base)
    assert base.model_options == before
    assert not base.wrappers.get(WrappersMP.PREPARE_SAMPLING)


def test_windows_longer_than_the_motion_modules_positions_are_refused(
    apply: Callable[..., ModelPatcher], motion: ModelPatcher
) -> None:
    motion.model.config = dataclasses.replace(motion.model.config, max_frames=24)  # as the first motion modules have
    with pytest.raises(MotionModelError, match="windows have 25 frames, and the motion module has positions for 24"):
        long(apply(), length=25)


def test_an_overlap_of_whole_windows_is_refused(base: ModelPatcher) -> None:
    with pytest.raises(WindowError, match="Windows of 4 frames cannot overlap by 4"):
        long(base, overlap=4)
