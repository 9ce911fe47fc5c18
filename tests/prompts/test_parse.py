"""Prompts over time as text: what is read, and where errors are."""

import json

import pytest
from animatelcm.prompts.parse import Keyframe, PromptError, at_frames, read_prompts
from hypothesis import given
from hypothesis import strategies as some

FRAMES = some.integers(-4096, 4095)
QUOTED = some.lists(some.tuples(FRAMES, some.text(some.characters(exclude_categories=["Cs"]))), min_size=1, max_size=5)
# What a plain prompt is made of: words without quotes, none of them like a keyframe's beginning
WORDS = some.from_regex(r"[a-z(][a-z0-9:.,()]{0,8}", fullmatch=True)
PLAIN = some.lists(some.tuples(FRAMES, some.lists(WORDS, min_size=1, max_size=4)), min_size=1, max_size=5)
SPACES = some.from_regex(r"[ \t]{0,3}", fullmatch=True)


def read(text: str) -> list[tuple[int, str]]:
    return [(keyframe.frame, keyframe.prompt) for keyframe in read_prompts(text)]


@pytest.mark.parametrize(
    "text",
    [
        "0: a red circle\n16: a blue circle",
        "  0 : a red circle\r\n\r\n\t16:a blue circle  \n",
        "0: a red\n  circle\n16: a blue circle",
        '"0": "a red circle", "16": "a blue circle"',
        '"0" :"a red circle",\n"16" :"a blue circle",\n',
        '{"0": "a red circle", "16": "a blue circle"}',
        '{\n "0": "a red\ncircle",\n "16": "a blue circle"\n}\n',
        '0: "a red circle"\n16: a blue circle',
        '0: "a red circle", 16: "a blue circle"',
    ],
)
def test_both_forms_are_read(text: str) -> None:
    assert read(text) == [(0, "a red circle"), (16, "a blue circle")]


@given(QUOTED, some.sampled_from([{"indent": 1}, {"separators": (",", ":")}, {"ensure_ascii": False}]))
def test_json_is_read_as_it_is(written: list[tuple[int, str]], form: dict[str, object]) -> None:
    written = [(frame, prompt.replace("`", "").replace("--neg", "")) for frame, prompt in written]
    parts = [json.dumps({str(frame): prompt}, **form)[1:-1] for frame, prompt in written]
    assert read(",".join(parts)) == [(frame, " ".join(prompt.split())) for frame, prompt in written]


@given(PLAIN, SPACES, SPACES, some.sampled_from(["\n", "\r\n", "\n\n"]))
def test_plain_lines_are_read_as_they_are(
    written: list[tuple[int, list[str]]], before: str, after: str, end: str
) -> None:
    text = end.join(f"{before}{frame}{after}:{after}{' '.join(words)}{after}" for frame, words in written)
    assert read(text) == [(frame, " ".join(words)) for frame, words in written]


def test_an_empty_prompt_is_a_prompt() -> None:
    assert read('0:\n16: ""\n20: a fox') == [(0, ""), (16, ""), (20, "a fox")]


def test_colons_and_weights_in_a_prompt_are_left() -> None:
    assert read("0: photo: a (red:1.2) fox, at 10:30\n16: (blue:0.5)") == [
        (0, "photo: a (red:1.2) fox, at 10:30"),
        (16, "(blue:0.5)"),
    ]


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("", (1, 1), "there is no prompt"),
        ("{ }", (1, 3), "expected the number of a frame"),
        ("a red circle", (1, 1), "expected the number of a frame"),
        ("\n  0.5: a red circle", (2, 3), "expected the number of a frame"),
        ("0: a fox\n 1.5: a red circle", (2, 2), "expected the number of a frame"),
        ("0: a fox\n5000: a cat", (2, 1), "frame 5000 is out of range"),
        ("0: a fox\n -4097: a cat", (2, 2), "frame -4097 is out of range"),
        ("0: a fox\n" + 5000 * "9" + ": a cat", (2, 1), "is out of range"),
        ('"0": "a fox', (1, 6), "this is no text in quotes"),
        ('"0": "a \\x fox"', (1, 9), "this is no text in quotes"),
        ('"0": "a fox" a cat', (1, 14), "expected the number of a frame"),
        ('"0": "a fox",\n "max_f": "a cat"', (2, 2), "expected the number of a frame"),
        ("'0': 'a fox'", (1, 1), "expected the number of a frame"),
        ("0: a fox\n8: a (cat:`t/2`)", (2, 11), "Expressions in backticks are not computed"),
        ('"0": "a fox --neg a cat"', (1, 13), "'--neg' is not read"),
    ],
)
def test_an_error_says_its_place(text: str, place: tuple[int, int], what: str) -> None:
    with pytest.raises(PromptError) as error:
        read_prompts(text)
    assert str(error.value).startswith(f"Line {place[0]}, column {place[1]}: ")
    assert what in str(error.value)


def test_frames_are_in_order_and_negative_ones_count_from_the_end() -> None:
    keyframes = read_prompts("-1: the last\n0: the first\n8: the middle\n99: never reached")
    assert at_frames(keyframes, 16) == {0: "the first", 8: "the middle", 15: "the last", 99: "never reached"}
    assert list(at_frames(keyframes, 16)) == [0, 8, 15, 99]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("0: a\n -17: b", "Line 2, column 2: frame -17 counts from the end of a clip of 16 frames"),
        ("15: a\n0: b\n-1: c", "Line 3, column 1: there is another prompt for frame 15"),
    ],
)
def test_keyframes_that_do_not_fit_the_clip_are_refused(text: str, what: str) -> None:
    with pytest.raises(PromptError, match=what):
        at_frames(read_prompts(text), 16)


def test_a_keyframe_is_its_frame_and_prompt() -> None:
    assert read_prompts("\n 3: a fox") == (Keyframe(3, "a fox"),)
    assert read_prompts("\n 3: a fox")[0].place == (2, 2)
