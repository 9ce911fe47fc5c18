"""Layouts as text: JSON, whose errors say the line and the column."""

import itertools
import json
import re
from collections.abc import Callable, Iterator
from reprlib import repr as short
from typing import Any

from .boxes import Box, Layout, check_count
from .errors import LayoutError
from .keyframes import Keyframe

EXAMPLE = (
    '{"boxes": [{"name": "fox", "prompt": "a fox", "keyframes": ['
    '{"frame": 0, "x": 0.1, "y": 0.4, "width": 0.3, "height": 0.4}, '
    '{"frame": 15, "x": 0.6, "y": 0.4, "width": 0.3, "height": 0.4}]}]}'
)
LONGEST = 20  # digits
LONGEST_TEXT = 1_000_000  # characters: read in the server's event loop, which answers nothing meanwhile
PLACE = ("frame", "x", "y", "width", "height")


def read_layout(text: str) -> Layout:
    """Return the layout that a JSON text describes.

    The text is an object with "boxes"; each has "name" and "keyframes", and may have "prompt" and "colour"; each
    keyframe has "frame", "x", "y", "width" and "height", and may have "easing". See `boxes` for their meaning and
    units.

    Raises:
        LayoutError: if it is longer than `LONGEST_TEXT`, no JSON, or no layout; the message of the last two begins with
            the line and the column, from 1.
    """
    if len(text) > LONGEST_TEXT:
        raise LayoutError(
            f"The layout's text has {len(text)} characters. It may have {LONGEST_TEXT} at most: write it without "
            "indentation, or leave keyframes out."
        )
    try:
        written = DECODER.decode(text)
    except RecursionError as error:
        raise LayoutError(f"The text is nested too deeply. Expected a layout such as {EXAMPLE}") from error
    except json.JSONDecodeError as error:
        raise LayoutError(
            f"Line {error.lineno}, column {error.colno}: this is not JSON: {error.msg}. Expected a layout such as "
            f"{EXAMPLE}"
        ) from error
    try:
        return _layout(written)
    except LayoutError as error:
        raise LayoutError(_position(text, error.path) + str(error), *error.path) from error


def write_layout(layout: Layout) -> str:
    """Return the text that `read_layout` reads as this layout."""
    boxes = [
        {
            "name": box.name,
            "prompt": box.prompt,
            **({"colour": box.colour} if box.colour else {}),
            "keyframes": [vars(keyframe) for keyframe in box.keyframes],
        }
        for box in layout.boxes
    ]
    return json.dumps({"boxes": boxes}, ensure_ascii=False)


def _layout(written: Any) -> Layout:
    _check_keys("the layout", written, ("boxes",), ())
    if isinstance(written["boxes"], list):
        check_count(len(written["boxes"]))  # before they are read
    return Layout(tuple(_each(written, "boxes", _box)))


def _box(written: Any) -> Box:
    _check_keys("a box", written, ("name", "keyframes"), ("prompt", "colour"))
    words = {name: _text(written, name) for name in ("name", "prompt", "colour") if name in written}
    return Box(keyframes=tuple(_each(written, "keyframes", _keyframe)), **words)


def _keyframe(written: Any) -> Keyframe:
    _check_keys("a keyframe", written, PLACE, ("easing",))
    easing: dict[str, Any] = {"easing": _text(written, "easing")} if "easing" in written else {}
    return Keyframe(*(written[name] for name in PLACE), **easing)


def _check_keys(what: str, written: Any, needed: tuple[str, ...], possible: tuple[str, ...]) -> None:
    """Refuse what is no object with the needed keys, and keys that mean nothing."""
    if not isinstance(written, dict):
        raise LayoutError(f"Expected {what} here, an object in braces, with {_listed(needed)}.")
    for name in needed:
        if name not in written:
            raise LayoutError(f"{what.capitalize()} needs {_listed(needed)}; {name} is missing.")
    for name in written:
        if name not in needed + possible:
            raise LayoutError(f"{what.capitalize()} has no {short(name)}. It has {_listed(needed + possible)}.", name)


def _each(written: dict[str, Any], name: str, read: Callable[[Any], Any]) -> Iterator[Any]:
    """Read the parts of a list; their errors are told where they are."""
    if not isinstance(written[name], list):
        raise LayoutError(f"Expected a list in brackets for {name}.", name)
    for i, part in enumerate(written[name]):
        try:
            yield read(part)
        except LayoutError as error:
            raise LayoutError(str(error), name, i, *error.path) from error


def _text(written: dict[str, Any], name: str) -> str:
    if not isinstance(written[name], str):
        raise LayoutError(f"{name} is {short(written[name])}. Expected a text in quotes.", name)
    return written[name]


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names)


def _number(digits: str) -> int | float:
    """A number too long for Python's integers is as infinite as it is meaningless."""
    return int(digits) if len(digits) < LONGEST else float(digits)


DECODER = json.JSONDecoder(parse_int=_number)
BLANKS = re.compile(r"[ \t\n\r]*")


def _position(text: str, path: tuple[str | int, ...]) -> str:
    """Say where a part of a text that is JSON begins."""
    start = _skip_blanks(text, 0)
    for step in path:
        start = dict(_parts(text, start))[step]
    return f"Line {text.count(chr(10), 0, start) + 1}, column {start - text.rfind(chr(10), 0, start)}: "


def _parts(text: str, start: int) -> Iterator[tuple[str | int, int]]:
    """Yield where each value of the object or the list at `start` begins, with its key or its index."""
    at = _skip_blanks(text, start + 1)
    for key in itertools.count():
        if text[at] in "}]":
            return
        if text[start] == "{":
            key, at = DECODER.raw_decode(text, at)
            at = _skip_blanks(text, _skip_blanks(text, at) + len(":"))
        yield key, at
        at = _skip_blanks(text, DECODER.raw_decode(text, at)[1])
        at = _skip_blanks(text, at + len(",")) if text[at] == "," else at


def _skip_blanks(text: str, at: int) -> int:
    return BLANKS.match(text, at).end()  # type: ignore[union-attr] # matches nothing at all, too
