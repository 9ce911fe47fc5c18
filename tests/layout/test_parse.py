"""Layouts as text: what is read, and where errors are."""

import json
import re
import time
from typing import Any

import pytest
from animatelcm.layout.boxes import MOST_BOXES, Box, Layout
from animatelcm.layout.errors import LayoutError
from animatelcm.layout.keyframes import EASINGS, RANGES, Keyframe
from animatelcm.layout.parse import EXAMPLE, LONGEST_TEXT, read_layout, write_layout
from hypothesis import given
from hypothesis import strategies as some

PLACES = {name: some.floats(*RANGES[name]) for name in ("x", "y", "width", "height")}
KEYFRAMES = some.builds(
    Keyframe, frame=some.integers(*RANGES["frame"]), easing=some.sampled_from(sorted(EASINGS)), **PLACES
)
BOXES = some.builds(
    Box,
    name=some.text(min_size=1).filter(str.strip),
    keyframes=some.lists(KEYFRAMES, min_size=1, max_size=4, unique_by=lambda keyframe: keyframe.frame).map(tuple),
    prompt=some.text(),
    colour=some.sampled_from(["", "#96053d", "#FFFFFF"]),
)
LAYOUTS = some.builds(Layout, some.lists(BOXES, max_size=3, unique_by=lambda box: box.name).map(tuple))
PLACE = '"frame": 0, "x": 0, "y": 0, "width": 1, "height": 1'


@given(LAYOUTS)
def test_what_is_written_is_read(layout: Layout) -> None:
    assert read_layout(write_layout(layout)) == layout


def test_what_is_written_can_be_read_by_people() -> None:
    assert '"name": "\N{FOX FACE}"' in write_layout(Layout((Box("\N{FOX FACE}", (Keyframe(0, 0, 0, 1, 1),)),)))


def test_the_example_of_the_messages_is_a_layout() -> None:
    (box,) = read_layout(EXAMPLE).boxes
    assert (box.name, box.prompt, [keyframe.frame for keyframe in box.keyframes]) == ("fox", "a fox", [0, 15])


def test_prompt_colour_and_easing_may_be_left_out() -> None:
    assert read_layout(f'{{"boxes": [{{"name": "a", "keyframes": [{{{PLACE}}}]}}]}}') == Layout(
        (Box("a", (Keyframe(0, 0, 0, 1, 1),)),)
    )


def test_places_may_be_written_as_whole_numbers_and_with_exponents() -> None:
    text = '{"boxes":[{"name":"a","keyframes":[{"frame":3,"x":-1,"y":5e-1,"width":1E0,"height":2}]}]}'
    assert read_layout(text) == Layout((Box("a", (Keyframe(3, -1, 0.5, 1.0, 2),)),))


FORMATS = some.fixed_dictionaries(
    {
        "indent": some.sampled_from([None, 0, 2, "\t"]),
        "separators": some.sampled_from([(",", ":"), (" ,\t", " : "), (",", ":  ")]),
        "ensure_ascii": some.booleans(),
    }
)
NAMES = some.lists(
    some.text('a\u00e9\N{GRINNING FACE}\u5b57\n\t"\\', min_size=1).filter(str.strip),
    min_size=1,
    max_size=3,
    unique=True,
)


@given(NAMES, FORMATS, some.data(), some.sampled_from(["\n", "\r\n"]))
def test_the_place_of_an_error_is_right_however_the_text_is_written(
    names: list[str], form: dict[str, Any], drawn: some.DataObject, line_end: str
) -> None:
    place = {"frame": 0, "x": 0, "y": 0, "width": 1, "height": 1}
    boxes = [{"name": name, "keyframes": [dict(place), {**place, "frame": 5}]} for name in names]
    wrong = drawn.draw(some.sampled_from([keyframe for box in boxes for keyframe in box["keyframes"]]))
    wrong[drawn.draw(some.sampled_from(sorted(RANGES)))] = 98765
    text = json.dumps({"boxes": boxes}, **form).replace("\n", line_end)
    before = text[: text.index("98765")]
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    with pytest.raises(LayoutError, match=rf"^Line {line}, column {column}: \w+ 98765 is out of range"):
        read_layout(text)


