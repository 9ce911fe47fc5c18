"""The nodes that make, show and draw layouts."""

import pytest
import torch
from animatelcm.layout.boxes import Box, Layout
from animatelcm.layout.draw import hints
from animatelcm.layout.errors import LayoutError
from animatelcm.layout.keyframes import Keyframe
from animatelcm.layout.parse import write_layout
from animatelcm.nodes.layout import (
    START,
    AnimateLCMLayout,
    AnimateLCMLayoutBox,
    AnimateLCMLayoutHints,
    AnimateLCMLayoutPreview,
)

FRAMES = 16
LAYOUT = Layout((Box("fox", (Keyframe(0, 0.1, 0.1, 0.3, 0.3), Keyframe(15, 0.6, 0.6, 0.3, 0.3)), "a fox"),))


def test_the_text_that_a_new_node_has_is_a_layout() -> None:
    (box,) = AnimateLCMLayout.execute(START)[0].boxes
    assert box.at(0) != box.at(15)
    assert AnimateLCMLayout.validate_inputs(START) is True


def test_the_text_becomes_a_layout() -> None:
    assert AnimateLCMLayout.execute(write_layout(LAYOUT))[0] == LAYOUT


def test_a_text_that_is_no_layout_is_refused_before_anything_runs() -> None:
    message = AnimateLCMLayout.validate_inputs('{"boxes": [\n {}]}')
    assert message == "Line 2, column 2: A box needs name, keyframes; name is missing."


def test_a_text_that_comes_from_another_node_is_checked_when_it_is_there() -> None:
    assert AnimateLCMLayout.validate_inputs(None) is True
    with pytest.raises(LayoutError, match="Line 1, column 1"):
        AnimateLCMLayout.execute("no layout")


def test_two_box_nodes_of_one_name_move_a_box() -> None:
    first = AnimateLCMLayoutBox.execute("fox", "a fox", 0, 0.1, 0.1, 0.3, 0.3, "linear")[0]
    assert AnimateLCMLayoutBox.execute("fox", "", 15, 0.6, 0.6, 0.3, 0.3, "linear", first)[0] == LAYOUT
    assert len(first.boxes[0].keyframes) == 1


def test_the_preview_is_one_picture_that_the_page_shows() -> None:
    output = AnimateLCMLayoutPreview.execute(LAYOUT, 96, 64, FRAMES)
    assert output[0].shape == (1, 64, 96, 3)
    assert output.ui.as_dict()["images"][0]["type"] == "temp"


@pytest.mark.parametrize("kind", ["outline", "filled", "segmentation", "scribble"])
def test_there_is_a_hint_for_every_frame(kind: str) -> None:
    images = AnimateLCMLayoutHints.execute(LAYOUT, 96, 64, FRAMES, kind, 2.0)[0]
    assert torch.equal(images, hints(LAYOUT, FRAMES, 96, 64, kind, 2.0))
    assert not torch.equal(images[0], images[-1])
