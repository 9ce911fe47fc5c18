"""The server that runs the nodes."""

import sys
from typing import Any


def running_server() -> Any | None:
    """Return ComfyUI's `PromptServer`, or None where nothing serves (tests)."""
    program = sys.modules.get("server")  # never imported: it is what runs us, or is not there
    return getattr(getattr(program, "PromptServer", None), "instance", None)
