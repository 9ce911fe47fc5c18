"""Handlers that cut a clip into windows, and say so as each of those that exist does."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import comfy.context_windows
import pytest
import torch
from animatelcm.windows.frames import FRAMES, Frames
from comfy.model_patcher import ModelPatcher
from comfy_extras.nodes_context_windows import ContextWindowsManualNode
from torch import Tensor

CLIP, LENGTH = 6, 3
WINDOWS = (Frames((0, 1, 2), CLIP), Frames((3, 4, 5), CLIP))
ANCHORED = (Frames((0, 1, 2), CLIP), Frames((3, 4, 5), CLIP, anchor=2))


@dataclass
class Windows:
    """A context handler; `published` is what it puts into transformer_options for a window."""

    windows: tuple[Frames, ...]
    published: Callable[[Frames], dict[str, Any]]

    def should_use_context(self, *_: Any) -> bool:
        return True

    def execute(
        self, calc_cond_batch: Callable[..., list[Tensor]], model: Any, conds: Any, x: Tensor, t: Tensor, options: Any
    ) -> list[Tensor]:
        results = [torch.zeros_like(x) for _ in conds]
        for frames in self.windows:
            rows = list(frames.numbers)
            told = options["transformer_options"] | self.published(frames)
            of_window = [[cut(cond, rows) for cond in prompts or ()] or None for prompts in conds]
            parts = calc_cond_batch(model, of_window, x[rows], t[rows], options | {"transformer_options": told})
            for result, part in zip(results, parts, strict=True):
                result[list(frames.window)] = part[-len(frames.window) :]
        return results


def cut(cond: dict[str, Any], rows: list[int]) -> dict[str, Any]:
    """A prompt for some of the frames."""

    def of_window(value: Any) -> Any:
        tensor = getattr(value, "cond", None)
        return value._copy_with(tensor[rows]) if isinstance(tensor, Tensor) and len(tensor) == CLIP else value

    told = {key: of_window(value) for key, value in cond["model_conds"].items()}
    mask = {"mask": cond["mask"][rows]} if len(cond.get("mask", ())) == CLIP else {}
    return cond | mask | {"model_conds": told}


def contract(windows: tuple[Frames, ...]) -> Windows:
    return Windows(windows, lambda frames: {FRAMES: frames})


def as_comfyui(windows: tuple[Frames, ...]) -> Windows:
    def published(frames: Frames) -> dict[str, Any]:
        window = SimpleNamespace(index_list=list(frames.window), dim=0, total_frames=frames.length)
        if frames.anchor is not None:
            window.causal_anchor_index = frames.anchor
        return {"context_window": window}

    return Windows(windows, published)


def as_animatediff_evolved(windows: tuple[Frames, ...]) -> Windows:
    return Windows(
        windows, lambda frames: {"ad_params": {"full_length": CLIP, "context_length": 3, "sub_idxs": [*frames.numbers]}}
    )


def comfyuis_own(causal_window_fix: bool, length: int = LENGTH) -> Any:
    """ComfyUI's own node, with its causal fix on or off, as a handler; older versions fail on SD1.5."""
    if "causal_window_fix" not in inspect.signature(comfy.context_windows.IndexListContextHandler).parameters:
        pytest.skip("this ComfyUI has no working context windows for SD1.5")
    settings: dict[str, Any] = {
        "context_length": length,
        "context_overlap": 0,
        "context_schedule": "standard_static",
        "context_stride": 1,
        "closed_loop": False,
        "fuse_method": "flat",
        "dim": 0,
        "freenoise": False,
        "causal_window_fix": causal_window_fix,
    }
    empty = SimpleNamespace(model_options={}, clone=lambda: empty, add_wrapper_with_key=lambda *_: None)
    return ContextWindowsManualNode.execute(empty, **settings)[0].model_options["context_handler"]


HANDLERS = {
    "contract": lambda: contract(WINDOWS),
    "contract with an anchor": lambda: contract(ANCHORED),
    "as ComfyUI": lambda: as_comfyui(WINDOWS),
    "as ComfyUI with an anchor": lambda: as_comfyui(ANCHORED),
    "as AnimateDiff-Evolved": lambda: as_animatediff_evolved(WINDOWS),
    "ComfyUI": lambda: comfyuis_own(False),
    "ComfyUI with an anchor": lambda: comfyuis_own(True),
}


def in_windows(model: ModelPatcher, handler: Any) -> ModelPatcher:
    clone = model.clone()
    clone.model_options["context_handler"] = handler
    return clone
