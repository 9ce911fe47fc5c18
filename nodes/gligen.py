"""GLIGEN with boxes that move: ComfyUI's own node knows one place for all frames."""

from functools import lru_cache
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from node_helpers import conditioning_set_values
from torch import Tensor, nn

from ..layout.boxes import Layout
from ..windows.frames import frames_of


class GligenError(ValueError):
    """A layout cannot be told to GLIGEN."""


def at_boxes(conditioning: list, clip: Any, gligen: ModelPatcher, layout: Layout, frames: int) -> list:
    """Return the conditioning with the layout's boxes and prompts told to a GLIGEN textbox model.

    Raises:
        GligenError: if there are more boxes with a prompt than the model takes, or others were told before.
    """
    told = [i for i, box in enumerate(layout.boxes) if box.prompt]
    most = gligen.model.max_objs
    if any("gligen" in values for _, values in conditioning):
        raise GligenError(
            "The conditioning has boxes from another GLIGEN node, which know no frames. Put them into the layout, and "
            "take the other node away."
        )
    if len(told) > most:
        raise GligenError(f"The layout has {len(told)} boxes with a prompt, and GLIGEN takes {most}. Leave some out.")
    rectangles = layout.rectangles(frames)[told].clamp(0, 1)
    prompts = [layout.boxes[i].prompt for i in told]
    pooled = [clip.encode_from_tokens(clip.tokenize(prompt), return_pooled="unprojected")[1] for prompt in prompts]
    moving = ModelPatcher(MovingBoxes(gligen.model), gligen.load_device, gligen.offload_device)
    boxes = list(zip(pooled, rectangles, strict=True))
    return conditioning_set_values(conditioning, {"gligen": ("position", moving, boxes)})


class MovingBoxes(nn.Module):
    """What ComfyUI asks of a GLIGEN model, with a place for each frame."""

    gligen: Any

    def __init__(self, gligen: nn.Module) -> None:
        super().__init__()
        self.gligen = gligen

    def set_position(self, latent_shape: torch.Size, boxes: list[tuple[Tensor, Tensor]], device: torch.device) -> Any:
        """Return the patch of the UNet's attention for latents (frames, C, H, W).

        `boxes` are pairs of an embedded prompt, (1, C), and left, top, right and bottom as shares, (frames, 4). A
        window's frames have the boxes of their numbers; where the layout is shorter it starts again, as masks do.
        """

        @lru_cache(maxsize=1)  # the same frames in all layers of a UNet call
        def patch_of(numbers: tuple[int, ...]) -> Any:
            return self._of_frames([(prompt, row[[n % len(row) for n in numbers]]) for prompt, row in boxes], device)

        def patch(x: Tensor, options: dict[str, Any]) -> Tensor:
            patched: Tensor = patch_of(frames_of(options, len(x)).numbers)(x, options)
            return patched

        return patch

    def _of_frames(self, boxes: list[tuple[Tensor, Tensor]], device: torch.device) -> Any:
        frames, most = len(boxes[0][1]), self.gligen.max_objs
        places, present = torch.zeros(frames, most, 4), torch.zeros(frames, most)
        prompts = torch.zeros(frames, most, self.gligen.key_dim)
        for i, (prompt, rectangles) in enumerate(boxes):
            places[:, i], present[:, i], prompts[:, i] = rectangles, 1.0, prompt
        return self.gligen._set_position(places.to(device), present.to(device), prompts.to(device))
