"""A file that is there whole or not at all, whatever happens while it is written."""

import contextlib
import errno
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .frames import VideoError

PREFIX = ".animatelcm-"
ABANDONED = 86400.0  # seconds without a change after which nobody writes there any more

REASONS = {
    errno.ENOSPC: "there is no space left on the disk. Free some, or choose a lower quality.",
    errno.EDQUOT: "your share of the disk is full. Free some, or choose a lower quality.",
    errno.ENAMETOOLONG: "the name is too long for this disk. Choose a shorter one.",
    errno.EROFS: "the disk is read-only. Choose another output folder with --output-directory.",
    errno.EACCES: "this user may not write there. Choose another output folder with --output-directory.",
}


@contextmanager
def unfinished(path: Path, temporary: Path | None = None) -> Iterator[Path]:
    """A place to write at, in a folder of its own, that takes `path`'s place at the end.

    A link of that name is replaced, not followed. What a killed process left beside `path` is cleared here, a day
    later; what it left in `temporary` is for whoever clears that folder.

    Args:
        path: where the whole file, or folder, is to be; its folder exists.
        temporary: a folder to keep what is unfinished in, if that is on the same disk; else it is hidden beside `path`.

    Raises:
        VideoError: if the disk does not take it; the message says why.
    """
    try:
        clear_abandoned(path.parent)
        with tempfile.TemporaryDirectory(dir=workplace(path.parent, temporary), prefix=PREFIX) as folder:
            part = Path(folder) / f"unfinished{path.suffix}"
            yield part
            move(part, path)
    except OSError as error:
        raise VideoError(cannot_save(path.name, error.errno, error.strerror)) from error


def cannot_save(name: str, number: int | None, words: str | None) -> str:
    """What is said where the operating system refuses, by its number for that, else in its words."""
    shown = name if len(name) < 100 else f"{name[:50]}...{name[-30:]}"
    return f"{shown!r} could not be saved: {REASONS.get(number or 0, f'{words}.')}"


def workplace(beside: Path, temporary: Path | None) -> Path:
    """The temporary folder where a file of it can be renamed to `beside`, as far as one can tell; else `beside`."""
    if temporary is None:
        return beside
    with contextlib.suppress(OSError):
        temporary.mkdir(parents=True, exist_ok=True)
        if temporary.stat().st_dev == beside.stat().st_dev:
            return temporary
    return beside


def move(part: Path, path: Path) -> None:
    """Rename `part` to `path`, which happens at once or not at all."""
    try:
        part.replace(path)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # Two mounts of one disk, as containers have them, look like one place and are not
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=PREFIX) as folder:
            Path(shutil.move(part, folder)).replace(path)


def clear_abandoned(folder: Path) -> None:
    """Remove what killed processes left in a folder, and nothing that may still be written."""
    for left in folder.glob(f"{PREFIX}*"):
        changed = max((inner.lstat().st_mtime for inner in (left, *left.glob("*"))), default=0.0)
        if left.is_dir() and not left.is_symlink() and changed < time.time() - ABANDONED:
            shutil.rmtree(left, ignore_errors=True)
