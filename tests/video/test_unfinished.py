"""A file is there whole or not at all, and what a kill leaves does not stay."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from animatelcm.video.frames import VideoError
from animatelcm.video.unfinished import ABANDONED, PREFIX, unfinished, workplace

ROOT = Path(__file__).resolve().parents[2]
# A saver that is killed between two frames; its first argument is the target, its second the temporary folder
SAVER = """
import signal, sys, types, time, pathlib, torch
signal.signal(signal.SIGINT, signal.default_int_handler) # a shell's background jobs are born ignoring it
pack = types.ModuleType("animatelcm"); pack.__path__ = [ROOT]; sys.modules["animatelcm"] = pack
from animatelcm.video.write import VideoSettings, write_video
def wait(done, total):
    if done == 2:
        print("saving", flush=True)
        time.sleep(60)
temporary = pathlib.Path(sys.argv[2]) if sys.argv[2] else None
write_video(pathlib.Path(sys.argv[1]), torch.rand(4, 64, 64, 3), VideoSettings(), {}, wait, temporary)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "output").mkdir()
    return tmp_path / "output"


def write(path: Path, temporary: Path | None = None) -> None:
    with unfinished(path, temporary) as part:
        part.write_text("whole")


@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_file_is_there_when_it_is_whole(folder: Path, elsewhere: bool) -> None:
    temporary = folder.parent / "temp" if elsewhere else None
    with unfinished(folder / "a.mp4", temporary) as part:
        part.write_text("whole")
        assert not (folder / "a.mp4").exists()
        assert (temporary or folder) == part.parent.parent and part.suffix == ".mp4"
    assert (folder / "a.mp4").read_text() == "whole"
    assert [path.name for path in folder.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError, VideoError])
def test_nothing_is_there_when_it_is_not(folder: Path, error: type[BaseException]) -> None:
    with pytest.raises(error):
        with unfinished(folder / "a.mp4", folder.parent / "temp") as part:
            part.write_text("half")
            raise error
    assert not list(folder.iterdir()) and not list((folder.parent / "temp").iterdir())


def test_a_temporary_folder_on_another_disk_is_not_used(folder: Path, small_disk: Path) -> None:
    assert workplace(folder, small_disk) == folder
    write(folder / "a.mp4", small_disk)
    assert (folder / "a.mp4").read_text() == "whole"


def test_two_mounts_of_one_disk_are_noticed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As containers have them: renaming from one to the other is refused."""
    temporary = folder.parent / "temp"

    def refuse(part: Path, path: Path) -> Path:
        if part.is_relative_to(temporary) != Path(path).is_relative_to(temporary):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return part.rename(path)

    monkeypatch.setattr(Path, "replace", refuse)
    write(folder / "a.mp4", temporary)
    assert [path.name for path in folder.iterdir()] == ["a.mp4"]
    assert (folder / "a.mp4").read_text() == "whole"


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_killed_saver_leaves_nothing_in_the_output_folder(folder: Path, kill: signal.Signals) -> None:
    """What SIGKILL and SIGTERM leave is in ComfyUI's temporary folder, which it clears."""
    command = [sys.executable, "-c", SAVER.replace("ROOT", repr(str(ROOT)))]
    arguments = [str(folder / "a.mp4"), str(folder.parent / "temp")]
    with subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as saver:
        assert saver.stdout and saver.stdout.readline() == b"saving\n"
        saver.send_signal(kill)
    assert not list(folder.iterdir())
    assert bool(list((folder.parent / "temp").iterdir())) == (kill != signal.SIGINT)


def left(folder: Path, name: str, age: float) -> Path:
    (folder / name).mkdir()
    (folder / name / "half.mp4").write_text("half")
    for path in (folder / name / "half.mp4", folder / name):
        os.utime(path, (time.time() - age, time.time() - age))
    return folder / name


def test_what_a_kill_left_beside_the_target_goes_a_day_later(folder: Path) -> None:
    old, new = left(folder, f"{PREFIX}old", ABANDONED + 60), left(folder, f"{PREFIX}new", ABANDONED - 60)
    others = left(folder, ".another", ABANDONED + 60)
    write(folder / "a.mp4")
    assert not old.exists() and new.exists() and others.exists()


def test_a_link_that_looks_like_something_left_is_not_followed(folder: Path) -> None:
    other = left(folder.parent, "other", ABANDONED + 60)
    (folder / f"{PREFIX}link").symlink_to(other)
    write(folder / "a.mp4")
    assert (other / "half.mp4").exists()


def test_a_link_in_place_of_the_file_is_replaced_not_followed(folder: Path) -> None:
    (folder.parent / "secret").write_text("secret")
    (folder / "a.mp4").symlink_to(folder.parent / "secret")
    write(folder / "a.mp4")
    assert (folder.parent / "secret").read_text() == "secret"
    assert (folder / "a.mp4").read_text() == "whole" and not (folder / "a.mp4").is_symlink()


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, "'a.mp4' could not be saved: there is no space left on the disk. Free some"),
        (errno.ENAMETOOLONG, "'a.mp4' could not be saved: the name is too long for this disk"),
        (errno.EROFS, "the disk is read-only. Choose another output folder"),
        (errno.EIO, "'a.mp4' could not be saved: Input/output error."),
    ],
)
def test_a_disk_that_refuses_is_named(folder: Path, number: int, expected: str) -> None:
    with pytest.raises(VideoError, match=expected):
        with unfinished(folder / "a.mp4"):
            raise OSError(number, os.strerror(number))
    assert not list(folder.iterdir())
