"""Boxes over time: where they are between keyframes, and what cannot be one."""

import math
import re
from typing import Any

import pytest
import torch
from animatelcm.layout.boxes import EASINGS, Box, Keyframe, Layout, LayoutError

START = Keyframe(4, 0.1, 0.2, 0.3, 0.4)
END = Keyframe(12, 0.5, -0.2, 0.5, 0.2)
CLOSED_FORMS = {
    "linear": lambda t: t,
    "ease": lambda t: 3 * t**2 - 2 * t**3,
    "ease in": lambda t: t**2,
    "ease out": lambda t: 1 - (1 - t) ** 2,
    "hold": lambda t: 0.0,
}


def moving(easing: str = "linear") -> Box:
    return Box("fox", (Keyframe(4, 0.1, 0.2, 0.3, 0.4, easing), END))


def place(keyframe: Keyframe) -> tuple[float, ...]:
    return keyframe.x, keyframe.y, keyframe.width, keyframe.height


def test_every_easing_has_a_closed_form() -> None:
    assert EASINGS.keys() == CLOSED_FORMS.keys()


@pytest.mark.parametrize("easing", EASINGS)
@pytest.mark.parametrize("frame", [4, 5, 6.5, 8, 11])
def test_a_box_goes_from_one_keyframe_to_the_next(easing: str, frame: float) -> None:
    share = CLOSED_FORMS[easing]((frame - 4) / 8)
    expected = [(1 - share) * a + share * b for a, b in zip(place(START), place(END), strict=True)]
    assert moving(easing).at(frame) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("easing", EASINGS)
def test_a_box_is_at_its_keyframes_when_they_come(easing: str) -> None:
    assert moving(easing).at(4) == pytest.approx(place(START))
    assert moving(easing).at(12) == pytest.approx(place(END))


def test_a_box_stands_still_before_its_first_and_after_its_last_keyframe() -> None:
    assert moving().at(0) == place(START)
    assert moving().at(99) == place(END)


def test_keyframes_are_taken_in_any_order() -> None:
    assert Box("fox", (END, START)) == Box("fox", (START, END))


def test_rectangles_are_left_top_right_bottom_of_every_frame() -> None:
    found = Layout((moving(), Box("moon", (Keyframe(0, 0.5, 0.5, 0.25, 0.25),)))).rectangles(16)
    assert found.shape == (2, 16, 4)
    x, y, width, height = moving().at(7)
    torch.testing.assert_close(found[0, 7], torch.tensor([x, y, x + width, y + height]))
    torch.testing.assert_close(found[1], torch.tensor([0.5, 0.5, 0.75, 0.75]).expand(16, 4))


def test_a_layout_without_boxes_has_no_rectangles() -> None:
    assert Layout().rectangles(16).shape == (0, 16, 4)


def test_a_keyframe_of_another_name_is_another_box() -> None:
    layout = Layout().with_keyframe("fox", "a fox", START).with_keyframe("moon", "", END)
    assert layout == Layout((Box("fox", (START,), "a fox"), Box("moon", (END,))))


def test_a_keyframe_of_the_same_name_moves_the_box_and_keeps_its_prompt() -> None:
    layout = Layout().with_keyframe("fox", "a fox", END).with_keyframe("fox", "", START)
    assert layout == Layout((Box("fox", (START, END), "a fox"),))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": math.nan}, "x is nan. Expected a number from -2 to 3."),
        ({"y": "0"}, "y is '0'. Expected a number from -2 to 3."),
        ({"width": 0}, "width 0 is out of range. Expected 0.01 to 2."),
        ({"height": 2.5}, "height 2.5 is out of range. Expected 0.01 to 2."),
        ({"frame": 1.5}, "frame is 1.5. Expected a whole number from 0 to 4095."),
        ({"frame": True}, "frame is True. Expected a whole number from 0 to 4095."),
        ({"frame": -1}, "frame -1 is out of range. Expected 0 to 4095."),
        ({"easing": "bounce"}, "There is no easing 'bounce'. There are: linear, ease, ease in, ease out, hold."),
    ],
)
def test_a_keyframe_that_cannot_be_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(LayoutError, match=re.escape(message)) as refused:
        Keyframe(**{**vars(START), **change})
    assert refused.value.path == tuple(change)


def test_a_box_that_cannot_be_is_refused() -> None:
    with pytest.raises(LayoutError, match="has no name"):
        Box(" ", (START,))
    with pytest.raises(LayoutError, match="'fox' has no keyframe"):
        Box("fox", ())
    with pytest.raises(LayoutError, match="two keyframes at frame 4"):
        Box("fox", (START, Keyframe(4, 0, 0, 1, 1)))
    with pytest.raises(LayoutError, match="'red' is no colour. Expected red, green and blue, as '#96053d'"):
        Box("fox", (START,), colour="red")


def test_two_boxes_of_one_name_are_refused() -> None:
    with pytest.raises(LayoutError, match="two boxes named 'fox'"):
        Layout((moving(), moving()))


def test_a_second_prompt_of_a_box_is_refused() -> None:
    with pytest.raises(LayoutError, match="is 'a fox' at one keyframe and 'a cat' at another"):
        Layout().with_keyframe("fox", "a fox", START).with_keyframe("fox", "a cat", END)