def one_box(inside: str) -> str:
    return f'{{"boxes": [\n  {inside}\n]}}'


EASY = f'{{"name": "a", "keyframes": [{{{PLACE}}}]}}'


@pytest.mark.parametrize(
    ("text", "wrong", "message"),
    [
        ("", "", "this is not JSON"),
        ('{"boxes": [\n  {"name": }\n]}', "}\n", "this is not JSON: Expecting value"),
        ("[]", "[", "Expected the layout here, an object in braces, with boxes."),
        ('{"boxes": {}}', "{}", "Expected a list in brackets for boxes."),
        ('{"boxes": [], "box": 1}', "1", "The layout has no 'box'. It has boxes."),
        ("{}", "{", "The layout needs boxes; boxes is missing."),
        ("null", "null", "Expected the layout here"),
        ('{"boxes": []} {}', "{", "this is not JSON: Extra data"),
        ("{'boxes': []}", "'boxes", "this is not JSON"),
        ('{"boxes": [],}', "}", "this is not JSON"),
        (one_box("7"), "7", "Expected a box here, an object in braces, with name, keyframes."),
        (one_box('{"name": "a"}'), '{"name', "A box needs name, keyframes; keyframes is missing."),
        (one_box('{"name": "a", "keyframe": []}'), '{"name', "keyframes is missing."),
        (one_box('{"name": "a", "keyframes": {}}'), "{}", "Expected a list in brackets for keyframes."),
        (one_box('{"name": "a", "keyframes": [[]]}'), "[]", "Expected a keyframe here, an object in braces"),
        (one_box('{"name": " ", "keyframes": []}'), '" "', "A box has no name."),
        (one_box(EASY.replace("{", '{"prompt": null, ', 1)), "null", "prompt is None. Expected a text in quotes."),
        (one_box(EASY.replace("{", '{"color": "", ', 1)), '""', "A box has no 'color'. It has name, keyframes, prompt"),
        (one_box(EASY.replace("}]", ', "easing": 2}]')), "2", "easing is 2. Expected a text in quotes."),
        (one_box(EASY.replace("0", '"0"', 1)), '"0"', "frame is '0'. Expected a whole number from 0 to 4095."),
        (one_box(EASY.replace("0", "0.5", 1)), "0.5", "frame is 0.5. Expected a whole number"),
        (one_box(EASY.replace("1}", "true}")), "true", "height is True. Expected a number"),
        (one_box(EASY.replace("1}", "1e999}")), "1e999", "height is inf. Expected a number"),
        (one_box('{"name": 7, "keyframes": []}'), "7", "name is 7. Expected a text in quotes."),
        (one_box('{"name": "a", "keyframes": []}'), "[]", "has no keyframe"),
        (
            one_box('{"name": "a", "keyframes": [{"frame": 0}]}'),
            '{"frame',
            "A keyframe needs frame, x, y, width, height",
        ),
        (one_box(EASY.replace("{", '{\n\t"colour": "red",\t', 1)), '"red"', "'red' is no colour"),
        (one_box(EASY.replace("}]", ',\r\n\t"easing": "fast"}]')), '"fast"', "no easing 'fast'"),
        (one_box(EASY.replace('"a"', '"\N{GRINNING FACE}"').replace("}]", ', "z": 7}]')), "7", "A keyframe has no 'z'"),
        (one_box(EASY.replace("0", "NaN", 1)), "NaN", "frame is nan"),
        (one_box(EASY.replace("1}", "9}")), "9", "height 9 is out of range"),
        (one_box(EASY.replace("}]", f"}}, {{{PLACE}}}]")), "[{", "two keyframes at frame 0"),
        (one_box(f"{EASY}, {EASY}"), '"a"', "two boxes named 'a'"),
        (one_box(f"{EASY},\r\n\t{EASY}"), '"a"', "two boxes named 'a'"),
    ],
)
def test_an_error_says_where_it_is(text: str, wrong: str, message: str) -> None:
    place = text.rindex(wrong)
    line, column = text[:place].count("\n") + 1, place - text.rfind("\n", 0, place)
    with pytest.raises(LayoutError, match=re.escape(message)) as refused:
        read_layout(text)
    assert str(refused.value).startswith(f"Line {line}, column {column}: ")


