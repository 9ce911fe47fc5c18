"""The header of a .safetensors file: eight bytes of length, JSON, then the numbers (huggingface.co/docs/safetensors).

Read here, not with the safetensors package: 0.8.0 loses 52 KB each time it opens a file, and maps files into memory,
which ends the server where a file is cut off in use.
"""

import json
from typing import Any, BinaryIO

import torch

from .header import UNKNOWN, NotPlain, TensorHeader, dense
from .refusal import UnreadableError, size_in_words

MAX_HEADER = 16 * 2**20  # bytes; a whole SDXL checkpoint's has 0.3 MB, and trainers add a few of metadata
METADATA = "__metadata__"
DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
    "C64": torch.complex64,
}


def read_safetensors_header(file: BinaryIO, size: int) -> dict[str, TensorHeader | NotPlain]:
    """Return the headers of the tensors by name.

    Args:
        file: at its beginning.
        size: of the file, in bytes.

    Raises:
        UnreadableError: if the file ends before the last tensor.
        ValueError, LookupError, TypeError: if the header is damaged.
    """
    length = int.from_bytes(file.read(8), "little")
    if length > MAX_HEADER:
        raise ValueError(f"a header of {size_in_words(length)}")
    content = json.loads(file.read(length))
    start = 8 + length
    if not isinstance(content.pop(METADATA, {}), dict):
        raise TypeError("metadata that is no dictionary")
    end = start + max((entry["data_offsets"][1] for entry in content.values()), default=0)
    if size < end:
        raise UnreadableError(f"is damaged or cut off: it has {size_in_words(size)} of {size_in_words(end)}")
    return {name: _header(entry, start) for name, entry in content.items()}


def _header(entry: dict[str, Any], start: int) -> TensorHeader | NotPlain:
    """Return what an entry of the JSON object says; offsets count from `start`."""
    begin, end = entry["data_offsets"]
    dtype = DTYPES.get(entry["dtype"])
    if dtype is None:
        return NotPlain(UNKNOWN)
    header = dense(dtype, tuple(entry["shape"]), start + begin)
    if header.span != end - begin or begin < 0:
        raise ValueError(f"a tensor of {header.span} bytes in a place of {end - begin}")
    return header
