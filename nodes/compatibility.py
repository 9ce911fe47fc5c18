"""Differences between the versions of ComfyUI that the pack runs on."""

import inspect
from collections.abc import Callable
from typing import Any


def known(constructor: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
    """Return those of `arguments` that `constructor` takes in the running version: others would fail the whole pack."""
    taken = inspect.signature(constructor).parameters
    return {name: value for name, value in arguments.items() if name in taken}
