"""Apply AnimateLCM: Eq. 2 as an equation, and what it refuses."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import comfy.model_base
import comfy.utils
import folder_paths
import pytest
import torch
from animatelcm.motion.attach import KEY, MotionModelError
from animatelcm.nodes.apply import (
    ALL_FRAMES,
    AUTOMATIC,
    FRAME_BY_FRAME,
    MODELS_OWN,
    SCHEDULES,
    AnimateLCMApply,
    group_norm_of_choice,
)
from animatelcm.nodes.folders import MissingFileError
from animatelcm.sampling.model_sampling import ConsistencySampling, ScheduledSampling, ScheduleError, schedule_of
from animatelcm.sampling.schedule import ANIMATEDIFF, COMMUNITY_LCM, I2V, T2V, Schedule
from comfy.model_base import ModelType
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete
from torch import Tensor

from ..relative_error import relative_error
from .conftest import LAYER, lora, replace_with_same_time

SaveModel = Callable[[str, str, dict[str, Tensor]], str]


def merged_weight(model: ModelPatcher) -> Tensor:
    """Return the weight of `LAYER` that sampling would use."""
    model.patch_model()
    try:
        return comfy.utils.get_attr(model.model, LAYER).clone()
    finally:
        model.unpatch_model()


def residual(tensors: dict[str, Tensor], rank: int, alpha: float) -> Tensor:
    up, down = (next(tensor for key, tensor in tensors.items() if part in key) for part in ("lora_up", "lora_down"))
    return alpha / rank * (up.double() @ down.double())


def test_equation_2(base: ModelPatcher, apply: Callable[..., ModelPatcher], save_model: SaveModel) -> None:
    """w' = w0 + alpha * style + beta * acceleration; gamma's term is a branch of its own, tested with the module."""
    style, acceleration = lora(10, rank=4, alpha=2.0), lora(11, rank=8, alpha=8.0)
    names = save_model("loras", "style.safetensors", style), save_model("loras", "fast.safetensors", acceleration)
    w0 = comfy.utils.get_attr(base.model, LAYER).clone()

    model = apply(style_lora=names[0], acceleration_lora=names[1], alpha=0.7, beta=0.4)

    expected = w0.double() + 0.7 * residual(style, 4, 2.0) + 0.4 * residual(acceleration, 8, 8.0)
    assert relative_error(merged_weight(model), expected) < 1e-6
    assert torch.equal(comfy.utils.get_attr(base.model, LAYER), w0)
    assert not base.patches


def test_loras_are_merged_once_however_often_the_node_runs(
    apply: Callable[..., ModelPatcher], save_model: SaveModel
) -> None:
    name = save_model("loras", "fast.safetensors", lora(11))
    first = merged_weight(apply(acceleration_lora=name))
    assert torch.equal(merged_weight(apply(acceleration_lora=name)), first)


def test_without_loras_no_weight_changes(apply: Callable[..., ModelPatcher]) -> None:
    assert not apply().patches


@pytest.mark.parametrize(
    ("choice", "schedule"),
    [
        (AUTOMATIC, T2V),
        ("AnimateLCM T2V (reference)", T2V),
        ("AnimateLCM I2V (reference)", I2V),
        ("LCM (community)", COMMUNITY_LCM),
        ("AnimateDiff (1000 steps)", ANIMATEDIFF),
        (MODELS_OWN, None),
    ],
)
def test_a_choice_of_schedule(apply: Callable[..., ModelPatcher], choice: str, schedule: Schedule | None) -> None:
    assert schedule_of(apply(schedule=choice)) == schedule


@pytest.mark.parametrize(("encoder", "kind", "schedule"), [(None, "T2V", T2V), (object(), "I2V", I2V)])
def test_automatic_follows_the_motion_module_and_says_what_it_takes(
    apply: Callable[..., ModelPatcher],
    motion: ModelPatcher,
    caplog: pytest.LogCaptureFixture,
    encoder: object,
    kind: str,
    schedule: Schedule,
) -> None:
    object.__setattr__(motion.model.config, "image_encoder", encoder)
    with caplog.at_level(logging.INFO):
        assert schedule_of(apply()) == schedule
    assert f"schedule is 'AnimateLCM {kind} (reference)'" in caplog.text


@pytest.mark.parametrize("choice", SCHEDULES)
def test_only_a_distilled_model_is_a_consistency_model(apply: Callable[..., ModelPatcher], choice: str) -> None:
    sampling = apply(schedule=choice).get_model_object("model_sampling")
    assert isinstance(sampling, ScheduledSampling)
    assert isinstance(sampling, ConsistencySampling) == ("1000 steps" not in choice)


def test_the_schedule_stays_when_other_nodes_clone_the_model(
    base: ModelPatcher, apply: Callable[..., ModelPatcher]
) -> None:
    model = apply()
    assert schedule_of(model.clone().clone()) == T2V
    assert schedule_of(base) is None


@pytest.mark.parametrize(
    ("sampling", "zsnr", "message"),
    [
        ("v_prediction", False, "predicts v or the picture, not the noise"),
        ("v_prediction", True, "predicts v or the picture, not the noise"),
        ("x0", False, "predicts v or the picture, not the noise"),
        ("img_to_img", False, "predicts v or the picture, not the noise"),
        ("eps", True, "ends in pure noise"),
    ],
)
def test_another_prediction_that_a_node_set_before_is_refused(
    base: ModelPatcher, apply: Callable[..., ModelPatcher], sampling: str, zsnr: bool, message: str
) -> None:
    """Not sampled as if it predicted noise, bit for bit as without that node."""
    (changed,) = ModelSamplingDiscrete().patch(base, sampling, zsnr)
    with pytest.raises(ScheduleError, match=message):
        apply(changed)
    assert schedule_of(apply(changed, schedule=MODELS_OWN)) is None


@pytest.mark.parametrize("sampling", ["eps", "lcm"])
def test_a_node_that_samples_noise_otherwise_may_come_before(
    base: ModelPatcher, apply: Callable[..., ModelPatcher], sampling: str
) -> None:
    assert schedule_of(apply(ModelSamplingDiscrete().patch(base, sampling, False)[0])) == T2V


def test_a_checkpoint_of_another_prediction_is_refused(base: ModelPatcher, apply: Callable[..., ModelPatcher]) -> None:
    """As ComfyUI's loader makes it that reads a yaml file: the kind of the model is still EPS."""
    checkpoint = base.clone()
    sampling = comfy.model_base.model_sampling(base.model.model_config, ModelType.V_PREDICTION)
    checkpoint.add_object_patch("model_sampling", sampling)
    with pytest.raises(ScheduleError, match="predicts v or the picture"):
        apply(checkpoint)


