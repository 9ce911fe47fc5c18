"""Pictures on a real ComfyUI model: the frames are told of them where AnimateLCM-I2V tells them, once per clip."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import comfy.model_management
import pytest
import safetensors.torch
import torch
from animatelcm.motion.attach import MotionModelError, attach_motion, load_motion_module
from animatelcm.motion.attach_image import KEY, Pictures, Told, attach_pictures
from animatelcm.motion.grammar import published_state_dict
from animatelcm.motion.transformer import MotionModule
from animatelcm.sampling.model_sampling import apply_schedule
from animatelcm.sampling.schedule import I2V, step_sigmas
from comfy.model_patcher import ModelPatcher
from comfy_extras.nodes_model_downscale import PatchModelAddDownscale
from torch import Tensor

from ..relative_error import relative_error
from .comfy_model import FRAMES, SIZE, STEPS, hooks, prompt, sample
from .conftest import CONFIG, fill
from .test_image_encoder import WIDTHS, oracle, published

LATENT_SCALE = 0.18215  # SD1.5's
LAST_INPUT_BLOCKS = (2, 5, 8, 11)  # of each down block, in ComfyUI's count
ONE_STEP = (14.0, 0.0)


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    """A motion module with an image encoder, as in a file."""
    config = dataclasses.replace(CONFIG, image_encoder=published(WIDTHS))
    return published_state_dict(fill(MotionModule(config), seed=7).state_dict())


@pytest.fixture(scope="module")
def motion(tmp_path_factory: pytest.TempPathFactory, tensors: dict[str, Tensor]) -> ModelPatcher:
    path = tmp_path_factory.mktemp("motion") / "i2v.safetensors"
    safetensors.torch.save_file(tensors, path)
    return load_motion_module(str(path))


@pytest.fixture
def model(base: ModelPatcher, motion: ModelPatcher) -> ModelPatcher:
    return attach_motion(base, motion)


@pytest.fixture(autouse=True)
def nothing_is_left(base: ModelPatcher) -> Iterator[None]:
    yield
    assert not hooks(base)


def pictures(count: int = 1, **changes: Any) -> Pictures:
    latents = torch.randn(count, 4, SIZE, SIZE, generator=torch.Generator().manual_seed(8)) / LATENT_SCALE
    keyframes = {1: (0,), 2: (0, FRAMES - 1), FRAMES: tuple(range(FRAMES))}[count]
    return Pictures(latents, keyframes, **changes)


def test_features_are_added_at_the_end_of_each_down_block(
    base: ModelPatcher, motion: ModelPatcher, tensors: dict[str, Tensor]
) -> None:
    """The same as ComfyUI's own patch of input blocks with the features of a float64 encoder."""
    shown = attach_pictures(attach_motion(base, motion, gamma=0.0), pictures())
    encoder = {key: value for key, value in tensors.items() if key.startswith("img_encoder.")}
    latents = (pictures().latents * LATENT_SCALE).expand(FRAMES, -1, -1, -1)
    features = oracle(encoder, latents, list(range(FRAMES)), 0.8)

    def add(h: Tensor, options: dict[str, Any]) -> Tensor:
        number = options["block"][1]
        return h + features[LAST_INPUT_BLOCKS.index(number)].to(h) if number in LAST_INPUT_BLOCKS else h

    expected = base.clone()
    expected.set_model_patch(add, "input_block_patch")
    assert relative_error(sample(shown), sample(expected)) < 1e-4
    assert relative_error(sample(shown), sample(base)) > 1e-2


