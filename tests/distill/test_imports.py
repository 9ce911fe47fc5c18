"""Data flows one way: the mini family is built on the method, and neither the method nor SD1.5 knows of it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

DISTILL = Path(__file__).resolve().parents[2] / "distill"
COMMAND = {"command.py", "__main__.py"}  # the way in, which starts whichever family is asked for
UNAWARE = [
    *(path for path in sorted(DISTILL.glob("*.py")) if path.name not in COMMAND),
    *sorted((DISTILL / "sd15").rglob("*.py")),
]


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, relative ones as they are below the project: distill.mini.text."""
    package = path.relative_to(DISTILL.parent).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*start, *filter(None, [node.module])))
            yield from (f"{module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", UNAWARE, ids=lambda path: path.relative_to(DISTILL).as_posix())
def test_the_method_and_sd15_import_nothing_of_the_mini_family(path: Path) -> None:
    assert not [module for module in imported(path) if "distill.mini" in module]


def test_the_mini_family_is_found_where_it_is_imported() -> None:
    assert "distill.mini.export.export" in imported(DISTILL / "command.py")
