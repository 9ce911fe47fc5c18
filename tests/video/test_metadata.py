"""The graph as text in a file: valid JSON always, in the form and the order that ComfyUI's page reads."""

import json
import math
from typing import Any

import pytest
from animatelcm.video.metadata import as_json, ffmetadata, texts_of
from hypothesis import given
from hypothesis import strategies as st


def braces_in_strings(value: Any) -> int:
    if isinstance(value, dict):
        return sum(key.count("{") + braces_in_strings(inner) for key, inner in value.items())
    return value.count("{") if isinstance(value, str) else 0


@given(st.recursive(st.text() | st.integers() | st.none(), lambda inner: st.dictionaries(st.text(), inner)))
def test_json_has_no_braces_in_its_strings(value: Any) -> None:
    """The page counts braces, also those in strings, to find where the graph in a WebM ends."""
    text = as_json(value)
    assert json.loads(text) == value
    assert text.count("{") == text.count("}") == json.dumps(value).count("{") - braces_in_strings(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"is_changed": math.nan}, {"is_changed": None}),
        ([math.inf, -math.inf, 1.5, -2], [None, None, 1.5, -2]),
        ({"text": 'NaN "NaN" -Infinity'}, {"text": 'NaN "NaN" -Infinity'}),
        ({"half": "\ud800"}, {"half": "\ud800"}),
        ({"object": object(), "set": {1}}, {"object": None, "set": None}),
        ({(1, 2): 3, "a": 4}, {"a": 4}),
    ],
)
def test_what_is_no_json_becomes_null(value: Any, expected: Any) -> None:
    text = as_json(value)
    assert text.isascii()
    assert json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON")) == expected


def endless() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["self"] = value
    return value


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize("value", [endless(), deep()], ids=["endless", "deep"])
def test_an_entry_that_cannot_be_written_is_left_out(value: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert texts_of({"workflow": value, "prompt": {}}, ".mp4") == {"prompt": "{}"}
    assert "'workflow' is left out of the video's metadata" in caplog.text


@pytest.mark.parametrize("key", ["", "\ud800", "a\nb", "\u03b1", 7])
def test_a_name_that_is_no_name_is_left_out(key: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert texts_of({key: 1, "prompt": 2}, ".mp4") == {"prompt": "2"}
    assert "its name is not made of letters" in caplog.text


def megabytes(size: float) -> dict[str, str]:
    return {"text": "x" * int(size * 1e6)}


@pytest.mark.parametrize(
    ("workflow", "suffix", "first"),
    [(1.9, ".webm", "workflow"), (3.0, ".webm", "prompt"), (3.0, ".mp4", "workflow"), (0.1, ".webm", "workflow")],
)
def test_what_the_page_reads_comes_first(
    workflow: float, suffix: str, first: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It reads 2 MB of a WebM: the workflow if it fits, else the prompt."""
    texts = texts_of({"prompt": megabytes(0.5), "workflow": megabytes(workflow)}, suffix)
    assert next(iter(texts)) == first and len(texts) == 2
    assert ("Choose MP4 to get it back" in caplog.text) == (first == "prompt")


def test_marks_of_the_metadata_file_are_escaped() -> None:
    assert ffmetadata({"a": "b=c;d#e\\f\ng"}) == ";FFMETADATA1\na=b\\=c\\;d\\#e\\\\f\\\ng\n"
