"""Which layers of a LoRA file fit a model, found out from shapes alone, before anything is sampled.

ComfyUI merges a patch while it loads a model; one whose shapes do not fit is logged there and left out. The same code
runs here on the meta device, which has shapes and no numbers: what it would leave out is known beforehand, for every
kind of adapter that the running version has.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import comfy.lora
import comfy.weight_adapter
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Misfit:
    """A patch that cannot be merged into its weight.

    Attributes:
        key: name of the weight in the model.
        shape: of the weight, or None where the model has no such weight.
        change: shape of what the file would add, or None where it cannot be told.
    """

    key: str
    shape: Shape | None
    change: Shape | None = None

    def __str__(self) -> str:
        if self.shape is None:
            return f"the model has no {self.key}"
        change = f"; the file's is {self.change}" if self.change else " and cannot be put together from the file's"
        return f"{self.key} has the shape {self.shape}{change}"


def misfit(key: str, shape: Shape | None, patch: Any) -> Misfit | None:
    """Return why ComfyUI could not merge `patch` into the weight `key` of that shape, or None where it can.

    Args:
        key: name of the weight.
        shape: of the weight; None for a weight that the model lacks.
        patch: one of ComfyUI's: an adapter, or ("diff" or "set", (tensor,)).
    """
    if shape is None:
        return Misfit(key, None)
    if not isinstance(patch, comfy.weight_adapter.WeightAdapterBase):
        difference = tuple(patch[1][0].shape)
        return None if difference == shape else Misfit(key, shape, difference)
    adapter: Any = type(patch)
    fits, change = merge_shapes(adapter, tuple(map(shape_or_value, patch.weights)), shape)
    return None if fits else Misfit(key, shape, change)


def shape_or_value(part: Any) -> Any:
    """Return the shape of a tensor, a `torch.Size`; what is no tensor, as a value that can be compared."""
    if isinstance(part, Tensor):
        return part.shape
    return tuple(part) if isinstance(part, list) else part


@lru_cache(maxsize=1024)  # a UNet's hundreds of layers have few shapes
def merge_shapes(adapter: Any, parts: tuple[Any, ...], shape: Shape) -> tuple[bool, Shape | None]:
    """Return whether an adapter fits a weight, and the shape of what it would add, or None where it cannot be told.

    Args:
        adapter: ComfyUI's class of it.
        parts: what it is made of, see `shape_or_value`.
        shape: of the weight.
    """
    merged: list[Tensor] = []

    def note(change: Tensor) -> Tensor:
        merged.append(change)
        return change

    try:
        with ShapesOnly():
            numbers = [torch.empty(part, device="meta") if isinstance(part, torch.Size) else part for part in parts]
            weight = torch.empty(shape, device="meta")
            patch = (1.0, adapter(set(), tuple(numbers)), 1.0, None, note)
            result = tuple(comfy.lora.calculate_weight([patch], weight, "").shape)
    except MismatchedShapes as mismatch:
        return False, mismatch.change
    except (ArithmeticError, AttributeError, IndexError, NameError, TypeError, ValueError):
        return False, None  # a rank of 0, a matrix that is none or lacks its partner
    return bool(merged) and result == shape, None if result == shape else result


class MismatchedShapes(BaseException):
    """A calculation that failed. No Exception: ComfyUI's adapters catch those, write them to the log, and go on."""

    def __init__(self, change: Shape | None) -> None:
        super().__init__(change)
        self.change = change


class ShapesOnly(TorchFunctionMode):
    """Lets torch's functions run on the meta device, and tells of the first that fails."""

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        if func is Tensor.__bool__:  # OFT compares a norm with its limit; the shapes are the same either way
            return True
        change = tuple(args[0].shape) if func is Tensor.reshape else None
        try:
            result = func(*args, **(kwargs or {}))
        except Exception as error:
            raise MismatchedShapes(change) from error
        # Adapters bring a change of (rows, ...) to the weight's shape; other rows would be other numbers in its place.
        if change and change[:1] != tuple(result.shape[:1]):
            raise MismatchedShapes(change)
        return result
