"""Workflow files: read, moved, written beside with a name of their own or in place; never half a file."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from .graph import GraphError
from .move import move
from .report import Report, lines

SUFFIX = ".animatelcm.json"


class FileTroubleError(Exception):
    """A file cannot be read or written; the message says which and what to do."""


def migrate_file(path: Path, check: bool, in_place: bool) -> tuple[Report, Path | None]:
    """Move one workflow file.

    Args:
        path: a graph in the page's form or in API form.
        check: whether to write nothing.
        in_place: whether to write to the same name.

    Returns:
        the report, and the file that was written; None where nothing was to be done, or to be written.

    Raises:
        FileTroubleError: if there is no such file, it is no graph, there is a file of the new name already, or none can
            be written there.
    """
    text = _read(path)
    try:
        moved = move(json.loads(text))
    except RecursionError:
        raise FileTroubleError(f"{path} is nested deeper than any workflow.") from None
    except json.JSONDecodeError as error:
        raise FileTroubleError(f"{path} is no JSON: {error.msg} in line {error.lineno}.") from error
    except GraphError as error:
        raise FileTroubleError(f"{path}: {error}") from error
    if check or all(finding.stays for finding in moved.report.findings):
        return moved.report, None
    target = path if in_place else path.with_name(path.stem + SUFFIX)
    if target.exists() and not in_place:
        raise FileTroubleError(f"{target} is there already. Move it away, or use --in-place.")
    _write(target, _as_text(moved.document, like=text))
    return moved.report, target


def migrate(paths: list[Path], check: bool, in_place: bool, say: Callable[[str], None]) -> int:
    """Move workflow files and say what became of each; return 0 where none needs AnimateDiff-Evolved any more."""
    failed = False
    for path in paths:
        try:
            report, target = migrate_file(path, check, in_place)
        except FileTroubleError as trouble:
            say(str(trouble))
            failed = True
            continue
        say(f"{path}: {lines(report)[0]}")
        for line in lines(report)[1:]:
            say(line)
        if target:
            say(f"Wrote {target}")
        failed = failed or any(finding.stays for finding in report.findings)
    return int(failed)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise FileTroubleError(f"There is no file {path}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise FileTroubleError(f"{path} cannot be read as text: {error}. Expected a workflow's JSON file.") from error


def _as_text(document: Any, like: str) -> str:
    """JSON, on one line where it was."""
    indent = 2 if "\n" in like.strip() else None
    return json.dumps(document, ensure_ascii=False, indent=indent) + "\n" * like.endswith("\n")


def _write(path: Path, text: str) -> None:
    """Write under another name and rename: nobody finds half a file."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        with suppress(OSError):  # a read-only file system refuses that too, even of a file that is not there
            part.unlink(missing_ok=True)
        what = (error.strerror or str(error)).lower()
        raise FileTroubleError(f"{path} cannot be written: {what}. Choose a folder that can be written to.") from error
