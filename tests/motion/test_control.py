"""ControlNets and T2I adapters with a motion module, through ComfyUI's own nodes: one hint per frame."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import comfy.cldm.cldm
import comfy.controlnet
import comfy.ops
import comfy.sample
import comfy.samplers
import pytest
import safetensors.torch
import torch
from animatelcm.motion.attach import attach_motion, load_motion_module
from animatelcm.motion.config import MotionConfig
from animatelcm.motion.grammar import published_state_dict
from animatelcm.motion.transformer import MotionModule
from animatelcm.nodes.mini import register_mini
from comfy.model_patcher import ModelPatcher
from comfy.t2i_adapter.adapter import Adapter
from torch import Tensor, nn

import nodes

from ..nodes.conftest import UNET, WIDTHS
from ..relative_error import relative_error
from .comfy_model import SIGMAS, SIZE, Conds, build_model, hooks, prompt
from .conftest import fill

FRAMES, ONE_STEP = 4, (14.0, 0.0)
Control = comfy.controlnet.ControlBase
HINTS = torch.rand(FRAMES, 8 * SIZE, 8 * SIZE, 3, generator=torch.Generator().manual_seed(5))
NOISE = torch.randn(FRAMES, 4, SIZE, SIZE, generator=torch.Generator().manual_seed(6))


def controlnet(seed: int = 7, **changes: Any) -> nn.Module:
    """SD1.5's ControlNet, as narrow as the model; its zero convolutions have weights as all others have."""
    not_its = ("out_channels", "use_temporal_attention")
    sizes = {name: value for name, value in (UNET | changes).items() if name not in not_its}
    operations = comfy.ops.disable_weight_init
    return fill(comfy.cldm.cldm.ControlNet(**sizes, num_heads=8, hint_channels=3, operations=operations), seed)


def adapter(widths: tuple[int, ...] = WIDTHS) -> nn.Module:
    network = Adapter(channels=list(widths), cin=3 * 64, nums_rb=2, ksize=1, sk=True, use_conv=False, xl=False)
    return fill(network, seed=8)


def build_controlnet(seed: int = 7) -> Control:
    return comfy.controlnet.ControlNet(controlnet(seed), load_device=torch.device("cpu"))


def build_adapter() -> Control:
    return comfy.controlnet.T2IAdapter(adapter(), 3, 8, "nearest-exact", device=torch.device("cpu"))


@pytest.fixture(scope="module")
def motion(tmp_path_factory: pytest.TempPathFactory, weights: dict[str, Tensor]) -> ModelPatcher:
    path = tmp_path_factory.mktemp("motion") / "motion.safetensors"
    safetensors.torch.save_file(published_state_dict(weights), Path(path))
    return load_motion_module(str(path))


@pytest.fixture(scope="module")
def model(base: ModelPatcher, motion: ModelPatcher) -> ModelPatcher:
    return attach_motion(base, motion)


@pytest.fixture(scope="module")
def still(base: ModelPatcher, motion: ModelPatcher) -> ModelPatcher:
    """With the motion module attached, and nothing of it: every frame is an image of its own."""
    return attach_motion(base, motion, gamma=0.0)


@pytest.fixture(params=[build_controlnet, build_adapter], ids=["ControlNet", "T2I adapter"])
def control(request: pytest.FixtureRequest) -> Control:
    return request.param()


def conds(
    control: Control | None = None,
    hints: Tensor = HINTS,
    strength: float = 1.0,
    time: tuple[float, float] = (0.0, 1.0),
    before: tuple[Conds, Conds] | None = None,
) -> tuple[Conds, Conds]:
    """The two prompts, with a control on both as 'Apply ControlNet' puts it."""
    positive, negative = before or (prompt(1), prompt(2))
    if control is None:
        return positive, negative
    apply = nodes.ControlNetApplyAdvanced().apply_controlnet
    return apply(positive, negative, control, hints, strength, *time)


def sample(
    model: ModelPatcher,
    both: tuple[Conds, Conds],
    cfg: float = 1.0,
    noise: Tensor = NOISE,
    sigmas: tuple[float, ...] = ONE_STEP,
    latent: Tensor | None = None,
) -> Tensor:
    latent = torch.zeros_like(noise) if latent is None else latent
    sampler, steps = comfy.samplers.sampler_object("euler"), torch.tensor(sigmas)
    options: dict[str, Any] = {"disable_pbar": True, "seed": 1}
    found = comfy.sample.sample_custom(model, noise, cfg, sampler, steps, *both, latent, **options)
    assert not hooks(model)
    return found


def frame_by_frame(
    model: ModelPatcher, control: Control, cfg: float = 1.0, sigmas: tuple[float, ...] = ONE_STEP
) -> Tensor:
    """The oracle: every frame sampled alone, with its own hint."""
    frames = [slice(i, i + 1) for i in range(FRAMES)]
    return torch.cat([sample(model, conds(control, HINTS[i]), cfg, NOISE[i], sigmas) for i in frames])


def assert_same(found: Tensor, expected: Tensor) -> None:
    assert relative_error(found, expected) < 1e-4


def far(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().amax((1, 2, 3)).min() > 1e-3 * other.abs().max())


@pytest.mark.parametrize("cfg", [1.0, 2.0])
def test_every_frame_has_its_own_hint(base: ModelPatcher, still: ModelPatcher, control: Control, cfg: float) -> None:
    found = sample(still, conds(control), cfg, sigmas=SIGMAS)
    assert far(found, sample(still, conds(), cfg, sigmas=SIGMAS))
    assert_same(found, frame_by_frame(base, control, cfg, SIGMAS))


