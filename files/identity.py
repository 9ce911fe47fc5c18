"""Whether a file is still the one that was read."""

from pathlib import Path

Identity = tuple[int, ...]


def identity(path: str | Path) -> Identity:
    """Return numbers that are others once the file `path` was written to or replaced, though its time be set back.

    Copies keep a file's time of modification, and files of one model family have one size: where the system tells, its
    number and the time of its last change of any kind tell them apart.

    Raises:
        OSError: if there is no such file.
    """
    status = Path(path).stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
