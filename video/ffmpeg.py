"""Running the ffmpeg that imageio-ffmpeg brings: it never hangs its caller, and never outlives it."""

import contextlib
import os
import re
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TypeVar

import imageio_ffmpeg

from .frames import VideoError

T = TypeVar("T")

ASK = 0.1  # seconds between two questions whether work is still wanted
LOG_LINES, LOG_LINE = 2000, 1024  # of what ffmpeg says, its end is kept: metadata of megabytes are printed too
REMEDY = (
    "Install it again with 'pip install --force-reinstall imageio-ffmpeg', or let the environment variable "
    "IMAGEIO_FFMPEG_EXE name an ffmpeg that runs."
)


@dataclass(frozen=True)
class Ffmpeg:
    """A running ffmpeg. Every method asks, as long as it waits, whether the work is still wanted.

    Attributes:
        process: the process, with unbuffered pipes.
        still_wanted: raises to give up.
    """

    process: "subprocess.Popen[bytes]"
    still_wanted: Callable[[], None]
    _lines: "deque[bytes]"
    _listener: threading.Thread

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes of its output; fewer where that ends."""
        return patiently(lambda: _read(_open(self.process.stdout), size), self.still_wanted)

    def write(self, content: bytes) -> bool:
        """Hand `content` over, and return whether it was taken: an ffmpeg that gave up takes nothing."""
        return patiently(lambda: _write(_open(self.process.stdin), content), self.still_wanted)

    def finish(self) -> int:
        """Let it come to its end, and return its exit code; 0 is success."""
        if self.process.stdin:
            self.process.stdin.close()
        return patiently(self.process.wait, self.still_wanted)

    def log(self) -> list[str]:
        """Return the lines it said so far; all of them after `finish`."""
        if self.process.poll() is not None:
            self._listener.join(timeout=1)
        return b"".join(self._lines).decode(errors="replace").splitlines()


@contextmanager
def ffmpeg(
    arguments: Sequence[str], still_wanted: Callable[[], None] = lambda: None, takes_input: bool = False
) -> Iterator[Ffmpeg]:
    """Run ffmpeg as long as the context lasts; its output and what it says are pipes.

    Args:
        arguments: what follows "ffmpeg" on a command line.
        still_wanted: called every tenth of a second while something is waited for; it may raise to stop.
        takes_input: whether something will be written to it.

    Raises:
        VideoError: if there is no ffmpeg that runs.
    """
    command = [executable(), *arguments]
    stdin = subprocess.PIPE if takes_input else subprocess.DEVNULL
    out = subprocess.PIPE
    window = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # of Windows
    try:
        # A session of its own, which is killed as a whole: the executable may be a script that starts another
        process = subprocess.Popen(command, 0, None, stdin, out, out, start_new_session=True, creationflags=window)
    except OSError as error:
        raise VideoError(f"ffmpeg cannot be run: {command[0]}: {error.strerror}. {REMEDY}") from error
    lines: deque[bytes] = deque(maxlen=LOG_LINES)
    listener = threading.Thread(target=_listen, args=(process.stderr, lines), daemon=True)
    listener.start()
    try:
        yield Ffmpeg(process, still_wanted, lines, listener)
    finally:
        _kill(process)
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()


def executable() -> str:
    """Return the path of ffmpeg.

    Raises:
        VideoError: if imageio-ffmpeg finds none.
    """
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise VideoError(f"There is no ffmpeg, which reads and writes videos. {REMEDY}") from error


def patiently(work: Callable[[], T], still_wanted: Callable[[], None]) -> T:
    """Return what `work` returns, asking all the time whether it is still wanted: pipes know no time limits."""
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except Exception as error:  # for the thread that waits
            result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    still_wanted()
    while not wait([result], timeout=ASK).done:
        still_wanted()
    return result.result()


def without_origin(line: str) -> str:
    """A line of ffmpeg's log without the part of ffmpeg, and its address in memory, that it comes from."""
    return re.sub(r"^(\[[^\]]* @ 0x[0-9a-f]+\] )+", "", line.strip())


def _kill(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        with contextlib.suppress(OSError):  # it ended by itself just now
            if os.name == "nt":
                process.kill()
            else:
                os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _open(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise ValueError("This ffmpeg was started without that pipe.")
    return pipe


def _read(pipe: IO[bytes], size: int) -> bytes:
    content = bytearray()
    while len(content) < size and (part := pipe.read(size - len(content))):
        content += part
    return bytes(content)


def _write(pipe: IO[bytes], content: bytes) -> bool:
    rest = memoryview(content)
    try:
        while rest:
            rest = rest[pipe.write(rest) :]
    except (OSError, ValueError):  # nobody reads it any more, or it was closed
        return False
    return True


def _listen(pipe: IO[bytes], lines: "deque[bytes]") -> None:
    with pipe, contextlib.suppress(OSError):
        while part := pipe.read(LOG_LINE):
            lines.append(part)
