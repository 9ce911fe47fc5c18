"""Which frames a UNet call sees, from what handlers of windows publish."""

from types import SimpleNamespace
from typing import Any

import pytest
from animatelcm.windows.frames import FRAMES, Frames, FramesError, ad_params, frames_of

CLIP = 24


def window(*frames: int, **attributes: Any) -> SimpleNamespace:
    """ComfyUI's window, with the attributes that a version gives it."""
    return SimpleNamespace(**{"index_list": list(frames), "total_frames": CLIP, "dim": 0, **attributes})


@pytest.mark.parametrize(
    ("options", "frames"),
    [
        ({}, Frames((0, 1, 2), 3)),
        ({"context_window": window(4, 5, 6)}, Frames((4, 5, 6), CLIP)),
        ({"context_window": window(23, 0, 1)}, Frames((23, 0, 1), CLIP)),
        ({"context_window": window(0, 1, 2, causal_anchor_index=-1)}, Frames((0, 1, 2), CLIP)),
        ({"context_window": window(5, 6, causal_anchor_index=4)}, Frames((5, 6), CLIP, anchor=4)),
        ({"context_window": window(1, 2, causal_anchor_index=0)}, Frames((1, 2), CLIP, anchor=0)),
        ({"context_window": window(4, 5, 6, 7, dim=2)}, Frames((0, 1, 2), 3)),
        ({"ad_params": {"sub_idxs": None, "full_length": 3}}, Frames((0, 1, 2), 3)),
        ({"ad_params": {"sub_idxs": [2, 3, 4], "full_length": 9}}, Frames((2, 3, 4), 9)),
        ({FRAMES: Frames((7, 8, 9), 10), "context_window": window(0, 1, 2)}, Frames((7, 8, 9), 10)),
    ],
    ids=[
        "whole clip",
        "window",
        "window of a loop",
        "first window, with a causal fix",
        "window with an anchor",
        "the anchor is frame 0",
        "windows of another dimension",
        "AnimateDiff-Evolved, whole clip",
        "AnimateDiff-Evolved, window",
        "what a handler says comes first",
    ],
)
def test_each_row_has_its_frames_number(options: dict[str, Any], frames: Frames) -> None:
    assert frames_of(options, 3) == frames
    assert len(frames.numbers) == 3


def test_the_anchor_is_seen_before_the_window() -> None:
    assert Frames((5, 6), CLIP, anchor=4).numbers == (4, 5, 6)


@pytest.mark.parametrize("options", [{"context_window": window(4, 5)}, {FRAMES: Frames((4, 5), CLIP)}])
def test_a_window_that_names_other_frames_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(FramesError, match="sees 3 frames, and the context window names 2"):
        frames_of(options, 3)


@pytest.mark.parametrize(
    ("frames", "sub_idxs"),
    [
        (Frames((0, 1, 2), 3), None),
        (Frames((0, 1, 2), CLIP), [0, 1, 2]),
        (Frames((2, 0, 1), 3), [2, 0, 1]),
        (Frames((8, 9), CLIP, anchor=7), [7, 8, 9]),
    ],
    ids=["whole clip", "first window", "whole clip in another order", "anchor"],
)
def test_other_packs_are_told_the_window_and_the_clips_length(frames: Frames, sub_idxs: list[int] | None) -> None:
    assert ad_params(frames) == {"full_length": frames.length, "context_length": 3, "sub_idxs": sub_idxs}
