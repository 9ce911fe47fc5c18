"""Saying what a model file is, in words: of which kind, for which base model, with what in it, and where it belongs."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from .base import base_of
from .kinds import CHECKPOINT, CONTROLNET, LORA, MOTION_LORA, OTHER, UNET, Kind, kind_of
from .read import ModelFile, open_model
from .refusal import first, size_in_words

EXPECTED = "a model file"
# Kinds with layers that read the prompt, whose width tells the base model; a motion module's have other widths
BASED = (CHECKPOINT, CONTROLNET, LORA, UNET)
# A LoRA's first matrix, of shape (rank, channels in, ...)
DOWN = re.compile(r"lora[._](down|A)\b|_lora\.down|hada_w\d_b$")

# Reads the whole file and returns a sentence on it
Reader = Callable[[Path], str]


def inspect(path: Path, readers: Mapping[Kind, Reader]) -> list[str]:
    """Return lines that say what a model file is; the first names it, the last says where it belongs.

    Args:
        path: of the file.
        readers: for the kinds that can be looked at more closely than by names and shapes.

    Raises:
        ModelFileError: if it is damaged, or no model.
        OSError: if it is missing or may not be read.
    """
    file = open_model(path, EXPECTED)
    kind = kind_of(file.headers)
    lines = [f"{path.name}: {kind.what}", contents(file)]
    if kind in readers:
        lines.append(readers[kind](path))
    elif kind in BASED and (base := base_of(file.headers)):
        lines.append(f"For {base}.")
    if kind in (LORA, MOTION_LORA):
        lines.append(ranks(file))
    if kind is OTHER:
        return [*lines, f"It holds {first(file.headers)}. Nothing in this pack uses it."]
    return [*lines, f"Belongs in models/{kind.folder}." if kind.folder else "Nothing in this pack uses it."]


def contents(file: ModelFile) -> str:
    """Return how much a file holds, and of which types."""
    types = Counter(header.dtype for header in file.headers.values())
    named = ", ".join(str(dtype).removeprefix("torch.") for dtype, _ in types.most_common()) or "nothing"
    numbers = sum(header.count for header in file.headers.values())
    return f"{size_in_words(file.path.stat().st_size)}: {len(file.headers)} tensors, {numbers:,} numbers of {named}."


def ranks(file: ModelFile) -> str:
    """Return the ranks of a LoRA's layers."""
    found = sorted({h.shape[0] for name, h in file.headers.items() if DOWN.search(name) and h.shape})
    if not found:
        return "Of another form than two matrices per layer."
    return f"Of rank {found[0]}." if len(found) == 1 else f"Of ranks {found[0]} to {found[-1]}."
