"""ComfyUI's progress bar and interrupt, for work that goes frame by frame."""

from collections.abc import Callable

import comfy.model_management
import comfy.utils


def on_frame() -> Callable[[int, int], None]:
    """Return a callback (frames done, frames in all) that moves the progress bar, and stops at an interrupt.

    It may be called again while a frame takes long: the page hears of a frame once.
    """
    bars: list[comfy.utils.ProgressBar] = []

    def show(done: int, total: int) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        if not bars:
            bars.append(comfy.utils.ProgressBar(total))
        if bars[0].current != done + 1:
            bars[0].update_absolute(done + 1)

    return show
