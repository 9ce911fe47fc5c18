"""Which patches fit: what is said beforehand is what ComfyUI then does, for every kind of adapter."""

from collections.abc import Callable
from typing import Any

import comfy.lora
import pytest
import torch
from animatelcm.lora.fit import misfit
from torch import Tensor

OUT, IN, RANK = 12, 8, 2
KEY = "diffusion_model.layer.weight"
SHAPES = {"linear": (OUT, IN), "pointwise": (OUT, IN, 1, 1), "convolution": (OUT, IN, 3, 3)}

Layer = dict[str, Tensor]


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def lora(rows: int, columns: int) -> Layer:
    return {"lora_up.weight": numbers(rows, RANK), "lora_down.weight": numbers(RANK, columns), "alpha": torch.tensor(1)}


def dora(rows: int, columns: int) -> Layer:
    return {**lora(rows, columns), "dora_scale": numbers(rows, 1)}


def tucker(rows: int, columns: int) -> Layer:
    middle = {"lora_mid.weight": numbers(RANK, RANK, 3, 3)}
    return {**middle, "lora_up.weight": numbers(rows, RANK, 1, 1), "lora_down.weight": numbers(RANK, columns, 1, 1)}


def loha(rows: int, columns: int) -> Layer:
    return {
        **{f"hada_w{i}_a": numbers(rows, RANK) for i in (1, 2)},
        **{f"hada_w{i}_b": numbers(RANK, columns) for i in (1, 2)},
    }


def lokr(rows: int, columns: int) -> Layer:
    return {"lokr_w1": numbers(rows // 2, 2), "lokr_w2": numbers(2, columns // 2)}


def factored_lokr(rows: int, columns: int) -> Layer:
    return {"lokr_w1": numbers(rows // 2, 2), "lokr_w2_a": numbers(2, 1), "lokr_w2_b": numbers(1, columns // 2)}


def glora(rows: int, columns: int) -> Layer:
    return {
        "a1.weight": numbers(columns, RANK),
        "a2.weight": numbers(RANK, columns),
        "b1.weight": numbers(rows, RANK),
        "b2.weight": numbers(RANK, columns),
    }


def oft(rows: int, columns: int) -> Layer:
    return {"oft_blocks": numbers(2, rows // 2, rows // 2), "alpha": torch.tensor(1.0)}


def diff(rows: int, columns: int) -> Layer:
    return {"diff": numbers(rows, columns)}


LINEAR = (lora, dora, loha, lokr, factored_lokr, glora, oft, diff)
OTHER_SHAPES = [(OUT, 2 * IN), (2 * OUT, IN), (OUT + 1, IN)]


def patch_of(layer: Layer) -> Any:
    """Return the patch that ComfyUI reads from a layer's tensors."""
    tensors = {f"layer.{name}": tensor for name, tensor in layer.items()}
    return comfy.lora.load_lora(tensors, {"layer": KEY}, log_missing=False)[KEY]


def merged(layer: Layer, shape: tuple[int, ...]) -> bool:
    """Whether ComfyUI's merge changes a weight of that shape."""
    weight = numbers(*shape)
    try:
        result = comfy.lora.calculate_weight([(1.0, patch_of(layer), 1.0, None, None)], weight.clone(), KEY)
    except (RuntimeError, IndexError, ZeroDivisionError):
        return False
    return not torch.equal(result, weight)


@pytest.mark.parametrize("make", LINEAR)
def test_a_patch_of_the_weights_shape_fits(make: Callable[[int, int], Layer]) -> None:
    assert misfit(KEY, (OUT, IN), patch_of(make(OUT, IN))) is None
    assert merged(make(OUT, IN), (OUT, IN))


@pytest.mark.parametrize(
    ("make", "shape"),
    # OFT turns a weight's rows, and knows nothing of its columns
    [(make, shape) for make in LINEAR for shape in OTHER_SHAPES if make is not oft or shape[0] != OUT],
)
def test_a_patch_of_another_shape_does_not_fit(make: Callable[[int, int], Layer], shape: tuple[int, ...]) -> None:
    assert misfit(KEY, shape, patch_of(make(OUT, IN))) is not None
    assert not merged(make(OUT, IN), shape)


@pytest.mark.parametrize("make", [lora, loha, lokr, factored_lokr, diff])
def test_a_misfit_says_both_shapes(make: Callable[[int, int], Layer]) -> None:
    message = str(misfit(KEY, (OUT, 2 * IN), patch_of(make(OUT, IN))))
    assert message == f"{KEY} has the shape {(OUT, 2 * IN)}; the file's is {(OUT, IN)}"


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize(("make", "kernel"), [(lora, (1, 1)), (loha, (1, 1)), (lokr, (1, 1)), (tucker, (3, 3))])
def test_convolutions(make: Callable[[int, int], Layer], kernel: tuple[int, int], shape: tuple[int, ...]) -> None:
    fits = torch.Size(shape[2:]).numel() == torch.Size(kernel).numel()
    assert (misfit(KEY, shape, patch_of(make(OUT, IN))) is None) == fits == merged(make(OUT, IN), shape)


def test_as_many_numbers_in_other_rows_do_not_fit() -> None:
    """ComfyUI would pour them into the weight's shape, each into a place of another."""
    assert merged(lora(OUT, IN), (OUT // 2, 2 * IN))
    assert misfit(KEY, (OUT // 2, 2 * IN), patch_of(lora(OUT, IN))) is not None


@pytest.mark.parametrize(
    "odd",
    [
        {"lora_down.weight": numbers(RANK + 1, IN)},
        {"lora_up.weight": numbers(OUT, 0), "lora_down.weight": numbers(0, IN)},
        {"lora_up.weight": torch.tensor(1.0)},
        {"dora_scale": numbers(OUT + 1, 1)},
    ],
    ids=["two ranks", "rank 0", "no matrix", "other scales"],
)
def test_what_cannot_be_put_together_does_not_fit(odd: Layer, caplog: pytest.LogCaptureFixture) -> None:
    found = misfit(KEY, (OUT, IN), patch_of({**lora(OUT, IN), **odd}))
    assert str(found) == f"{KEY} has the shape {(OUT, IN)} and cannot be put together from the file's"
    assert not caplog.records


def test_a_patch_that_makes_the_weight_larger_does_not_fit() -> None:
    """Flux's control LoRAs do that; the layer of an SD1.5 model would not run with it."""
    layer = {**lora(2 * OUT, IN), "reshape_weight": torch.tensor([2 * OUT, IN])}
    assert str(misfit(KEY, (OUT, IN), patch_of(layer))).endswith(f"the file's is {(2 * OUT, IN)}")
