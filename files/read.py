"""Opening a model file: what it says of its tensors, checked; then, when asked for, the tensors.

Time and memory are bounded by the size of the file, whatever it says of itself, and nothing in it is executed.
"""

import pickle
import stat
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from .first_bytes import LENGTH, Format, format_of
from .header import NotPlain, TensorHeader, load
from .pickle_format import Headers, read_legacy_headers, read_zip_headers
from .refusal import AGAIN, ModelFileError, UnreadableError, first, readable, refusal, size_in_words
from .safetensors_format import read_safetensors_header

MAX_TENSORS = 50_000  # a training state of SDXL has 8,000
MAX_NAME = 1_000  # characters
# Tensors that share numbers are read twice; that they claim more than this many times the file is no accident.
MAX_CLAIM = 2
# What damage makes the readers of the formats raise
DAMAGE = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    EOFError,
    NotImplementedError,
    RecursionError,
    struct.error,
    zipfile.BadZipFile,
)


@dataclass(frozen=True)
class ModelFile:
    """A model file whose header has been read and believed.

    Attributes:
        path: of the file.
        expected: what the caller wanted, for messages: "a LoRA for SD1.5".
        headers: type, shape and place of each tensor, by its name in the file.
    """

    path: Path
    expected: str
    headers: Mapping[str, TensorHeader]

    def refusal(self, what: str, remedy: str = AGAIN) -> ModelFileError:
        """Return the error that says of this file `what` it is, what was expected, and what to do."""
        return refusal(self.path.name, what, self.expected, remedy)

    def tensors(self) -> dict[str, Tensor]:
        """Read all tensors into memory of their own.

        Raises:
            ModelFileError: if the file was cut off since it was opened.
        """
        try:
            with self.path.open("rb") as file:
                return {name: load(file, header) for name, header in self.headers.items()}
        except EOFError as error:
            raise self.refusal("changed while it was read", "Try again once it is written.") from error

    def finite_tensors(self) -> dict[str, Tensor]:
        """Read all tensors.

        Raises:
            ModelFileError: if one has values that are not numbers, or the file was cut off since it was opened.
        """
        tensors = self.tensors()
        if odd := [name for name, tensor in tensors.items() if not _is_finite(tensor)]:
            raise self.refusal(f"has values that are not numbers (NaN or infinity) in {first(odd)}")
        return tensors


def _is_finite(tensor: Tensor) -> bool:
    """Whether all values are numbers."""
    eight_bits = tensor.is_floating_point() and tensor.dtype.itemsize == 1  # torch does not ask those
    return bool((tensor.float() if eight_bits else tensor).isfinite().all())


def open_model(path: str | Path, expected: str) -> ModelFile:
    """Read what the model file `path` says of its tensors: a .safetensors, .ckpt, .pt, .pth or .bin file.

    Args:
        path: of the file; what is in it counts, not its extension.
        expected: what the file should be, for messages: "a LoRA for SD1.5".

    Raises:
        ModelFileError: if it is no model, is damaged, needs code to be read, or claims more than it holds.
        OSError: if the file is missing or may not be read.
    """
    path = Path(path)
    try:
        headers = _check(_read_headers(path), path.stat().st_size)
    except UnreadableError as error:
        raise refusal(path.name, error.what, expected, error.remedy) from error
    except pickle.UnpicklingError as error:
        what = "is a pickle that wants to run code when it is opened, or is damaged; it was not opened"
        raise refusal(path.name, what, expected, f"{AGAIN[:-1]}, or a .safetensors version of it.") from error
    except DAMAGE as error:
        raise refusal(path.name, "is damaged or was not downloaded completely", expected) from error
    return ModelFile(path, expected, headers)


def _read_headers(path: Path) -> Headers:
    """Return the headers of a file, as it says them."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # a pipe would never answer
        raise UnreadableError("is not a file", "Choose a file.")
    with path.open("rb") as file:
        kind = format_of(file.read(LENGTH))
        file.seek(0)
        if kind is Format.SAFETENSORS:
            return read_safetensors_header(file, status.st_size)
        read = read_zip_headers if kind is Format.ZIP else read_legacy_headers
        return read(file, status.st_size)


def _check(headers: Headers, size: int) -> dict[str, TensorHeader]:
    """Return the headers of a file of `size` bytes, if they can be true and all tensors be read."""
    if len(headers) > MAX_TENSORS:
        raise UnreadableError(f"names {len(headers)} tensors, more than any model has")
    if longest := next((name for name in headers if len(name) > MAX_NAME), None):
        raise UnreadableError(f"is damaged: it has a tensor's name of {len(longest)} characters")
    if odd := next((header for header in headers.values() if isinstance(header, NotPlain)), None):
        names = [name for name, header in headers.items() if header == odd]
        raise UnreadableError(f"has tensors that are {odd.what}: {first(names)}")
    plain = {name: header for name, header in headers.items() if isinstance(header, TensorHeader)}
    claim = sum(header.claim for header in plain.values())
    if claim > MAX_CLAIM * size:
        largest = max(plain, key=lambda name: plain[name].claim)
        shape = " x ".join(map(str, plain[largest].shape))
        raise UnreadableError(
            f"has {size_in_words(size)} and claims tensors of {size_in_words(claim)}, {readable(largest)} "
            f"({shape}) the largest"
        )
    return plain
