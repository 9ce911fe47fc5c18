"""Files that are not what they say, each made when it is asked for: a name, and what writes one to a path."""

import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

Write = Callable[[Path], object]


def content(value: bytes) -> Write:
    return lambda path: path.write_bytes(value)


def saved(value: Any, legacy: bool = False) -> Write:
    return lambda path: torch.save(value, path, _use_new_zipfile_serialization=not legacy)


def safetensors(header: Any, numbers: bytes = b"") -> Write:
    """A .safetensors file with any header: JSON of it, or the bytes that it is."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return content(struct.pack("<Q", len(text)) + text + numbers)


def archive(program: bytes, storages: dict[str, bytes] | None = None, compression: int = zipfile.ZIP_STORED) -> Write:
    """A PyTorch file with any pickle."""

    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", compression) as file:
            file.writestr("x/data.pkl", program)
            for key, numbers in (storages or {}).items():
                file.writestr(f"x/data/{key}", numbers)

    return write


def tensor(shape: tuple[int, ...], stride: tuple[int, ...], offset: int = 0, count: int = 1) -> bytes:
    """The operations of a pickle that put a tensor on its storage "0" of `count` numbers."""

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(pickle.dumps(value, 2)[2:-1] for value in values) + b"t"

    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    storage += pickle.dumps(count, 2)[2:-1] + b"tQ"
    arguments = storage + pickle.dumps(offset, 2)[2:-1] + numbers(shape) + numbers(stride)
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"\x89NtR"


def named(name: str, value: bytes) -> bytes:
    """The pickle of a dictionary of one value."""
    key = name.encode()
    return b"\x80\x02}X" + struct.pack("<I", len(key)) + key + value + b"s."


def one(shape: tuple[int, ...], stride: tuple[int, ...], **options: int) -> Write:
    """A PyTorch file of one tensor, whatever it says of itself, with a single number behind it."""
    return archive(named("pe", tensor(shape, stride, **options)), {"0": bytes(4)})


def cyclic() -> dict[str, Any]:
    dictionary: dict[str, Any] = {}
    dictionary["state_dict"] = dictionary
    return dictionary


class Bomb:
    """Its pickle calls a function when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


F32 = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
NESTED = b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."
# A tuple of two references to a tuple of two references ...: 2^60 leaves to hash, as the key of a dictionary
WIDE_KEY = b"\x80\x02})" + b"q\x00h\x00\x86" * 60 + b"K\x01s."
# A list that grows by reference: OrderedDict(list) for each of 100,000 calls
REPEATED = b"\x80\x02ccollections\nOrderedDict\nq\x01](K\x01K\x01\x86" + b"e\x85q\x02" + b"h\x01h\x02R" * 100_000 + b"."

