"""GroupNorm over all frames, against the same networks whose GroupNorms were written anew."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from animatelcm.motion.attach import attach_motion, load_motion_module
from animatelcm.motion.attach_compile import attach_compiler
from animatelcm.motion.grammar import published_state_dict
from animatelcm.motion.group_norm import grouped_in_training, over_all_frames
from comfy.model_patcher import ModelPatcher
from comfy_api.torch_helpers import set_torch_compile_wrapper
from einops import rearrange
from safetensors.torch import save_file
from torch import Tensor, nn

from ..relative_error import relative_error
from .comfy_model import FRAMES, hooks, prompt, sample
from .conftest import CONFIG


@pytest.fixture(scope="module")
def motion(tmp_path_factory: pytest.TempPathFactory, weights: dict[str, Tensor]) -> ModelPatcher:
    path = tmp_path_factory.mktemp("motion") / "motion.safetensors"
    save_file(published_state_dict(weights), path)
    return load_motion_module(str(path))


@pytest.fixture(autouse=True)
def nothing_is_left(base: ModelPatcher, motion: ModelPatcher) -> Iterator[None]:
    yield
    assert not hooks(base)
    assert not hooks(motion)


class Together(nn.Module):
    """A GroupNorm's own numbers, over (channels of a group, frames, height, width) of each clip."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        clips = rearrange(x, "(b f) c h w -> b c f h w", f=FRAMES)
        normed = F.group_norm(clips, self.norm.num_groups, self.norm.weight, self.norm.bias, self.norm.eps)
        return rearrange(normed, "b c f h w -> (b f) c h w")


@pytest.fixture
def rewritten(base: ModelPatcher, motion: ModelPatcher) -> Iterator[ModelPatcher]:
    """The model with its motion module, all of whose GroupNorms are `Together`."""
    found = [
        (parent, name, child)
        for net in (base.model.diffusion_model, motion.model)
        for parent in net.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.GroupNorm)
    ]
    for parent, name, child in found:
        setattr(parent, name, Together(child))
    yield attach_motion(base, motion)
    for parent, name, child in found:
        setattr(parent, name, child)


def test_the_statistics_are_those_of_all_frames() -> None:
    norm = nn.GroupNorm(4, 8).double()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(6, 8, 5, 7, dtype=torch.float64) + torch.arange(6)[:, None, None, None]
    clips = x.reshape(2, 3, 4, 2, 5, 7)  # clips, frames, groups, channels of a group
    mean = clips.mean((1, 3, 4, 5), keepdim=True)
    variance = clips.var((1, 3, 4, 5), keepdim=True, unbiased=False)
    normed = ((clips - mean) / (variance + norm.eps).sqrt()).reshape(x.shape)
    expected = normed * norm.weight[:, None, None] + norm.bias[:, None, None]
    with over_all_frames([norm], 3):
        assert relative_error(norm(x), expected) <= 1e-14
    assert relative_error(norm(x), expected) > 0.1


@pytest.mark.parametrize("cfg", [1.0, 2.0])
def test_a_sample_is_that_of_rewritten_networks(
    base: ModelPatcher, motion: ModelPatcher, request: pytest.FixtureRequest, cfg: float
) -> None:
    """With guidance, rows with the prompt and without it go through the UNet together, and are normed apart."""
    ours = sample(attach_motion(base, motion, grouped=True), cfg=cfg)
    assert relative_error(sample(attach_motion(base, motion), cfg=cfg), ours) > 1e-3
    assert relative_error(ours, sample(request.getfixturevalue("rewritten"), cfg=cfg)) <= 1e-5


def test_without_motion_the_image_model_is_normed_alike(base: ModelPatcher, motion: ModelPatcher) -> None:
    still = sample(attach_motion(base, motion, gamma=0.0, grouped=True))
    assert relative_error(still, sample(base)) > 1e-3


def test_nothing_is_compiled_and_that_is_said(
    base: ModelPatcher, motion: ModelPatcher, caplog: pytest.LogCaptureFixture
) -> None:
    grouped, told = attach_motion(base, motion, grouped=True), []
    compiled = attach_compiler(grouped, unet=True, backend="eager", say=told.append)
    assert torch.equal(sample(compiled), sample(grouped))
    assert any("GroupNorm is taken over all frames" in words for words in told)


def test_a_torch_compiled_unet_norms_alike(base: ModelPatcher, motion: ModelPatcher) -> None:
    """One graph for each way, whichever came first."""
    for grouped in (False, True, False):
        eager = attach_motion(base, motion, grouped=grouped)
        compiled = eager.clone()
        set_torch_compile_wrapper(model=compiled, backend="eager")
        assert relative_error(sample(compiled), sample(eager)) <= 1e-5


def test_hooks_are_taken_off_when_a_sample_fails(base: ModelPatcher, motion: ModelPatcher) -> None:
    wrong = prompt(1)
    wrong[0][0] = wrong[0][0][..., :-1]
    with pytest.raises(RuntimeError):
        sample(attach_motion(base, motion, grouped=True), positive=wrong)


@pytest.mark.parametrize(
    ("changes", "v1"),
    [
        ({"mid_channels": None, "max_frames": 24}, True),
        ({"mid_channels": None, "max_frames": 32}, False),  # AnimateDiff v3
        ({"max_frames": 32}, False),  # v2
        ({"mid_channels": None, "max_frames": 64}, False),  # AnimateLCM has no positions in its file
    ],
)
def test_v1_modules_are_known_by_their_shape(changes: dict[str, Any], v1: bool) -> None:
    assert grouped_in_training(replace(CONFIG, **changes)) == v1
