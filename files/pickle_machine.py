"""Reading the pickle of a PyTorch file without Python's unpickler: nothing is called, imported or allocated.

A pickle is a program for a machine with a stack (Lib/pickletools.py describes each operation). This one knows what
`torch.save` writes of a dictionary of tensors, and stands in for everything that it would build: a tensor is what is
said of it. Dictionaries are lists of pairs, so that no key of a file is ever hashed.
"""

import pickle
import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any

import torch

from .header import NUMBERS, UNKNOWN, NotPlain

MAX_OPERATIONS = 1_000_000  # a whole SD1.5 checkpoint takes 50,000

STORAGES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "UntypedStorage": torch.uint8,
    "QInt8Storage": torch.int8,
    "QUInt8Storage": torch.uint8,
    "QInt32Storage": torch.int32,
}
DTYPES = {f"torch.{name}": dtype for name, dtype in vars(torch).items() if isinstance(dtype, torch.dtype)}


@dataclass
class Dictionary:
    """A dictionary of the pickle, in the order in which it is filled; of two equal keys the last one counts."""

    pairs: list[tuple[Any, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Global:
    """A name of a module, which nobody looks up."""

    name: str


@dataclass(frozen=True)
class Storage:
    """The numbers that tensors are views of.

    Attributes:
        dtype: of the numbers; uint8 where tensors say their own.
        key: the name that the file knows them by.
        count: how many there are, as the pickle says.
    """

    dtype: torch.dtype
    key: str
    count: int


@dataclass(frozen=True)
class PickledTensor:
    """What a pickle says of a tensor: a view of a storage, from number `offset` on."""

    storage: Storage
    dtype: torch.dtype
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


# What a call in the pickle stands for, by the name of what is called


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> PickledTensor:
    if not isinstance(storage, Storage) or not isinstance(shape, tuple) or not isinstance(stride, tuple):
        raise ValueError("a tensor without a storage")
    return PickledTensor(storage, storage.dtype, offset, shape, stride)


def _tensor_of_new_dtype(storage: Any, offset: Any, shape: Any, stride: Any, *rest: Any) -> PickledTensor | NotPlain:
    dtype = DTYPES[rest[2].name]
    return replace(_tensor(storage, offset, shape, stride), dtype=dtype) if dtype in NUMBERS else NotPlain(UNKNOWN)


def _dictionary(*arguments: Any) -> Dictionary:
    return Dictionary(arguments[0] if arguments and isinstance(arguments[0], list) else [])


def _not_plain(what: str) -> Callable[..., NotPlain]:
    return lambda *_: NotPlain(what)


def _nothing(*_: Any) -> None:
    """What stands for everything that is neither a tensor nor a dictionary."""


CALLS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_of_new_dtype,
    "torch.nn.parameter.Parameter": lambda tensor, *_: tensor,
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "torch._utils._rebuild_parameter_with_state": lambda tensor, *_: tensor,
    "torch._utils._rebuild_meta_tensor_no_storage": _not_plain("without contents (meta)"),
    "torch._utils._rebuild_sparse_tensor": _not_plain("sparse"),
    "torch._utils._rebuild_qtensor": _not_plain("quantized"),
    "torch._utils._rebuild_nested_tensor": _not_plain("nested"),
    "torch._tensor._rebuild_from_type_v2": _not_plain("of a class of their own"),
    "collections.OrderedDict": _dictionary,
    "builtins.dict": _dictionary,
    "collections.defaultdict": lambda *_: Dictionary(),
}
IGNORED = (
    "torch.Size",
    "torch.Tensor",
    "torch.device",
    "torch.serialization._get_layout",
    "torch.per_tensor_affine",
    "torch.per_channel_affine",
    "collections.Counter",
    "builtins.set",
    "builtins.complex",
    "builtins.bytearray",
    "builtins.int",
    "builtins.float",
    "builtins.str",
    "_codecs.encode",
    # What trainers leave beside the weights; ComfyUI lets the same pass
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "numpy.dtypes.Float64DType",
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
)
CALLS |= dict.fromkeys(IGNORED, _nothing)


def storage_dtype(name: str) -> torch.dtype | None:
    """Return the dtype of a storage class such as torch.HalfStorage, or None for any other name."""
    module, _, kind = name.rpartition(".")
    return STORAGES.get(kind) if module in ("torch", "torch.cuda", "torch.storage") else None


# The machine

# Operations whose argument is the value itself: numbers, texts, bytes
CONSTANTS = {
    operation.name
    for operation in pickletools.opcodes
    if operation.arg and not operation.stack_before and operation.stack_after not in ([], [pickletools.anyobject])
}
ATOMS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
MARK = object()


class Machine:
    """Runs one pickle.

    Args:
        stream: the pickle, whole and in memory; left behind its end.

    Raises:
        pickle.UnpicklingError: if it wants to call what a model has no need of.
        ValueError, LookupError, TypeError: if it is damaged.
    """

    def __init__(self, stream: BytesIO) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}
        self.steps: dict[str, Callable[[Any], object]] = {
            "EMPTY_DICT": lambda _: self.stack.append(Dictionary()),
            "EMPTY_LIST": lambda _: self.stack.append([]),
            "EMPTY_SET": lambda _: self.stack.append(None),
            "MARK": lambda _: self.stack.append(MARK),
            "POP_MARK": lambda _: self.items(),
            "POP": lambda _: self.stack.pop(),
            "TUPLE": lambda _: self.stack.append(tuple(self.items())),
            "TUPLE1": lambda _: self.bundle(1),
            "TUPLE2": lambda _: self.bundle(2),
            "TUPLE3": lambda _: self.bundle(3),
            "LIST": lambda _: self.stack.append(self.items()),
            "DICT": lambda _: self.stack.append(Dictionary(pairs(self.items()))),
            "APPEND": lambda _: self.extend([self.stack.pop()]),
            "APPENDS": lambda _: self.extend(self.items()),
            "ADDITEMS": lambda _: self.extend(self.items()),
            "SETITEM": lambda _: self.fill([self.stack.pop(-2), self.stack.pop()]),
            "SETITEMS": lambda _: self.fill(self.items()),
            "BUILD": lambda _: self.stack.pop(),  # attributes, such as the _metadata of a state_dict
            "GLOBAL": lambda name: self.name(*name.split(" ", 1)),
            "STACK_GLOBAL": lambda _: self.name(self.stack.pop(-2), self.stack.pop()),
            "REDUCE": lambda _: self.call(self.stack.pop(-2), self.stack.pop()),
            "BINPERSID": lambda _: self.storage(*self.stack.pop()),
            "MEMOIZE": lambda _: self.put(len(self.memo)),
        }
        for kind in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.steps[kind] = self.put
            self.steps[kind.replace("PUT", "GET")] = lambda place: self.stack.append(self.memo[place])
        self.stream = stream

    def run(self) -> Any:
        """Return what the pickle holds."""
        for count, (operation, argument, _) in enumerate(pickletools.genops(self.stream)):
            if count > MAX_OPERATIONS:
                raise ValueError(f"a pickle of more than {MAX_OPERATIONS} operations")
            self.step(operation.name, argument)
        (result,) = self.stack
        return result

    def step(self, name: str, argument: Any) -> None:
        """Do one operation."""
        if name in CONSTANTS:
            self.stack.append(argument)
        elif name in ATOMS:
            self.stack.append(ATOMS[name])
        elif name in self.steps:
            self.steps[name](argument)
        elif name not in ("PROTO", "FRAME", "STOP"):
            raise pickle.UnpicklingError(f"the operation {name}")

    def items(self) -> list[Any]:
        """Take everything above the last mark off the stack, and the mark."""
        mark = next((i for i in reversed(range(len(self.stack))) if self.stack[i] is MARK), None)
        if mark is None:
            raise IndexError("no mark")
        taken = self.stack[mark + 1 :]
        del self.stack[mark:]
        return taken

    def bundle(self, length: int) -> None:
        """Put the last values together."""
        if length > len(self.stack):
            raise IndexError("a tuple of more than there is")
        self.stack[-length:] = [tuple(self.stack[-length:])]

    def put(self, place: int) -> None:
        """Remember the last value."""
        self.memo[place] = self.stack[-1]

    def extend(self, values: list[Any]) -> None:
        """Append to the list that is last; sets and other things of no interest stay empty."""
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(values)

    def fill(self, values: list[Any]) -> None:
        """Put keys and values in turns into the dictionary that is last."""
        if isinstance(self.stack[-1], Dictionary):
            self.stack[-1].pairs.extend(pairs(values))

    def name(self, module: str, name: str) -> None:
        """Take note of a name, if it is one that models need."""
        module = {"__builtin__": "builtins"}.get(module, module)
        full = f"{module}.{name}"
        if full not in CALLS and full not in DTYPES and storage_dtype(full) is None:
            raise pickle.UnpicklingError(f"it names {full[:100]}")
        self.stack.append(Global(full))

    def call(self, function: Global, arguments: tuple[Any, ...]) -> None:
        """Put what a call stands for in its place."""
        self.stack.append(CALLS[function.name](*arguments))

    def storage(self, kind: str, storage: Global, key: str, location: str, count: int, *_: Any) -> None:
        """Take note of a storage; where it was once (`location`) does not matter."""
        dtype = storage_dtype(storage.name)
        if kind != "storage" or dtype is None or type(key) is not str or type(count) is not int:
            raise ValueError("a storage of another kind")
        self.storages[key] = Storage(dtype, key, count)
        self.stack.append(self.storages[key])


def pairs(values: list[Any]) -> list[tuple[Any, Any]]:
    """Return (first, second), (third, fourth) and so on."""
    return list(zip(values[::2], values[1::2], strict=True))