def test_an_error_after_control_characters_is_told_with_its_place() -> None:
    text = json.dumps({"boxes": [{"name": "\x7f\ud800", "keyframes": []}]}, ensure_ascii=False)
    with pytest.raises(LayoutError, match=r"^Line 1, column 40: The box '\\x7f\\ud800' has no keyframe"):
        read_layout(text)


def test_of_a_key_that_is_written_twice_the_last_one_counts() -> None:
    with pytest.raises(LayoutError, match=r"^Line 1, column 24: Expected a list in brackets"):
        read_layout('{"boxes": [], "boxes": {}}')


@pytest.mark.parametrize("digits", [21, 400, 5000])
def test_a_number_of_many_digits_is_out_of_range(digits: int) -> None:
    with pytest.raises(LayoutError, match=r"^Line 1, column \d+: x (is inf|1e\+20 is out of range)"):
        read_layout(
            json.dumps({"boxes": [{"name": "a", "keyframes": [json.loads(f"{{{PLACE}}}")]}]}).replace(
                '"x": 0', f'"x": 1{(digits - 1) * "0"}'
            )
        )


def test_a_text_that_is_nested_too_deeply_is_refused() -> None:
    with pytest.raises(LayoutError, match="nested too deeply"):
        read_layout('{"boxes": ' + 100_000 * "[")


@pytest.mark.parametrize("depth", [20, 500, 900])
@pytest.mark.parametrize("text", ['{"boxes": %s}', '{"boxes": [{"name": %s, "keyframes": []}]}'])
def test_a_place_is_found_however_deep_the_text_is_nested(text: str, depth: int) -> None:
    with pytest.raises(LayoutError, match=r"^Line 1, column \d+: .*Expected") as refused:
        read_layout(text % (depth * "[" + depth * "]"))
    assert len(str(refused.value)) < 200


def test_an_unknown_key_is_found_however_it_is_written() -> None:
    with pytest.raises(LayoutError, match=r"^Line 1, column 31: The layout has no '\U0001f600'\. It has boxes\.$"):
        read_layout('{"boxes": [], "\\ud83d\\ude00": 1}')


def test_a_message_is_short_however_long_what_is_wrong_is() -> None:
    for text in ('{"%s": 1}', one_box('{"name": "%s", "keyframes": []}'), one_box('{"name": ["%s"], "keyframes": []}')):
        with pytest.raises(LayoutError) as refused:
            read_layout(text % (100_000 * "x"))
        assert len(str(refused.value)) < 300


def many_boxes(count: int) -> str:
    keyframe = {"frame": 0, "x": 0.25, "y": 0.25, "width": 0.5, "height": 0.5}
    return json.dumps({"boxes": [{"name": str(i), "keyframes": [keyframe]} for i in range(count)]})


def test_the_most_boxes_are_read() -> None:
    assert len(read_layout(many_boxes(MOST_BOXES)).boxes) == MOST_BOXES


def test_more_boxes_are_refused_before_they_are_read() -> None:
    text = many_boxes(MOST_BOXES).replace("[{", "[" + 1000 * "7, " + "{", 1)
    with pytest.raises(LayoutError, match=r"^Line 1, column 11: The layout has 2000 boxes. It may have 1000 at most"):
        read_layout(text)


def test_a_text_that_is_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(LayoutError, match="has 1000001 characters. It may have 1000000 at most"):
        read_layout((LONGEST_TEXT + 1) * "[")


def test_the_place_of_an_error_at_the_end_of_the_longest_text_is_found_at_once() -> None:
    """The server answers nothing meanwhile. A reader in Python took 1 s for each 2000 boxes."""
    boxes = many_boxes(MOST_BOXES).replace('"999"', '" "')
    text = boxes[:-1] + (LONGEST_TEXT - len(boxes)) * " " + "}"
    began = time.process_time()
    with pytest.raises(LayoutError, match="A box has no name"):
        read_layout(text)
    assert time.process_time() - began < 1.0
