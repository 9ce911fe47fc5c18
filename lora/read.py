"""LoRA files as tensors, each read once for as long as it stays as it is."""

from collections import OrderedDict
from pathlib import Path

from torch import Tensor

from ..files.identity import Identity, identity
from ..files.kinds import LORA, check_kind
from ..files.read import ModelFile, open_model
from ..files.refusal import first
from .names import with_known_names

EXPECTED = "a LoRA for SD1.5"
KEPT = 2  # files: as many as 'Apply AnimateLCM' takes

Tensors = dict[str, Tensor]

# What was read last. A node is run again whenever one of its inputs changes, with the same files as a rule.
_kept: OrderedDict[Path, tuple[Identity, Tensors]] = OrderedDict()


def read_lora(path: Path) -> Tensors:
    """Return the tensors of a LoRA file under names that ComfyUI reads; not to be written to.

    Raises:
        ModelFileError: if the file is no LoRA, is damaged, quantized, or has values that are not numbers.
    """
    now = identity(path)
    before, tensors = _kept.pop(path, (None, {}))
    if before != now:
        tensors = {}  # given back before the file takes as much again
        tensors = _read(path)
    _kept[path] = now, tensors
    while len(_kept) > KEPT:
        _kept.popitem(last=False)
    return tensors


def _read(path: Path) -> Tensors:
    file = open_model(path, EXPECTED)
    check_kind(file, LORA)
    _check(file)
    return with_known_names(file.finite_tensors())


def _check(file: ModelFile) -> None:
    """Refuse, before they are read, tensors that no LoRA can be made of."""
    headers = file.headers
    weights = {name: header for name, header in headers.items() if not name.endswith((".alpha", ".reshape_weight"))}
    if odd := [name for name, header in weights.items() if not header.dtype.is_floating_point]:
        raise file.refusal(
            f"has weights of the type {weights[odd[0]].dtype}, quantized as a rule: {first(odd)}",
            "Download a version of it in 16 or 32 bits.",
        )
    if odd := [name for name, header in weights.items() if not header.shape]:
        raise file.refusal(f"is damaged: it has no matrix in {first(odd)}")
    if odd := [name for name, header in weights.items() if not header.count]:
        raise file.refusal(f"is damaged: it has no numbers in {first(odd)}")
    if odd := [name for name, header in headers.items() if name.endswith(".alpha") and header.count != 1]:
        raise file.refusal(f"is damaged: it has an alpha that is not one number: {first(odd)}")
