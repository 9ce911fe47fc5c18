"""The graph in a video file, where ComfyUI's page looks for it."""

import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

PAGE_READS = {".webm": 2 << 20}  # bytes from the beginning of a file, where that is little
OVERHEAD = 8192  # bytes of a file before its metadata, with room


def texts_of(metadata: Mapping[str, Any], suffix: str) -> dict[str, str]:
    """Return each entry as JSON, in the order that lets the page find most in a file with that suffix.

    An entry that is no JSON, or has a name that no file takes, is left out and named in the log.
    """
    texts = {}
    for key, value in metadata.items():
        try:
            if not (isinstance(key, str) and key and key.isascii() and key.isprintable()):
                raise ValueError("its name is not made of letters")
            texts[key] = as_json(value)
        except (ValueError, RecursionError) as error:
            logging.warning("AnimateLCM: %.40r is left out of the video's metadata: %s.", key, error)
    room = PAGE_READS.get(suffix, 1 << 60) - OVERHEAD
    if len(texts.get("workflow", "")) > room:
        logging.warning(
            "AnimateLCM: the workflow has %.1f MB, and ComfyUI's page reads 2 MB of a WebM file. Choose MP4 to get it "
            "back by dropping the file on the page.",
            len(texts["workflow"]) / 1e6,
        )
    # The workflow holds more than the prompt, which the page opens where there is nothing else
    return dict(sorted(texts.items(), key=lambda entry: entry[0] != "workflow" or len(entry[1]) > room))


def as_json(value: Any) -> str:
    """Return `value` as JSON that ComfyUI's page reads.

    There are no braces in its strings: the page counts those too, to find a WebM's graph. Numbers that are none, and
    what JSON does not know, are null.

    Raises:
        ValueError: if the value contains itself.
        RecursionError: if it is nested too deeply.
    """
    written = json.dumps(value, separators=(",", ":"), skipkeys=True, default=lambda unknown: None)
    return re.sub(r'"(?:[^"\\]|\\.)*"|-?Infinity|NaN', _as_the_page_reads, written)


def ffmetadata(texts: Mapping[str, str]) -> str:
    """Return the text of ffmpeg's metadata file: long graphs do not fit on a command line."""
    escaped = str.maketrans({mark: f"\\{mark}" for mark in "=;#\\\n"})
    lines = (f"{key.translate(escaped)}={text.translate(escaped)}\n" for key, text in texts.items())
    return ";FFMETADATA1\n" + "".join(lines)


def append_gif_comments(path: Path, texts: Mapping[str, str]) -> None:
    """Add a comment `key=text` per entry to a GIF (GIF89a, section 24): it has no keys, ffmpeg writes no comments."""
    with path.open("r+b") as gif:
        gif.seek(-1, os.SEEK_END)  # the trailer, one byte, comes after the comments
        for key, text in texts.items():
            gif.write(b"\x21\xfe" + b"".join(sub_blocks(f"{key}={text}".encode())) + b"\x00")
        gif.write(b"\x3b")


def sub_blocks(content: bytes) -> Iterator[bytes]:
    """Cut `content` into GIF data sub-blocks: a length of at most 255 and as many bytes."""
    for start in range(0, len(content), 255):
        block = content[start : start + 255]
        yield bytes([len(block)]) + block


def _as_the_page_reads(token: re.Match[str]) -> str:
    if not token[0].startswith('"'):
        return "null"
    return token[0].replace("{", "\\u007b").replace("}", "\\u007d")
