"""What the page shows while a clip is sampled: all of it, in ComfyUI's own preview."""

from collections.abc import Callable

import comfy.cli_args
import latent_preview
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..sampling.contact_sheet import contact_sheet

Callback = Callable[[int, Tensor, Tensor, int], None]


def clip_callback(model: ModelPatcher, steps: int) -> Callback:
    """Return ComfyUI's callback for progress and previews, told all frames at each step where it shows the first.

    A preview has so many pixels as the user set: with a colour for each value of the latent, the sheet of all frames
    has so many values; a decoder (TAESD) is given no more of them than of one frame, which it would take anyway.
    """
    show = latent_preview.prepare_callback(model, steps)
    settings = comfy.cli_args.args
    decoded = settings.preview_method == comfy.cli_args.LatentPreviewMethod.TAESD

    def callback(step: int, x0: Tensor, x: Tensor, total: int) -> None:
        show(step, contact_sheet(x0, max(x0.shape[-2:]) if decoded else settings.preview_size), x, total)

    return callback
