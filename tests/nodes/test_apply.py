"""Apply AnimateLCM: Eq. 2 as an equation, and what it refuses."""

from collections.abc import Callable
from typing import Any

import comfy.sd
import comfy.utils
import pytest
import torch
from animatelcm.nodes.apply import AUTOMATIC, MODELS_OWN, SCHEDULES, AnimateLCMApply
from animatelcm.nodes.loras import LoraMismatchError, count_patches
from animatelcm.sampling.model_sampling import ScheduleError, schedule_of
from animatelcm.sampling.schedule import COMMUNITY_LCM, I2V, T2V, Schedule
from comfy.model_base import ModelType
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from .conftest import LAYER, lora

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
    torch.testing.assert_close(merged_weight(model).double(), expected, rtol=1e-6, atol=1e-6)
    assert torch.equal(comfy.utils.get_attr(base.model, LAYER), w0)
    assert not count_patches(base)


def test_loras_are_merged_once_however_often_the_node_runs(
    apply: Callable[..., ModelPatcher], save_model: SaveModel
) -> None:
    name = save_model("loras", "fast.safetensors", lora(11))
    first = merged_weight(apply(acceleration_lora=name))
    assert torch.equal(merged_weight(apply(acceleration_lora=name)), first)


def test_without_loras_no_weight_changes(apply: Callable[..., ModelPatcher]) -> None:
    assert not count_patches(apply())


def test_a_misfit_of_another_node_is_not_blamed_on_ours(
    base: ModelPatcher, apply: Callable[..., ModelPatcher], save_model: SaveModel
) -> None:
    name = save_model("loras", "fast.safetensors", lora(11))
    patched, _ = comfy.sd.load_lora_for_models(base, None, lora(1, width=768), 1.0, 0.0)
    other = {key.replace("_to_k", "_to_v"): value for key, value in lora(12).items()}
    assert count_patches(apply(patched, acceleration_lora=save_model("loras", "other.safetensors", other))) == 2
    with pytest.raises(LoraMismatchError, match="another shape"):
        apply(style_lora=save_model("loras", "wide.safetensors", lora(1, width=768)), acceleration_lora=name)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (lora(1, width=768), r"another shape than diffusion_model\.\S+ \(64, 64\): it was made for SD1\.5"),
        ({"lora_te2_text_model_encoder_layers_0.lora_up.weight": torch.ones(2, 2)}, "was made for SDXL"),
        ({"transformer.single_blocks.0.lora_A.weight": torch.ones(2, 2)}, "was made for a transformer such as Flux"),
        ({"down_blocks.0.motion_modules.0.x.lora_up.weight": torch.ones(2, 2)}, "a motion module or a motion LoRA"),
        ({"first_stage_model.decoder.weight": torch.ones(2, 2)}, "is a checkpoint"),
        ({"something.else": torch.ones(2, 2)}, r"has tensors such as something\.else"),
    ],
    ids=["width", "sdxl", "flux", "motion", "checkpoint", "else"],
)
def test_a_lora_of_another_model_is_refused(
    apply: Callable[..., ModelPatcher], save_model: SaveModel, tensors: dict[str, Tensor], message: str
) -> None:
    name = save_model("loras", "other.safetensors", tensors)
    with pytest.raises(LoraMismatchError, match=message):
        apply(style_lora=name)


@pytest.mark.parametrize(
    ("choice", "schedule"),
    [
        (AUTOMATIC, T2V),
        ("AnimateLCM T2V (reference)", T2V),
        ("AnimateLCM I2V (reference)", I2V),
        ("LCM (community)", COMMUNITY_LCM),
        (MODELS_OWN, None),
    ],
)
def test_a_choice_of_schedule(apply: Callable[..., ModelPatcher], choice: str, schedule: Schedule | None) -> None:
    assert schedule_of(apply(schedule=choice)) == schedule


def test_automatic_follows_the_motion_module(apply: Callable[..., ModelPatcher], motion: ModelPatcher) -> None:
    config = motion.model.config
    object.__setattr__(config, "image_encoder", object())
    assert schedule_of(apply()) == I2V


def test_the_schedule_stays_when_other_nodes_clone_the_model(
    base: ModelPatcher, apply: Callable[..., ModelPatcher]
) -> None:
    model = apply()
    assert schedule_of(model.clone().clone()) == T2V
    assert schedule_of(base) is None


def test_a_model_of_another_prediction_is_refused(
    base: ModelPatcher, apply: Callable[..., ModelPatcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base.model, "model_type", ModelType.V_PREDICTION)
    with pytest.raises(ScheduleError, match="predicts V_PREDICTION"):
        apply()
    assert schedule_of(apply(schedule=MODELS_OWN)) is None


def test_every_schedule_is_in_the_list() -> None:
    options = next(i for i in AnimateLCMApply.define_schema().inputs if i.id == "schedule").options
    assert options == [AUTOMATIC, *SCHEDULES, MODELS_OWN]


@pytest.mark.parametrize("name", ["acceleration_lora", "style_lora"])
def test_a_missing_lora_is_said_before_the_run(name: str, save_model: SaveModel) -> None:
    save_model("loras", "there.safetensors", lora(1))
    chosen: dict[str, Any] = {"acceleration_lora": "none", "style_lora": "there.safetensors", "schedule": AUTOMATIC}
    assert AnimateLCMApply.validate_inputs(**chosen) is True
    message = AnimateLCMApply.validate_inputs(**{**chosen, name: "gone.safetensors"})
    assert "no file 'gone.safetensors'" in message
    assert "there.safetensors" in message


def test_an_unknown_schedule_is_said_before_the_run() -> None:
    message = AnimateLCMApply.validate_inputs("none", "none", "karras")
    assert message.startswith("schedule of 'Apply AnimateLCM' is the text 'karras'. Expected one of: automatic")


def test_what_another_node_hands_over_is_not_checked_before_the_run() -> None:
    assert AnimateLCMApply.validate_inputs(None, None, None) is True
