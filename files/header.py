"""What a file says of a tensor, and the tensor itself once that has been believed."""

import math
import re
from dataclasses import dataclass
from typing import BinaryIO

import torch
from torch import Tensor

MAX_DIMENSIONS = 8
UNKNOWN = "of a number format that is not known here"
# Types of numbers that tensors are read of, of those that this torch has
NUMBERS = {
    dtype
    for dtype in vars(torch).values()
    if isinstance(dtype, torch.dtype)
    and re.fullmatch(r"torch\.(bool|b?float(8_\w+|\d+)|u?int(8|16|32|64)|complex(64|128))", str(dtype))
}


@dataclass(frozen=True)
class TensorHeader:
    """Type, shape and place of a tensor in a file, of which nothing else has been read.

    Attributes:
        dtype: of its numbers.
        shape: its sizes.
        start: where its first number lies in the file, in bytes.
        stride: steps between neighbours of each dimension, in numbers.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    stride: tuple[int, ...]

    def __post_init__(self) -> None:
        numbers = (*self.shape, *self.stride, self.start)
        if len(self.shape) > MAX_DIMENSIONS or len(self.stride) != len(self.shape):
            raise ValueError(f"a tensor of {len(self.shape)} dimensions and {len(self.stride)} strides")
        if not all(type(number) is int and 0 <= number < 2**63 for number in numbers):
            raise ValueError("a tensor whose sizes are no sizes")

    @property
    def count(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    @property
    def span(self) -> int:
        """Bytes of the file from its first number to its last."""
        if not self.count:
            return 0
        steps = zip(self.shape, self.stride, strict=True)
        return self.dtype.itemsize * (1 + sum((size - 1) * stride for size, stride in steps))

    @property
    def claim(self) -> int:
        """Bytes that reading and holding it takes: more than its span where it repeats numbers."""
        return max(self.span, self.dtype.itemsize * self.count)


@dataclass(frozen=True)
class NotPlain:
    """A tensor in a file that has no numbers of its own to read, such as a sparse one.

    Attributes:
        what: the kind of tensor, "sparse" say.
    """

    what: str


def dense(dtype: torch.dtype, shape: tuple[int, ...], start: int) -> TensorHeader:
    """Return the header of a tensor whose numbers follow one another, the last dimension's first."""
    strides = [1]
    for size in reversed(shape[1:]):
        strides.append(strides[-1] * max(1, size))
    return TensorHeader(dtype, shape, start, tuple(reversed(strides))[: len(shape)])


def load(file: BinaryIO, header: TensorHeader) -> Tensor:
    """Read the tensor that a header tells of, into memory of its own.

    Raises:
        EOFError: if the file ends before the tensor.
    """
    numbers = torch.empty(header.span, dtype=torch.uint8)
    file.seek(header.start)
    if file.readinto(numbers.numpy()) != header.span:  # type: ignore[attr-defined]  # files opened "rb" have it
        raise EOFError("the file ends within a tensor")
    return numbers.view(header.dtype).as_strided(header.shape, header.stride).contiguous()