@pytest.mark.parametrize("v1", [True, False])
def test_group_norm_is_over_all_frames_for_v1_modules_alone(
    apply: Callable[..., ModelPatcher],
    motion: ModelPatcher,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    v1: bool,
) -> None:
    caplog.set_level(logging.INFO)
    shape = {"mid_channels": None, "max_frames": 24} if v1 else {"max_frames": 24}
    monkeypatch.setattr(motion.model, "config", replace(motion.model.config, **shape))
    assert group_norm_of_choice(AUTOMATIC, motion) == v1
    assert ("this is a v1 motion module" in caplog.text) == v1
    assert group_norm_of_choice(ALL_FRAMES, motion)
    assert not group_norm_of_choice(FRAME_BY_FRAME, motion)


@pytest.mark.parametrize("choice", [ALL_FRAMES, FRAME_BY_FRAME])
def test_the_choice_of_group_norm_is_what_the_model_does(apply: Callable[..., ModelPatcher], choice: str) -> None:
    model = apply(group_norm=choice)
    (wrapper,) = model.wrappers[WrappersMP.APPLY_MODEL][KEY]
    assert wrapper.grouped == (choice == ALL_FRAMES)


def test_every_schedule_is_in_the_list() -> None:
    options = next(i for i in AnimateLCMApply.define_schema().inputs if i.id == "schedule").options
    assert options == [AUTOMATIC, *SCHEDULES, MODELS_OWN]


def test_a_missing_style_is_said_before_the_run(save_model: SaveModel) -> None:
    save_model("loras", "there.safetensors", lora(1))
    assert AnimateLCMApply.validate_inputs("there.safetensors") is True
    assert AnimateLCMApply.validate_inputs("none") is True
    assert AnimateLCMApply.validate_inputs(None) is True  # another node hands it over
    assert "no file 'gone.safetensors'" in AnimateLCMApply.validate_inputs("gone.safetensors")


@pytest.mark.parametrize("name", ["acceleration_lora", "style_lora"])
def test_a_missing_lora_is_said_before_sampling(apply: Callable[..., ModelPatcher], name: str) -> None:
    with pytest.raises(MissingFileError, match=r"no file 'gone\.safetensors' in models/loras"):
        apply(**{name: "gone.safetensors"})


def test_a_checkpoint_that_takes_no_motion_is_blamed_before_a_lora_that_does_not_fit_it(
    apply: Callable[..., ModelPatcher], base: ModelPatcher, save_model: SaveModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base.model, "model_config", object())
    with pytest.raises(MotionModelError, match="of the kind object"):
        apply(style_lora=save_model("loras", "style.safetensors", lora(1)))


# Files that are replaced


@pytest.mark.parametrize("name", ["acceleration_lora", "style_lora"])
def test_a_replaced_lora_is_read_again(name: str, save_model: SaveModel) -> None:
    save_model("loras", "style.safetensors", lora(1))
    first = AnimateLCMApply.fingerprint_inputs(**{name: "style.safetensors"})
    assert AnimateLCMApply.fingerprint_inputs(**{name: "style.safetensors"}) == first
    replace_with_same_time(Path(folder_paths.get_full_path_or_raise("loras", "style.safetensors")), lora(2))
    assert AnimateLCMApply.fingerprint_inputs(**{name: "style.safetensors"}) != first
