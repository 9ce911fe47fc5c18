"""Layouts as text: JSON, whose errors say the line and the column."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import yaml

from .boxes import Box, Keyframe, Layout, LayoutError

EXAMPLE = (
    '{"boxes": [{"name": "fox", "prompt": "a fox", "keyframes": ['
    '{"frame": 0, "x": 0.1, "y": 0.4, "width": 0.3, "height": 0.4}, '
    '{"frame": 15, "x": 0.6, "y": 0.4, "width": 0.3, "height": 0.4}]}]}'
)
LONGEST = 20  # digits
PLACE = ("frame", "x", "y", "width", "height")


def read_layout(text: str) -> Layout:
    """Return the layout that a JSON text describes.

    The text is an object with "boxes"; each has "name" and "keyframes", and may have "prompt" and "colour"; each
    keyframe has "frame", "x", "y", "width" and "height", and may have "easing". See `boxes` for their meaning and
    units.

    Raises:
        LayoutError: if it is no JSON, or no layout; the message begins with the line and the column, from 1.
    """
    try:
        written = json.loads(text, parse_int=_number)
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
            raise LayoutError(f"{what.capitalize()} has no '{name}'. It has {_listed(needed + possible)}.", name)


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
        raise LayoutError(f"{name} is {written[name]!r}. Expected a text in quotes.", name)
    return written[name]


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names)


def _number(digits: str) -> int | float:
    """A number too long for Python's integers is as infinite as it is meaningless."""
    return int(digits) if len(digits) < LONGEST else float(digits)


def _position(text: str, path: tuple[str | int, ...]) -> str:
    """Say where a part of a JSON text begins. JSON is YAML, whose reader keeps the places that JSON's forgets."""
    try:
        node = yaml.compose(text.replace("\t", " "), yaml.SafeLoader)
        for step in path:
            if isinstance(node, yaml.MappingNode):
                node = {key.value: value for key, value in node.value}[step]
            else:
                node = node.value[step]
    except (yaml.YAMLError, KeyError):  # YAML knows no control characters, such as DEL, and no surrogates
        return ""
    return f"Line {node.start_mark.line + 1}, column {node.start_mark.column + 1}: "
