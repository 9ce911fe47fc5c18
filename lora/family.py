"""Which model a LoRA that does not fit was made for."""

import re
from collections.abc import Collection, Iterable

from ..files.base import base_by_name, base_by_width
from .fit import Misfit


def made_for(names: Collection[str], misfits: Iterable[Misfit]) -> str | None:
    """Return which model a LoRA is for, by the names of its tensors and the layers that do not fit; None if unknown."""
    if model := base_by_name(names):
        return model
    for misfit in misfits:
        if re.search(r"attn2\.to_[kv]\.weight$", misfit.key) and misfit.change:
            return base_by_width(misfit.change[-1])
    return None
