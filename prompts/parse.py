"""Prompts over time as text, in the two forms that people write; errors say the line and the column.

0: a red circle moving right
16: a blue circle,
    moving left

"0": "a red circle moving right", "16": "a blue circle"
"""

import json
import re
from dataclasses import dataclass, field

LAST_FRAME = 4095
EXAMPLE = "'0: a red circle' on one line and '16: a blue circle' on the next"
KEY = re.compile(r'("?)\s*(-?\d+)\s*\1[ \t]*:[ \t]*')
# A line that begins with a number and a colon is the next keyframe; 0.5 is to be told of, not swallowed.
NEXT = re.compile(r'\n\s*(?=("?)\s*-?\d[\d.]*\s*\1[ \t]*:)')
QUOTED = json.JSONDecoder(strict=False)  # strings may go over several lines, as BatchPromptSchedule's may
NOT_READ = {
    "`": "Expressions in backticks are not computed here: write the number, such as (circle:1.2).",
    "--neg": "'--neg' is not read here: give negative prompts to a schedule of their own.",
}


class PromptError(ValueError):
    """Prompts over time cannot be read, or do not fit the clip."""


@dataclass(frozen=True)
class Keyframe:
    """The prompt of a frame.

    Attributes:
        frame: its number, from 0; negative ones count from the end of the clip.
        prompt: what it shows.
        place: line and column where it is written, from 1.
    """

    frame: int
    prompt: str
    place: tuple[int, int] = field(default=(1, 1), compare=False)


def read_prompts(text: str) -> tuple[Keyframe, ...]:
    """Return the keyframes of a text, in its order.

    Raises:
        PromptError: if it cannot be read; the message begins with the line and the column, from 1.
    """
    at = _after(r"\s*\{?\s*", text, 0)
    found = []
    while at < len(text):
        keyframe, at = _keyframe(text, at)
        found.append(keyframe)
    if not found:
        raise _error(text, at, f"there is no prompt. Write one per keyframe: {EXAMPLE}.")
    return tuple(found)


def at_frames(keyframes: tuple[Keyframe, ...], frames: int) -> dict[int, str]:
    """Return the prompts of a clip of `frames` frames by the number of their frame, from 0, ascending.

    A keyframe behind the end is gone towards and not reached.

    Raises:
        PromptError: if one is before the beginning, or two are at the same frame.
    """
    found: dict[int, str] = {}
    for keyframe in keyframes:
        number = keyframe.frame + frames * (keyframe.frame < 0)
        if number < 0:
            raise _error_at(keyframe.place, f"frame {keyframe.frame} counts from the end of a clip of {frames} frames.")
        if number in found:
            raise _error_at(keyframe.place, f"there is another prompt for frame {number}. Leave one out.")
        found[number] = keyframe.prompt
    return dict(sorted(found.items()))


def _keyframe(text: str, at: int) -> tuple[Keyframe, int]:
    """Read the keyframe at a position, and return the position of the next one too."""
    key = KEY.match(text, at)
    if key is None:
        raise _error(text, at, f"expected the number of a frame, a colon and a prompt: {EXAMPLE}.")
    if len(key[2]) > len(str(-LAST_FRAME)) or not -LAST_FRAME - 1 <= int(key[2]) <= LAST_FRAME:
        raise _error(text, at, f"frame {key[2]} is out of range. Expected {-LAST_FRAME - 1} to {LAST_FRAME}.")
    prompt, end = _quoted(text, key.end()) if text[key.end() : key.end() + 1] == '"' else _plain(text, key.end())
    for sign, remedy in NOT_READ.items():
        if (found := text.find(sign, key.end(), end)) >= 0:
            raise _error(text, found, remedy)
    return Keyframe(int(key[2]), " ".join(prompt.split()), _place(text, at)), end


def _quoted(text: str, at: int) -> tuple[str, int]:
    try:
        prompt, end = QUOTED.raw_decode(text, at)
    except json.JSONDecodeError as error:
        raise _error(text, error.pos, f"this is no text in quotes: {error.msg}.") from error
    return prompt, _after(r"\s*,?\s*(\}\s*$)?", text, end)


def _plain(text: str, at: int) -> tuple[str, int]:
    following = NEXT.search(text, at)
    return (text[at : following.start()], following.end()) if following else (text[at:], len(text))


def _after(pattern: str, text: str, at: int) -> int:
    """Return where what `pattern`, which may match nothing, matches ends."""
    found = re.compile(pattern).match(text, at)
    return found.end() if found else at


def _place(text: str, at: int) -> tuple[int, int]:
    return text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)


def _error(text: str, at: int, message: str) -> PromptError:
    return _error_at(_place(text, at), message)


def _error_at(place: tuple[int, int], message: str) -> PromptError:
    line, column = place
    return PromptError(f"Line {line}, column {column}: {message}")
