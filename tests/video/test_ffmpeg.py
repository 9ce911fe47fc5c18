"""Running ffmpeg: what is said where it does not run, and that nothing of it stays."""

import time
from pathlib import Path

import pytest
from animatelcm.video.ffmpeg import ffmpeg, patiently, without_origin
from animatelcm.video.frames import VideoError

REMEDY = "Install it again with 'pip install --force-reinstall imageio-ffmpeg', or let the environment variable IMAGEIO"


@pytest.mark.parametrize(
    ("content", "mode", "expected"),
    [
        (None, 0, "No such file or directory"),
        ("#!/bin/sh", 0o644, "Permission denied"),
        ("not a program", 0o755, "Exec format error"),
        ("#!/nowhere/sh", 0o755, "No such file or directory"),
    ],
)
def test_an_ffmpeg_that_cannot_run_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, mode: int, expected: str
) -> None:
    executable = tmp_path / "my_ffmpeg"
    if content is not None:
        executable.write_text(content)
        executable.chmod(mode)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(executable))
    with pytest.raises(VideoError, match=f"ffmpeg cannot be run: .*my_ffmpeg: {expected}. {REMEDY}"):
        with ffmpeg(["-version"]):
            pass


def test_a_missing_ffmpeg_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imageio_ffmpeg._utils._get_ffmpeg_exe", lambda: None)
    with pytest.raises(VideoError, match=f"There is no ffmpeg, which reads and writes videos. {REMEDY}"):
        with ffmpeg(["-version"]):
            pass


def test_its_output_and_its_log_come_back() -> None:
    source = ["-v", "error", "-f", "lavfi", "-i", "color=c=red:s=2x2:r=1:d=2", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    with ffmpeg([*source, "-"]) as running:
        assert len(running.read(12)) == 12
        assert len(running.read(100)) == 12
        assert running.finish() == 0
    with ffmpeg(["-hide_banner", "-i", "nothing.mp4"]) as running:
        assert running.finish() != 0
        assert "No such file or directory" in running.log()[-1]


def test_an_ffmpeg_that_gave_up_takes_nothing() -> None:
    with ffmpeg(["-f", "rawvideo", "-no_such_option"], takes_input=True) as running:
        assert running.write(bytes(1 << 20)) is False
        assert running.finish() != 0


def test_long_work_is_asked_about_until_it_is_done() -> None:
    asked: list[int] = []
    assert patiently(lambda: time.sleep(0.5) or 3, lambda: asked.append(1)) == 3  # type: ignore[func-returns-value]
    assert len(asked) > 2


def test_work_that_nobody_wants_is_given_up_at_once() -> None:
    begin = time.monotonic()

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        patiently(lambda: time.sleep(5), interrupt)
    assert time.monotonic() - begin < 2


def test_what_work_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        patiently(lambda: 1 // 0, lambda: None)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("[mov,mp4,m4a @ 0x55c6] [IMGUTILS @ 0x7f] Picture size 9x9 is invalid", "Picture size 9x9 is invalid"),
        (" Invalid data found ", "Invalid data found"),
        ("[in#0] other", "[in#0] other"),
    ],
)
def test_a_line_of_the_log_is_for_people(line: str, expected: str) -> None:
    assert without_origin(line) == expected
