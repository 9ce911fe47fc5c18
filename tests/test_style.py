"""The code's form: what ruff and mypy say, and what the project promises about itself."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = sorted(path.parent.name for path in ROOT.glob("[a-z]*/__init__.py"))
MYPY_OPTIONS = ("--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache"))


def run(*command: str, **options: object) -> None:
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("check", [("check",), ("format", "--check")], ids=["lint", "format"])
def test_ruff_finds_nothing(check: tuple[str, ...]) -> None:
    run("ruff", *check, str(ROOT))


def test_mypy_finds_nothing_in_the_pack(tmp_path: Path) -> None:
    # Relative imports between the pack's folders want a package around them, under a name that is a name
    (tmp_path / "animatelcm").symlink_to(ROOT, target_is_directory=True)
    packages = [f"--package=animatelcm.{name}" for name in PACKAGES]
    run("mypy", *MYPY_OPTIONS, *packages, cwd=tmp_path, env=os.environ | {"MYPYPATH": "."})


def test_mypy_finds_nothing_in_dev_py() -> None:
    run("mypy", *MYPY_OPTIONS, "dev.py", cwd=ROOT)


def test_code_is_ascii_but_for_greek_letters() -> None:
    """Some Windows tools read source in a code page of their own."""
    for path in ROOT.glob("[a-z]*/**/*.py"):
        strange = set(re.findall(r"[^\x00-\x7f]", path.read_text(encoding="utf-8"))) - set("αβγετ·√ᾱ≤≥×−→±∅θ§")
        assert not strange, f"{path}: {strange}"


def test_the_node_pack_never_names_torch_as_a_requirement() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    requirements = [line for line in lines if not line.startswith("#")]
    assert requirements == project["dependencies"]
    assert not [line for line in requirements if line.startswith("torch")]
