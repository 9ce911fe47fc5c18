"""ComfyUI-AnimateLCM-Native: video from SD1.5 in 4 steps without CFG."""

from typing import Any

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> Any:
    """Give ComfyUI this pack's nodes. Nothing of ComfyUI is imported before: pytest imports this file without it."""
    import logging

    try:
        from .nodes.extension import AnimateLCMExtension

        return AnimateLCMExtension()
    except Exception:
        logging.exception("ComfyUI-AnimateLCM-Native could not be loaded.")  # ComfyUI would log the message only
        raise
