"""A part of a file that is a video in itself, as the members of a .tar are: it is read where it lies."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Part:
    """Some bytes of a file, which are a file in themselves.

    Attributes:
        path: the file they are in.
        start: where they begin, in bytes.
        length: how many they are.
        name: what people are told it is called.
    """

    path: Path
    start: int
    length: int
    name: str


def first_bytes(file: Path | Part, count: int) -> bytes:
    """Return at most `count` bytes of a file's or a part's beginning."""
    start, most = (file.start, min(count, file.length)) if isinstance(file, Part) else (0, count)
    with (file.path if isinstance(file, Part) else file).open("rb") as opened:
        opened.seek(start)
        return opened.read(most)


def address(file: Path | Part) -> str:
    """Return what ffmpeg opens a file or a part of one by, whatever characters are in its name."""
    if isinstance(file, Part):
        return f"subfile,,start,{file.start},end,{file.start + file.length},,:file:{file.path.absolute()}"
    return f"file:{file.absolute()}"


def protocols(file: Path | Part) -> str:
    """Return ffmpeg's ways to open what `address` returns."""
    return "file,subfile" if isinstance(file, Part) else "file"
