"""Eq. 2 of the paper in training: the merged weight is w0 + scale * (up @ down), in every kind of layer."""

import torch
from animatelcm.distill.ldm import lora_name
from animatelcm.distill.lora import Lora, Merged
from torch import nn

from ..relative_error import relative_error


def build() -> tuple[nn.Module, Lora]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 6, 1), nn.Flatten(), nn.Linear(6 * 36, 5))
    lora = Lora(model, rank=4)
    for up in lora.up.values():
        nn.init.normal_(up)
    return model, lora


def test_a_new_residual_is_nought() -> None:
    model, _ = build()
    merged = Lora(model).merged(model, 1.0)
    assert all(torch.equal(value, model.get_parameter(key)) for key, value in merged.items())


def test_merged_weights_are_the_equation() -> None:
    model, lora = build()
    merged = lora.merged(model, 0.8)
    for layer in lora.layers:
        down, up, weight = lora.down[lora_name(layer)], lora.up[lora_name(layer)], model.get_submodule(layer).weight
        expected = weight + 0.8 * (up @ down.flatten(1)).view_as(weight)
        assert relative_error(merged[f"{layer}.weight"], expected) < 1e-6


def test_a_merged_model_computes_with_those_weights_and_keeps_its_own() -> None:
    model, lora = build()
    x, before = torch.randn(2, 3, 8, 8), {key: value.clone() for key, value in model.state_dict().items()}
    ours = Merged(model, lora.merged(model, 0.5))(x)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    model.load_state_dict(lora.merged(model, 0.5), strict=False)
    assert relative_error(ours, model(x)) < 1e-5
