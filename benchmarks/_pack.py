"""Gives this pack a name that can be imported: `animatelcm`."""

import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def import_pack() -> None:
    """Make `import animatelcm.motion` and the like work, and tell ComfyUI whether there is a GPU."""
    pack = types.ModuleType("animatelcm")
    pack.__path__ = [str(ROOT)]
    sys.modules["animatelcm"] = pack
    from animatelcm.comfyui_server import has_gpu
    from comfy.cli_args import args

    args.cpu = not has_gpu()
    args.use_pytorch_cross_attention = True