@pytest.mark.parametrize("pictures_first", [False, True])
def test_the_motion_module_sees_the_features(base: ModelPatcher, motion: ModelPatcher, pictures_first: bool) -> None:
    """They come before the second temporal transformer of a block, whichever was attached last."""
    plain = attach_motion(base, motion)
    shown = attach_pictures(plain, pictures())
    shown = attach_motion(shown, motion) if pictures_first else shown
    seen: list[Tensor] = []
    handle = list(motion.model.blocks())[1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        sample(plain, sigmas=ONE_STEP)
        sample(shown, sigmas=ONE_STEP)
        latents = (pictures().latents * LATENT_SCALE).expand(FRAMES, -1, -1, -1)
        feature = motion.model.image_encoder(latents, torch.arange(FRAMES))[0]
    handle.remove()
    assert relative_error(seen[1], seen[0] + feature) < 1e-4


@pytest.mark.parametrize("count", [1, 2, FRAMES])
def test_cfg_batch_equals_two_separate_calls(model: ModelPatcher, count: int) -> None:
    shown = attach_pictures(model, pictures(count))
    positive, negative = (sample(shown, positive=prompt(seed), sigmas=ONE_STEP) for seed in (1, 2))
    guided = sample(shown, cfg=3.0, sigmas=ONE_STEP)
    assert relative_error(guided, negative + 3.0 * (positive - negative)) < 1e-4


def test_the_encoder_runs_once_per_clip(model: ModelPatcher, motion: ModelPatcher) -> None:
    ran: list[int] = []
    handle = motion.model.image_encoder.register_forward_hook(lambda *_: ran.append(1))
    for samples in (1, 2):
        sample(attach_pictures(model, pictures()), cfg=2.0)
        assert len(ran) == samples
    handle.remove()
    assert STEPS > 1


def test_attaching_again_replaces(model: ModelPatcher) -> None:
    twice = attach_pictures(attach_pictures(model, pictures(motion_scale=1.5)), pictures())
    assert torch.equal(sample(twice), sample(attach_pictures(model, pictures())))


@pytest.mark.parametrize(
    "changes", [{"strengths": (0.0,) * 4}, {"start": 1.0}, {"end": 0.0}], ids=["no strength", "never starts", "ended"]
)
def test_pictures_without_a_say_change_nothing(model: ModelPatcher, changes: dict[str, Any]) -> None:
    assert torch.equal(sample(attach_pictures(model, pictures(**changes))), sample(model))


def test_a_picture_may_be_told_for_a_part_of_the_sampling(model: ModelPatcher) -> None:
    sampling = model.get_model_object("model_sampling")
    half = next(share / 100 for share in range(100) if sampling.percent_to_sigma(share / 100) < sum((14.0, 3.0)) / 2)
    early, late, always = (
        sample(attach_pictures(model, pictures(start=start, end=end))) for start, end in ((0, half), (half, 1), (0, 1))
    )
    results = [sample(model), early, late, always]
    assert all(relative_error(a, b) > 1e-3 for i, a in enumerate(results) for b in results[:i])


@pytest.mark.parametrize(("end", "told"), [(0.25, 1), (0.5, 2), (0.75, 3), (1.0, 4)])
def test_a_share_of_4_steps_is_as_many_steps(
    model: ModelPatcher, motion: ModelPatcher, end: float, told: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduled, seen = apply_schedule(model, I2V), []
    added = Told.__call__
    monkeypatch.setattr(Told, "__call__", lambda told, *rest: seen.append(told.feature.any()) or added(told, *rest))
    sample(attach_pictures(scheduled, pictures(end=end)), sigmas=tuple(step_sigmas(I2V, 4).tolist()))
    assert sum(seen) == told * len(WIDTHS)


def test_a_share_of_the_sampling_without_a_step_is_said(model: ModelPatcher, caplog: pytest.LogCaptureFixture) -> None:
    sample(attach_pictures(model, pictures()))
    assert not caplog.text
    sample(attach_pictures(model, pictures(start=0.9, end=0.95)))
    assert "none of the 2 steps lies between start 0.9 and end 0.95" in caplog.text


def test_the_model_before_is_unaffected(base: ModelPatcher, model: ModelPatcher) -> None:
    before = sample(model), sample(base)
    sample(attach_pictures(model, pictures()))
    assert torch.equal(sample(model), before[0])
    assert torch.equal(sample(base), before[1])


def stop(*_: Any) -> None:
    raise comfy.model_management.InterruptProcessingException


def test_nothing_is_left_after_an_interrupt(model: ModelPatcher) -> None:
    shown = attach_pictures(model, pictures())
    expected = sample(shown)
    broken = shown.clone()
    broken.set_model_input_block_patch(stop)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        sample(broken)
    assert not hooks(shown)
    assert KEY not in shown.model_options["transformer_options"]
    assert torch.equal(sample(shown), expected)


# Refuses


def test_a_model_without_motion_module_is_named(base: ModelPatcher) -> None:
    with pytest.raises(MotionModelError, match="no motion module.*AnimateLCM_sd15_i2v.ckpt"):
        attach_pictures(base, pictures())


@pytest.mark.parametrize("attach", [attach_pictures, lambda model, pictures: sample(model)])
def test_a_module_without_an_encoder_is_named(
    model: ModelPatcher, base: ModelPatcher, tensors: dict[str, Tensor], tmp_path: Path, attach: Callable[..., Any]
) -> None:
    """When the pictures are put on it, and when it comes to a model that has them."""
    plain = {key: value for key, value in tensors.items() if "img_encoder" not in key}
    safetensors.torch.save_file(plain, tmp_path / "t2v.safetensors")
    shown = attach_motion(attach_pictures(model, pictures()), load_motion_module(str(tmp_path / "t2v.safetensors")))
    with pytest.raises(MotionModelError, match="motion module without an image encoder"):
        attach(shown, pictures())


def test_another_size_is_named_before_the_first_step(model: ModelPatcher) -> None:
    large = dataclasses.replace(pictures(), latents=torch.zeros(1, 4, 16, 12))
    with pytest.raises(MotionModelError, match="video is 64 x 64 pixels.*cropped to 96 x 128"):
        sample(attach_pictures(model, large))


def test_a_video_that_ends_before_the_last_picture_is_named(model: ModelPatcher) -> None:
    with pytest.raises(MotionModelError, match="frame 2, counted from 0, and the video has 2 frames"):
        sample(attach_pictures(model, pictures(2)), frames=2)


def test_an_area_is_named(model: ModelPatcher) -> None:
    positive = prompt(1)
    positive[0][1]["area"] = (4, 4, 0, 0)
    with pytest.raises(MotionModelError, match="area needs a mask"):
        sample(attach_pictures(model, pictures()), positive=positive)


def test_a_unet_that_is_made_to_work_at_another_scale_is_named(model: ModelPatcher) -> None:
    (shrunk,) = PatchModelAddDownscale.execute(model, 1, 2.0, 0.0, 1.0, True, "bicubic", "bicubic").args
    with pytest.raises(MotionModelError, match="Kohya Deep Shrink"):
        sample(attach_pictures(shrunk, pictures()))
