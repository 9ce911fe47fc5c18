"""The tests run several times, on other ComfyUI trees and as on other processors, and a table of how they went."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree

from comfyui_environment import check_tree, requirements_of, say

DEV = Path(__file__).resolve().parent / "dev.py"
# Other kernels, other widths of vectors and other numbers of threads add numbers up in another order
PROCESSORS = (
    "",
    "ATEN_CPU_CAPABILITY=default",
    "ATEN_CPU_CAPABILITY=avx2",
    "ONEDNN_MAX_CPU_ISA=SSE41",
    "OMP_NUM_THREADS=1",
)
COMPUTING = (
    "-m",
    "not full_size and not every_graph and not inductor and not server",
    "--ignore=tests/test_dev.py",
    "--ignore=tests/test_style.py",
)
HEAD = ("ComfyUI", "page", "processor", "passed", "failed", "skipped", "minutes", "tree")


def run_repeatedly(trees: list[Path], processors: bool, options: list[str]) -> int:
    """Run pytest for each tree (and processor, with the tests that compute); 1 if one of the runs failed, or else 0."""
    for tree in trees:
        check_tree(tree)
    chosen = [*COMPUTING, *options] if processors else options
    runs = [(tree, processor) for tree in trees for processor in (PROCESSORS if processors else ("",))]
    results = [run_once(tree, processor, chosen) for tree, processor in runs]
    rows = [HEAD, ("---",) * len(HEAD), *(row for _, row in results)]
    say("\n".join(f"| {' | '.join(row)} |" for row in rows))
    return int(any(status for status, _ in results))


def run_once(tree: Path, processor: str, options: list[str]) -> tuple[int, tuple[str, ...]]:
    """The exit status, and the row of the table."""
    own, page = versions_of(tree)
    shown = processor or "as it is"
    say(f"Testing on ComfyUI {own} in {tree}, processor {shown}")
    variables = {"COMFYUI_DIR": str(tree)} | dict([processor.split("=")] if processor else [])
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, str(DEV), "test", *options, f"--junitxml={report}"]
        status = wait_for(subprocess.Popen(command, env=os.environ | variables))
        counts = counts_in(report) if report.is_file() else ("not run", "", "")
    return status, (own, page, shown, *counts, f"{(time.monotonic() - start) / 60:.1f}", str(tree))


def versions_of(tree: Path) -> tuple[str, str]:
    """ComfyUI's, and that of the page that it asks for."""
    own = re.search(r'__version__ = "(.*)"', (tree / "comfyui_version.py").read_text())
    page = re.search(r"^comfyui-frontend-package==(.*)", requirements_of(tree), re.MULTILINE)
    return own.group(1) if own else "?", page.group(1) if page else "?"


def counts_in(report: Path) -> tuple[str, str, str]:
    """How many tests passed, failed and were skipped, by pytest's JUnit report."""
    suites = list(ElementTree.parse(report).getroot().iter("testsuite"))
    tests, errors, failures, skipped = (
        sum(int(suite.get(name, 0)) for suite in suites) for name in ("tests", "errors", "failures", "skipped")
    )
    return str(tests - errors - failures - skipped), str(errors + failures), str(skipped)


def wait_for(process: subprocess.Popen[bytes]) -> int:
    """The exit status of a child, which is asked to end when this process is."""
    with process:
        try:
            return process.wait()
        except SystemExit:
            process.terminate()
            raise