# What is written, and what the message has to say
HOSTILE: dict[str, tuple[Write, str]] = {
    "empty": (content(b""), "is empty"),
    "blank": (content(b"  \n"), "is empty"),
    "zeros": (content(bytes(9999)), "nothing but zeros"),
    "HTML": (content(b"<!DOCTYPE html><html><head><title>Hugging Face</title>"), "saved web page.*download button"),
    "HTML after a newline": (content(b"\n<html>"), "saved web page"),
    "Git-LFS": (
        content(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1813041817\n"),
        "Git-LFS pointer.*git lfs pull",
    ),
    "JSON": (content(b'{"error": "Entry not found"}'), "is a text"),
    "text": (content(b"Entry not found"), "is a text"),
    "GGUF": (content(b"GGUF\x03\0\0\0" * 9), "is a GGUF file"),
    "picture": (content(b"\x89PNG\r\n\x1a\n" * 9), "is a picture"),
    "gzip": (content(b"\x1f\x8b\x08\0" * 9), "gzip.*Unpack"),
    "random bytes": (content(bytes(i * 89 % 251 + 1 for i in range(999))), "neither"),
    "noise in a pickle": (content(b"\x80 noise \x07" * 99), "damaged"),
    "noise in a zip": (content(b"PK noise \x07" * 99), "damaged"),
    "a zip of other files": (
        lambda path: zipfile.ZipFile(path, "w").writestr("model.safetensors", b""),
        "zip archive without a model.*Unpack",
    ),
    "a compressed archive": (
        archive(named("x", b"K\x01"), {"0": bytes(10**6)}, zipfile.ZIP_DEFLATED),
        "compressed archive.*Download",
    ),
    "a bomb in an archive": (
        archive(b"\x80\x02" + b"]" * 10**8, None, zipfile.ZIP_DEFLATED),
        "compressed archive",
    ),
    "a TorchScript program": (
        lambda path: torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path),
        "TorchScript|run code",
    ),
    "a list": (saved([1, 2]), "holds a list"),
    "a list, before 1.6": (saved([1, 2], legacy=True), "holds a list"),
    "None": (saved(None), "holds None"),
    "a text, pickled": (saved("text"), "holds a text"),
    "a number": (saved(7), "holds a single value"),
    "a tensor": (saved(torch.zeros(3)), "holds one tensor without a name"),
    "numbers as keys": (saved({0: torch.zeros(3)}), "keys are no names"),
    "wrapped numbers as keys": (saved({"state_dict": {0: torch.zeros(3)}}), "keys are no names"),
    "a dictionary that is its own": (saved(cyclic()), "wrapped in itself"),
    "a dictionary that is its own, before 1.6": (saved(cyclic(), legacy=True), "wrapped in itself"),
    "another program's pickle": (content(pickle.dumps({"a": 1})), "PyTorch did not write"),
    "a meta tensor": (saved({"a.b": torch.zeros(3, device="meta")}), "without contents.*: a.b"),
    "a sparse tensor": (saved({"a.b": torch.eye(3).to_sparse()}), "are sparse: a.b"),
    "a tensor of bits": (
        archive(
            named("a.b", tensor((1,), (1,)).replace(b"_v2", b"_v3").replace(b"\x89NtR", b"\x89Nctorch\nbits8\ntR")),
            {"0": bytes(4)},
        ),
        "number format.*: a.b",
    ),
    "an expanded tensor": (saved({"pe": torch.zeros(1).expand(1, 10**6, 10**6)}), "claims tensors of 4 TB, pe"),
    "a tensor beyond its storage": (one((9,), (1,)), "damaged"),
    "a tensor before its storage": (one((1,), (1,), offset=-1), "damaged"),
    "a tensor behind its storage": (one((1,), (1,), offset=10**15), "damaged"),
    "a storage larger than the file": (one((10**12,), (1,), count=10**12), "damaged"),
    "a tensor of 100 dimensions": (one((1,) * 100, (0,) * 100), "damaged"),
    "a tensor of negative size": (one((-1,), (1,)), "damaged"),
    "a tensor of unbounded size": (one((2**70,), (0,)), "damaged"),
    "many large tensors of one number": (one((2**62, 2**62, 2**62), (0, 0, 0)), "claims tensors of"),
    "deep nesting": (archive(NESTED), "holds a list"),
    "deep nesting, before 1.6": (content(NESTED), "damaged|PyTorch did not write"),
    "a key that takes for ever to hash": (archive(WIDE_KEY), "keys are no names"),
    "one list read again and again": (archive(REPEATED), "damaged"),
    "a pickle of too many operations": (archive(b"\x80\x02" + b"N0" * 700_000 + b"N."), "damaged"),
    "a text of 4 GB": (archive(b"\x80\x02X\xff\xff\xff\xff."), "damaged"),
    "a number of 5000 digits": (archive(b"\x80\x02I" + b"9" * 5000 + b"\n."), "damaged"),
    "a memo of 2^32": (archive(b"\x80\x02Nr\xff\xff\xff\xff."), "holds None"),
    "a stack underflow": (archive(b"\x80\x020."), "damaged"),
    "a stray mark": (archive(b"\x80\x02(."), "holds a single value"),
    "no end": (archive(b"\x80\x02N"), "damaged"),
    "a header of 2^60": (content(struct.pack("<Q", 2**60) + b'{"a":1}'), "damaged"),
    "a header that is no JSON": (safetensors(b"{'a': 1}"), "damaged"),
    "a header of nested lists": (safetensors(b'{"a":' + b"[" * 10**6), "damaged"),
    "a header with a number of 5000 digits": (safetensors(b'{"a":' + b"9" * 5000 + b"}"), "damaged"),
    "a header of lists": (safetensors({"a": [1, 2]}), "damaged"),
    "metadata that is a list": (safetensors({"__metadata__": [1], "a": F32}, bytes(4)), "damaged"),
    "an offset that is a text": (safetensors({"a": F32 | {"data_offsets": ["0", "4"]}}, bytes(4)), "damaged"),
    "a negative offset": (safetensors({"a": F32 | {"data_offsets": [-4, 0]}}, bytes(4)), "damaged"),
    "offsets that do not fit": (safetensors({"a": F32 | {"data_offsets": [0, 8]}}, bytes(8)), "damaged"),
    "a shape of 10^12": (
        safetensors({"a": F32 | {"shape": [10**12], "data_offsets": [0, 4 * 10**12]}}, bytes(4)),
        "cut off: it has .* of 4 TB",
    ),
    "a negative shape": (safetensors({"a": F32 | {"shape": [-1, -1]}}, bytes(4)), "damaged"),
    "a shape that is a text": (safetensors({"a": F32 | {"shape": "1"}}, bytes(4)), "damaged"),
    "a dtype of no name": (safetensors({"a": F32 | {"dtype": "F4"}}, bytes(4)), "number format.*: a"),
    "a dtype that is a list": (safetensors({"a": F32 | {"dtype": []}}, bytes(4)), "damaged"),
    "one place for many tensors": (
        safetensors({f"a{i}": F32 | {"shape": [1000], "data_offsets": [0, 4000]} for i in range(1000)}, bytes(4000)),
        "claims tensors of 4 MB",
    ),
    "too many tensors": (safetensors({f"{i}": F32 for i in range(60_000)}, bytes(4)), "60000 tensors"),
    "a name without end": (safetensors({"a" * 10**6: F32}, bytes(4)), "name of 1000000 characters"),
}
