"""Which frames of a clip a UNet call sees: what belongs to a frame is looked up by its number.

A call sees the whole clip, or a window of a longer one. Who cuts a clip into windows says which frames a window has by
one entry in transformer_options, before it hands the window on to ComfyUI:

    options = model_options["transformer_options"]
    options |= {FRAMES: Frames((8, 9, 10, 11), length=24)}
    calc_cond_batch(model, conds_of_window, x[8:12], timestep[8:12], model_options | {"transformer_options": options})

That is all: the motion module publishes `ad_params` from it, and temporal transformers, pictures to animate, masks and
GLIGEN boxes follow. ComfyUI's own windows, and those of AnimateDiff-Evolved, are read as they publish themselves.
"""

from dataclasses import dataclass
from typing import Any

FRAMES = "animatelcm_frames"  # in transformer_options; its value is a `Frames`


class FramesError(ValueError):
    """The UNet sees other frames than the ones that a window names."""


@dataclass(frozen=True)
class Frames:
    """The frames of a UNet call, one per row of a clip.

    Attributes:
        window: numbers of the frames, from 0.
        length: frames of the whole clip.
        anchor: number of a frame that is seen before them, and whose result is thrown away (ComfyUI's causal fix).
    """

    window: tuple[int, ...]
    length: int
    anchor: int | None = None

    @property
    def numbers(self) -> tuple[int, ...]:
        """The number of the frame in each row."""
        return self.window if self.anchor is None else (self.anchor, *self.window)

    @property
    def whole(self) -> bool:
        """Whether they are the whole clip, in order."""
        return self.numbers == tuple(range(self.length))


def frames_of(options: dict[str, Any], rows: int) -> Frames:
    """Return the frames of a UNet call.

    Args:
        options: its transformer_options.
        rows: of one clip in it: the rows of a batch, over the number of conds and tiles in it.

    Raises:
        FramesError: if a window names more or fewer frames than there are rows.
    """
    frames = options.get(FRAMES) or _of_comfyui(options) or _of_ad_params(options) or Frames(tuple(range(rows)), rows)
    if len(frames.numbers) != rows:
        raise FramesError(
            f"The UNet sees {rows} frames, and the context window names {len(frames.numbers)}. Another node cuts the "
            "clip in a way that is not known here: take it off the model, or update this node pack."
        )
    return frames


def _of_comfyui(options: dict[str, Any]) -> Frames | None:
    """ComfyUI's context windows; newer versions put a frame before them that `index_list` leaves out."""
    window = options.get("context_window")
    if window is None or window.dim != 0:  # windows over the height of a picture
        return None
    length = getattr(window, "total_frames", 0) or max(window.index_list) + 1  # older versions do not say it
    anchor = getattr(window, "causal_anchor_index", -1)
    return Frames(tuple(window.index_list), length, anchor if anchor >= 0 else None)


def _of_ad_params(options: dict[str, Any]) -> Frames | None:
    """AnimateDiff-Evolved's windows, as it publishes them to other packs."""
    params = options.get("ad_params") or {}
    return Frames(tuple(params["sub_idxs"]), params["full_length"]) if params.get("sub_idxs") else None


def ad_params(frames: Frames) -> dict[str, Any]:
    """Return what other packs (IP-Adapter, Advanced-ControlNet) read of a clip and its window."""
    return {
        "full_length": frames.length,
        "context_length": len(frames.numbers),
        "sub_idxs": None if frames.whole else list(frames.numbers),
    }
