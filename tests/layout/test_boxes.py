"""Boxes over time: where they are between keyframes, and what cannot be one."""

import math
import re
from typing import Any

import pytest
import torch
from animatelcm.layout.boxes import MOST_BOXES, Box, Layout
from animatelcm.layout.errors import LayoutError
from animatelcm.layout.keyframes import EASINGS, RANGES, Keyframe
from hypothesis import given
from hypothesis import strategies as some

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


@given(some.permutations([START, END, Keyframe(0, 0, 0, 1, 1), Keyframe(7, 0.5, 0, 1, 1, "hold")]))
def test_keyframes_are_taken_in_any_order(keyframes: list[Keyframe]) -> None:
    box = Box("fox", tuple(keyframes))
    assert [keyframe.frame for keyframe in box.keyframes] == [0, 4, 7, 12]
    assert box == Box("fox", tuple(reversed(keyframes)))


def test_an_easing_is_for_the_way_to_the_next_keyframe_only() -> None:
    steps = (0, 0.0, "ease in"), (4, 0.4, "hold"), (8, 0.8, "ease out"), (12, 0.0, "ease")
    box = Box("fox", tuple(Keyframe(frame, x, 0, 1, 1, easing) for frame, x, easing in steps))
    found = [box.at(frame)[0] for frame in (2, 4, 7, 8, 10, 12, 14)]
    assert found == pytest.approx([0.4 / 4, 0.4, 0.4, 0.8, 0.8 / 4, 0.0, 0.0], abs=1e-12)


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


@pytest.mark.parametrize("name", RANGES)
def test_both_ends_of_a_range_are_in_it(name: str) -> None:
    for value in RANGES[name]:
        assert getattr(Keyframe(**{**vars(START), name: value}), name) == value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": math.nan}, "x is nan. Expected a number from -2 to 3."),
        ({"x": -math.inf}, "x is -inf. Expected a number from -2 to 3."),
        ({"x": None}, "x is None. Expected a number from -2 to 3."),
        ({"height": True}, "height is True. Expected a number from 0.01 to 2."),
        ({"x": 3.01}, "x 3.01 is out of range. Expected -2 to 3."),
        ({"frame": 4096}, "frame 4096 is out of range. Expected 0 to 4095."),
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": ""}, "A box has no name. Give it one, such as 'fox'."),
        ({"name": " \n"}, "A box has no name. Give it one, such as 'fox'."),
        ({"keyframes": ()}, "The box 'fox' has no keyframe. Give it one, for frame 0."),
        (
            {"keyframes": (START, END, Keyframe(4, 0, 0, 1, 1))},
            "The box 'fox' has two keyframes at frame 4. Leave one out.",
        ),
        ({"colour": "red"}, "'red' is no colour. Expected red, green and blue, as '#96053d'."),
        ({"colour": "96053d"}, "'96053d' is no colour."),
        ({"colour": "#96053"}, "'#96053' is no colour."),
        ({"colour": "#96053d\n"}, "is no colour."),
        ({"colour": "#96053g"}, "'#96053g' is no colour."),
    ],
)
def test_a_box_that_cannot_be_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(LayoutError, match=re.escape(message)) as refused:
        Box(**{"name": "fox", "keyframes": (START,), **change})
    assert refused.value.path == tuple(change)


def test_two_boxes_of_one_name_are_refused() -> None:
    with pytest.raises(LayoutError, match="two boxes named 'fox'. Rename one, or give one box several") as refused:
        Layout((moving(), Box("moon", (START,)), moving()))
    assert refused.value.path == ("boxes", 2, "name")


def test_a_second_keyframe_at_one_frame_is_refused() -> None:
    with pytest.raises(LayoutError, match="'fox' has two keyframes at frame 4"):
        Layout().with_keyframe("fox", "", START).with_keyframe("fox", "", START)


def test_a_prompt_may_come_with_a_later_keyframe() -> None:
    layout = Layout().with_keyframe("fox", "", START).with_keyframe("fox", "a fox", END)
    assert layout.boxes[0].prompt == "a fox"


def test_a_second_prompt_of_a_box_is_refused() -> None:
    with pytest.raises(LayoutError, match="is 'a fox' at one keyframe and 'a cat' at another"):
        Layout().with_keyframe("fox", "a fox", START).with_keyframe("fox", "a cat", END)


def test_more_boxes_than_a_picture_shows_are_refused() -> None:
    boxes = tuple(Box(str(i), (START,)) for i in range(MOST_BOXES))
    assert len(Layout(boxes).boxes) == MOST_BOXES
    with pytest.raises(LayoutError, match="has 1001 boxes. It may have 1000 at most"):
        Layout(boxes).with_keyframe("one more", "", START)
