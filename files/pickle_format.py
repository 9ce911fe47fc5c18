"""The headers of a PyTorch file: a zip archive of a pickle and the numbers, or, before 1.6, pickles in a row."""

import zipfile
from io import BytesIO
from typing import Any, BinaryIO

from .header import NotPlain, TensorHeader
from .pickle_machine import Dictionary, Machine, PickledTensor
from .refusal import UnreadableError

MAX_PICKLE = 32 * 2**20  # bytes; a whole checkpoint's has 0.2 MB
MAX_DIRECTORY = 8 * 2**20  # bytes of a zip archive's directory: 100,000 entries
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
WRAPPERS = ("state_dict", "model_state_dict", "module", "string_to_param")  # the last one is an embedding's
MAX_WRAPPERS = 8

Headers = dict[str, TensorHeader | NotPlain]
Places = dict[str, tuple[int, int]]  # key of a storage -> its first byte in the file, and how many it has


def read_zip_headers(file: BinaryIO, size: int) -> Headers:
    """Return the headers of a zip archive's tensors by name.

    Raises:
        UnreadableError: if it is another archive, or holds no dictionary of tensors.
        pickle.UnpicklingError: if it wants to run code.
        ValueError, LookupError, TypeError, zipfile.BadZipFile: if it is damaged.
    """
    if directory_size(file, size) > MAX_DIRECTORY:
        raise ValueError("an archive of too many files")
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
    pickled = next((name for name in entries if name.endswith("/data.pkl")), None)
    if pickled is None:
        raise UnreadableError("is a zip archive without a model in it", "Unpack it, and use the model in it.")
    root = pickled.removesuffix("data.pkl")
    if f"{root}constants.pkl" in entries:
        raise UnreadableError("is a TorchScript program, which would be run", "Download the weights alone.")
    start, length = place(file, entries[pickled])
    file.seek(start)
    content = Machine(BytesIO(file.read(min(length, MAX_PICKLE)))).run()
    prefix = f"{root}data/"
    places = {name.removeprefix(prefix): place(file, e) for name, e in entries.items() if name.startswith(prefix)}
    return headers(content, places, size)


def directory_size(file: BinaryIO, size: int) -> int:
    """Return the bytes of an archive's directory, as its end says (APPNOTE.TXT, 4.3.14 and 4.3.16)."""
    file.seek(max(0, size - 2**16 - 200))
    end = file.read()
    large = end.rfind(b"PK\x06\x06")
    if large >= 0:
        return int.from_bytes(end[large + 40 : large + 48], "little")
    small = end.rfind(b"PK\x05\x06")
    return int.from_bytes(end[small + 12 : small + 16], "little")


def place(file: BinaryIO, entry: zipfile.ZipInfo) -> tuple[int, int]:
    """Return where the content of an entry begins in the file, and its length, both in bytes."""
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
        raise UnreadableError(
            "is a compressed archive, as PyTorch never writes it", "Download the model as its author published it."
        )
    if entry.header_offset < 0:  # zipfile's reckoning where the front of a file is missing
        raise ValueError("an entry before the file")
    file.seek(entry.header_offset)
    local = file.read(30)  # APPNOTE.TXT, 4.3.7: the lengths of name and extra field are at 26 and 28
    if not local.startswith(b"PK\x03\x04"):
        raise ValueError("an entry where there is none")
    name, extra = (int.from_bytes(local[i : i + 2], "little") for i in (26, 28))
    return entry.header_offset + 30 + name + extra, entry.file_size


def read_legacy_headers(file: BinaryIO, size: int) -> Headers:
    """Return the headers of the tensors of a bare pickle by name; raises as `read_zip_headers` does.

    Such a file is five pickles (a magic number, a version, a description of the machine, the content, the keys of the
    storages) and then, for each key, eight bytes of count and the numbers.
    """
    stream = BytesIO(file.read(MAX_PICKLE))
    if Machine(stream).run() != LEGACY_MAGIC:
        raise UnreadableError("is a pickle that PyTorch did not write")
    for _ in ("version", "machine"):
        Machine(stream).run()
    machine = Machine(stream)
    content = machine.run()
    keys = Machine(stream).run()
    places, start = {}, stream.tell()
    for key in keys:
        length = machine.storages[key].count * machine.storages[key].dtype.itemsize
        places[key] = (start + 8, length)
        start += 8 + length
    return headers(content, places, size)


# From what the pickle holds to headers


def headers(content: Any, places: Places, size: int) -> Headers:
    """Return the headers of the tensors that a pickle's content has by name."""
    tensors = {}
    for name, value in pairs_of(content):
        if isinstance(value, PickledTensor | NotPlain):
            tensors[name] = value
    return {name: header(tensor, places, size) for name, tensor in tensors.items()}


def pairs_of(content: Any) -> list[tuple[str, Any]]:
    """Return names and values of a dictionary that training may have wrapped in `state_dict` or the like."""
    for _ in range(MAX_WRAPPERS):
        if not isinstance(content, Dictionary):
            raise UnreadableError(f"holds {describe(content)} in place of named tensors")
        named = {pair[0]: pair[1] for pair in content.pairs if isinstance(pair[0], str)}
        inner = [named[name] for name in WRAPPERS if isinstance(named.get(name), Dictionary)]
        if not inner:
            break
        content = inner[0]
    else:
        raise UnreadableError("is a dictionary that is wrapped in itself")
    if not named and content.pairs:
        raise UnreadableError("holds a dictionary whose keys are no names")
    return list(named.items())


def describe(content: Any) -> str:
    """Return what a pickle holds that is no dictionary, in words."""
    kinds = {list: "a list", tuple: "a list", str: "a text", PickledTensor: "one tensor without a name"}
    return kinds.get(type(content), "None" if content is None else "a single value")


def header(tensor: PickledTensor | NotPlain, places: Places, size: int) -> TensorHeader | NotPlain:
    """Return the header of a tensor, whose numbers have to lie within its storage and the file."""
    if isinstance(tensor, NotPlain):
        return tensor
    start, length = places[tensor.storage.key]
    if start + length > size:
        raise EOFError("a storage behind the end of the file")
    offset = tensor.offset * tensor.dtype.itemsize
    result = TensorHeader(tensor.dtype, tensor.shape, start + offset, tensor.stride)
    if offset < 0 or offset + result.span > length:
        raise ValueError("a tensor that reaches beyond its storage")
    return result
