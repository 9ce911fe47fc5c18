"""The graph in a video file, where ComfyUI's page looks for it."""

import json
import logging
import os
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

PAGE_READS = {".webm": 2 << 20}  # bytes from the beginning of a file, where that is little
OVERHEAD = 8192  # bytes of a file before its metadata, with room
EXIF_FOLLOWS = 0x08  # a flag in a WebP's extended header
MODEL_TAG, ASCII = 0x0110, 2  # in Exif


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


def append_gif_comments(path: Path, texts: Mapping[str, str], size: tuple[int, int]) -> None:
    """Add a comment `key=text` per entry to a GIF (GIF89a, section 24): it has no keys, ffmpeg writes no comments."""
    with path.open("r+b") as gif:
        gif.seek(-1, os.SEEK_END)  # the trailer, one byte, comes after the comments
        for key, text in texts.items():
            gif.write(b"\x21\xfe" + b"".join(sub_blocks(f"{key}={text}".encode())) + b"\x00")
        gif.write(b"\x3b")


def append_webp_exif(path: Path, texts: Mapping[str, str], size: tuple[int, int]) -> None:
    """Add "key:text" per entry as Exif tags to a WebP, as ComfyUI's own saver does and its page reads.

    Args:
        path: a WebP file; one picture alone has no header for that yet.
        texts: what to add.
        size: width and height of the pictures in it, in pixels.
    """
    if not texts:
        return
    with path.open("r+b") as webp:
        whole = webp.read()
        chunks = bytearray(whole[12:])
        if not chunks.startswith(b"VP8X"):
            sides = b"".join((side - 1).to_bytes(3, "little") for side in size)
            chunks[:0] = b"VP8X" + struct.pack("<IB3x", 10, 0) + sides
        chunks[8] |= EXIF_FOLLOWS
        exif = exif_of(texts)
        chunks += b"EXIF" + struct.pack("<I", len(exif)) + exif + b"\x00" * (len(exif) % 2)
        webp.seek(0)
        webp.write(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks)


def exif_of(texts: Mapping[str, str]) -> bytes:
    """Return Exif (TIFF 6.0, section 2) with a text tag per entry, from Model downwards, in the order of the tags."""
    values = [f"{key}:{text}".encode() + b"\x00" for key, text in texts.items()][::-1]
    entries, place = b"", 8 + 2 + 12 * len(values) + 4  # behind the header, the count, the entries, and no next one
    for tag, value in enumerate(values, MODEL_TAG + 1 - len(values)):
        entries += struct.pack("<HHII", tag, ASCII, len(value), place)
        place += len(value)
    return struct.pack("<2sHIH", b"II", 42, 8, len(values)) + entries + b"\x00" * 4 + b"".join(values)


def insert_png_texts(folder: Path, texts: Mapping[str, str], size: tuple[int, int]) -> None:
    """Add a text chunk per entry (PNG, 11.3.4.3) to the first picture of a folder, where the page looks for them."""
    first = min(folder.iterdir())
    header, rest = 33, first.read_bytes()  # bytes: signature and the header's chunk
    chunks = b"".join(png_chunk(b"tEXt", f"{key}\0{text}".encode()) for key, text in texts.items())
    first.write_bytes(rest[:header] + chunks + rest[header:])


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk of a PNG: length, kind, content, checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def sub_blocks(content: bytes) -> Iterator[bytes]:
    """Cut `content` into GIF data sub-blocks: a length of at most 255 and as many bytes."""
    for start in range(0, len(content), 255):
        block = content[start : start + 255]
        yield bytes([len(block)]) + block


def _as_the_page_reads(token: re.Match[str]) -> str:
    if not token[0].startswith('"'):
        return "null"
    return token[0].replace("{", "\\u007b").replace("}", "\\u007d")