@pytest.mark.parametrize("cfg", [1.0, 2.0])
@pytest.mark.parametrize(
    ("hints", "seen"),
    [
        (HINTS[:1], HINTS[[0, 0, 0, 0]]),
        (HINTS[:3], HINTS[[0, 1, 2, 0]]),
        (torch.cat((HINTS, 1 - HINTS[:2])), HINTS),
    ],
    ids=["one is every frame's", "fewer are repeated", "more are cut"],
)
def test_hints_are_spread_over_the_frames(
    still: ModelPatcher, control: Control, hints: Tensor, seen: Tensor, cfg: float
) -> None:
    """Twice as many as frames is left out: with guidance ComfyUI gives the second half to the negative prompt."""
    assert_same(sample(still, conds(control, hints), cfg), sample(still, conds(control, seen), cfg))


def test_guidance_weighs_both_prompts_with_the_control(model: ModelPatcher, control: Control) -> None:
    """With motion: the frames of both prompts, and their hints, go through the UNet together and stay apart."""
    both = conds(control)
    positive, negative = (sample(model, (prompts, prompts)) for prompts in both)
    assert far(positive, negative)
    assert_same(sample(model, both, 3.0), negative + 3.0 * (positive - negative))


def test_the_motion_module_takes_part(base: ModelPatcher, model: ModelPatcher, control: Control) -> None:
    found = sample(model, conds(control))
    assert far(found, sample(model, conds()))
    assert far(found, frame_by_frame(base, control))


def test_hints_and_frames_change_places_together(still: ModelPatcher, control: Control) -> None:
    order = torch.tensor([2, 0, 3, 1])
    moved = sample(still, conds(control, HINTS[order]), noise=NOISE[order])
    assert_same(moved, sample(still, conds(control))[order])


@pytest.mark.parametrize("second", [build_adapter, lambda: build_controlnet(9)], ids=["T2I adapter", "ControlNet"])
def test_two_in_a_row_add_up(base: ModelPatcher, still: ModelPatcher, second: Callable[[], Control]) -> None:
    one, other = build_controlnet(), second()
    both = conds(other, HINTS.flip(0), before=conds(one))
    found = sample(still, both)
    alone = [
        sample(
            base,
            conds(other, HINTS.flip(0)[i : i + 1], before=conds(one, HINTS[i : i + 1])),
            noise=NOISE[i : i + 1],
        )
        for i in range(FRAMES)
    ]
    assert_same(found, torch.cat(alone))
    assert_same(found, sample(still, conds(one, before=conds(other, HINTS.flip(0)))))
    assert far(found, sample(still, conds(one)))
    assert far(found, sample(still, conds(other, HINTS.flip(0))))


def test_strength_scales_what_it_does(model: ModelPatcher, control: Control) -> None:
    nothing, half, whole = (sample(model, conds(control, strength=strength)) for strength in (0.0, 0.5, 1.0))
    assert torch.equal(nothing, sample(model, conds()))
    assert far(half, nothing) and far(whole, half)


@pytest.mark.parametrize(
    ("time", "steps"),
    [((0.0, 1.0), (True, True)), ((0.0, 0.3), (True, False)), ((0.3, 1.0), (False, True)), ((0.99, 1.0), (False,) * 2)],
)
def test_it_works_from_its_start_to_its_end(
    model: ModelPatcher, control: Control, time: tuple[float, float], steps: tuple[bool, bool]
) -> None:
    """The first of the two steps is at the start, the second after 0.3 of the way: the oracle takes them singly."""
    high, low, end = SIGMAS
    first, second = (conds(control if seen else None) for seen in steps)
    between = sample(model, first, sigmas=(high, low))
    expected = sample(model, second, noise=torch.zeros_like(NOISE), sigmas=(low, end), latent=between)
    assert_same(sample(model, conds(control, time=time), sigmas=SIGMAS), expected)
    assert far(expected, sample(model, conds(), sigmas=SIGMAS)) == any(steps)


# Files

WIDE = {"model_channels": 64, "channel_mult": (1, 2, 4, 4)}  # the narrowest that ComfyUI's loaders know


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelPatcher, ModelPatcher]:
    """A model without and with a motion module."""
    model = build_model(**WIDE)
    fill(model.model, seed=2)
    widths = tuple(WIDE["model_channels"] * factor for factor in WIDE["channel_mult"])
    module = fill(MotionModule(MotionConfig(widths, widths[::-1], widths[-1])), seed=1)
    path = tmp_path_factory.mktemp("motion") / "wide.safetensors"
    safetensors.torch.save_file(published_state_dict(module.state_dict()), path)
    return model, attach_motion(model, load_motion_module(str(path)), gamma=0.0)


@pytest.mark.parametrize(
    "network", [lambda: controlnet(**WIDE), lambda: adapter((64, 128, 256, 256))], ids=["ControlNet", "T2I adapter"]
)
def test_files_are_read_by_comfyuis_own_loader(
    wide: tuple[ModelPatcher, ModelPatcher], network: Callable[[], nn.Module], tmp_path: Path
) -> None:
    register_mini()  # a ControlNet of this width is known as the mini family's
    base, still = wide
    safetensors.torch.save_file(network().state_dict(), tmp_path / "control.safetensors")
    control = comfy.controlnet.load_controlnet(str(tmp_path / "control.safetensors"))
    found = sample(still, conds(control))
    assert_same(found, frame_by_frame(base, control))
    assert far(found, sample(still, conds()))
