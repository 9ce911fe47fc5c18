"""The node that tells each box's prompt where the box is, frame by frame."""

from typing import Any

import torch
from comfy_api.latest import io
from node_helpers import conditioning_set_values
from torch import Tensor

from ..layout.boxes import Layout
from ..layout.draw import masks
from .checked import checked
from .compatibility import known
from .gligen import at_boxes
from .inputs import frames_input, size_input
from .layout import LAYOUT
from .memory import check_memory

Conditioning = list[list[Any]]


class LayoutConditioningError(ValueError):
    """A layout cannot be used as a prompt."""


@checked
class AnimateLCMLayoutConditioning(io.ComfyNode):
    """Prompts that are seen in their boxes only, wherever these go."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AnimateLCMLayoutConditioning",
            display_name="AnimateLCM Layout Conditioning",
            category="AnimateLCM",
            description="Gives each box its own prompt, in a region that follows the box. Each prompt is one more run "
            "of the UNet per step.",
            inputs=[
                io.Clip.Input("clip", tooltip="Encodes the boxes' prompts."),
                io.Conditioning.Input("conditioning", tooltip="The prompt of the whole picture."),
                LAYOUT.Input("layout", tooltip="The boxes. Those without a prompt are left to the whole picture's."),
                size_input("width", " As the video's."),
                size_input("height", " As the video's."),
                frames_input("as the video's"),
                io.Float.Input(
                    "strength",
                    default=0.7,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    display_mode=io.NumberDisplay.slider,
                    tooltip="Share of the box's prompt in its box, 0 to 1; the rest is the whole picture's.",
                ),
                io.Gligen.Input(
                    "gligen",
                    optional=True,
                    tooltip="A GLIGEN textbox model from 'GLIGENLoader'; it is told the boxes and prompts too.",
                ),
            ],
            outputs=[io.Conditioning.Output(display_name="conditioning", tooltip="For the sampler's positive input.")],
            **known(io.Schema, search_aliases=["regional prompt", "attention couple", "gligen", "mask"]),
        )

    @classmethod
    def execute(
        cls,
        clip: Any,
        conditioning: Conditioning,
        layout: Layout,
        width: int,
        height: int,
        frames: int,
        strength: float,
        gligen: Any | None = None,
    ) -> io.NodeOutput:
        check_prompts(layout)
        check_unmasked(conditioning)
        if gligen is not None:
            conditioning = at_boxes(conditioning, clip, gligen, layout, frames)
        check_memory(f"The masks of {len(layout.boxes)} boxes", len(layout.boxes), frames, height // 8, width // 8)
        regions = masks(layout, frames, width // 8, height // 8)
        return io.NodeOutput(regional(clip, conditioning, layout, strength * regions))


def regional(clip: Any, conditioning: Conditioning, layout: Layout, shares: Tensor) -> Conditioning:
    """Return the conditioning with one more per prompt of the layout, for each that it has, all with their masks.

    `shares` are of (boxes, frames, height / 8, width / 8), 0 to 1. ComfyUI divides by the sum of all masks, so that the
    whole picture's prompt has what the boxes leave.
    """
    told = [(box, share) for box, share in zip(layout.boxes, shares, strict=True) if box.prompt]
    left = torch.stack([1 - share for _, share in told]).prod(0)
    result = conditioning_set_values(conditioning, masked(left))
    for box, share in told:
        prompt = clip.encode_from_tokens_scheduled(clip.tokenize(box.prompt))
        for _, values in conditioning:  # several where prompts are combined, or take turns in time
            inherited = {name: value for name, value in values.items() if name != "pooled_output"}
            result += conditioning_set_values(prompt, inherited | masked(share))
    return result


def masked(mask: Tensor) -> dict[str, Any]:
    """The keys of ComfyUI's 'Conditioning (Set Mask)'."""
    return {"mask": mask, "mask_strength": 1.0, "set_area_to_bounds": False}


def check_prompts(layout: Layout) -> None:
    """Refuse a layout without any prompt: the node would do nothing."""
    if not any(box.prompt for box in layout.boxes):
        raise LayoutConditioningError(
            "No box of this layout has a prompt. Write one, or connect the conditioning without this node."
        )


def check_unmasked(conditioning: Conditioning) -> None:
    """Refuse a conditioning whose own region would be lost."""
    if any("mask" in values or "area" in values for _, values in conditioning):
        raise LayoutConditioningError(
            "The conditioning has a region of its own, and here it is the whole picture's. Put this node before "
            "'Conditioning (Set Mask)' and 'Conditioning (Set Area)', and combine what they give with its output."
        )
