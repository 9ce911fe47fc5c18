"""Which layers of a LoRA file fit a model, found out from shapes alone, before anything is sampled.

ComfyUI merges a patch while it loads a model; one whose shapes do not fit is logged there and left out. The same code
runs here on the meta device, which has shapes and no numbers: what it would leave out is known beforehand, for every
kind of adapter that the running version has.
"""

from dataclasses import dataclass
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
        change = tuple(patch[1][0].shape)
        return None if change == shape else Misfit(key, shape, change)
    merged: list[Shape] = []

    def note(change: Tensor) -> Tensor:
        merged.append(tuple(change.shape))
        return change

    try:
        with ShapesOnly():
            weight = torch.empty(shape, device="meta")
            adapter = type(patch)(patch.loaded_keys, tuple(map(without_numbers, patch.weights)))
            result = comfy.lora.calculate_weight([(1.0, adapter, 1.0, None, note)], weight, key)
    except MismatchedShapes as mismatch:
        return Misfit(key, shape, mismatch.change)
    except (ArithmeticError, AttributeError, IndexError, NameError, TypeError, ValueError):
        return Misfit(key, shape)  # a rank of 0, a matrix that is none or lacks its partner
    grown = tuple(result.shape)
    if grown != shape:
        return Misfit(key, shape, grown)
    return None if merged else Misfit(key, shape)


def without_numbers(value: Any) -> Any:
    """Return a tensor's twin on the meta device; what is no tensor, as it is."""
    return value.to("meta") if isinstance(value, Tensor) else value


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
