"""What README and docs/ promise is there: every workflow with its result, and every file that is linked."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = sorted(path.stem for path in (ROOT / "workflows").glob("*.json"))


def links(page: Path) -> set[str]:
    """What a page links or shows of the repository, relative to the page's folder."""
    found = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    return {link for link in found if "//" not in link}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file(page: Path) -> None:
    assert links(page)
    assert not [link for link in links(page) if not (page.parent / link).exists()]


def test_no_picture_of_docs_is_left_over() -> None:
    shown = {(page.parent / link).resolve() for page in PAGES for link in links(page)}
    left = [path.name for path in (ROOT / "docs").iterdir() if path.suffix in (".png", ".gif") and path not in shown]
    assert left == ["icon.png"]  # the Registry's


@pytest.mark.parametrize("name", NAMES)
def test_every_workflow_has_its_api_graph_its_thumbnail_and_its_section(name: str) -> None:
    assert (ROOT / "workflows" / "api" / f"{name}.json").is_file()
    assert (ROOT / "workflows" / f"{name}.jpg").read_bytes().startswith(b"\xff\xd8")
    page = (ROOT / "docs" / "workflows.md").read_text(encoding="utf-8")
    (section,) = re.findall(rf"^## {name}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    assert f"]({name}.gif)" in section
    assert f"](../workflows/{name}.json)" in section


def test_the_readme_opens_with_a_moving_picture() -> None:
    first = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))[0]
    assert (ROOT / first).read_bytes().startswith(b"GIF8")
