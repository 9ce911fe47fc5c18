"""Translations: of every node, input, output and command, and of nothing that is no more."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from animatelcm.nodes.extension import AnimateLCMExtension
from comfy_api.latest import io

ROOT = Path(__file__).resolve().parents[2]
# With a letter of the language
LANGUAGES = {"zh": r"[\u4e00-\u9fff]", "ja": r"[\u3041-\u30ff]", "ko": r"[\uac00-\ud7a3]"}
EVERY = pytest.mark.parametrize("language", LANGUAGES)

NODES = [node.GET_SCHEMA() for node in asyncio.run(AnimateLCMExtension().get_node_list())]
SOURCES = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "web").glob("*.js"))]
IDS = [name for source in SOURCES for name in re.findall(r'^const ID = "(.+)"$', source, re.MULTILINE)]
LABELS = [name for source in SOURCES for name in re.findall(r'^const LABEL = "(.+)"$', source, re.MULTILINE)]

Words = dict[tuple[str, ...], str]


def english(schema: io.Schema) -> Words:
    """What a node shows and says, by its place in nodeDefs.json."""
    node = schema.node_id
    words = {(node, "display_name"): schema.display_name, (node, "description"): schema.description}
    for put in schema.inputs or []:
        words[node, "inputs", put.id, "name"] = put.display_name or put.id
        words[node, "inputs", put.id, "tooltip"] = put.tooltip
    for number, output in enumerate(schema.outputs or []):
        words[node, "outputs", str(number), "name"] = output.display_name or output.id
        words[node, "outputs", str(number), "tooltip"] = output.tooltip
    return {place: text or "" for place, text in words.items()}


ENGLISH = {place: text for schema in NODES for place, text in english(schema).items()}


def read(language: str, file: str) -> Words:
    return dict(leaves(json.loads((ROOT / "locales" / language / f"{file}.json").read_text(encoding="utf-8"))))


def leaves(value: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, str):
        yield place, value
    else:
        for key, part in value.items():
            yield from leaves(part, (*place, key))


def numbers(text: str) -> set[str]:
    return set(re.findall(r"\d+(?:\.\d+)?", text))


def test_every_language_is_tested() -> None:
    assert {path.name for path in (ROOT / "locales").iterdir()} == {"en", *LANGUAGES}


def test_the_english_names_are_of_inputs_that_there_are() -> None:
    assert read("en", "nodeDefs").keys() <= ENGLISH.keys()


@EVERY
def test_all_of_every_node_is_translated_and_nothing_else(language: str) -> None:
    assert read(language, "nodeDefs").keys() == ENGLISH.keys()


@EVERY
def test_descriptions_and_tooltips_are_in_the_language(language: str) -> None:
    said = {
        place: text for place, text in read(language, "nodeDefs").items() if place[-1] in ("tooltip", "description")
    }
    assert not [place for place, text in said.items() if not re.search(LANGUAGES[language], text)]


@EVERY
def test_units_ranges_and_file_names_keep_their_numbers(language: str) -> None:
    translated = read(language, "nodeDefs")
    assert not {place for place, text in ENGLISH.items() if numbers(text) != numbers(translated[place])}


@EVERY
def test_display_names_are_unique(language: str) -> None:
    names = [text for place, text in read(language, "nodeDefs").items() if place[-1] == "display_name"]
    assert len(set(names)) == len(NODES)


@EVERY
def test_commands_are_translated_in_menus_and_in_the_list_of_shortcuts(language: str) -> None:
    assert read(language, "commands").keys() == {(name.replace(".", "_"), "label") for name in IDS}
    menus = ("contextMenu", "menuLabels")
    assert read(language, "main").keys() == {(menu, label) for menu in menus for label in LABELS}


@EVERY
@pytest.mark.parametrize("file", ["nodeDefs", "commands", "main"])
def test_no_text_has_what_the_page_takes_for_a_placeholder(language: str, file: str) -> None:
    assert not [place for place, text in read(language, file).items() if re.search(r"[{}@|]", text) or not text.strip()]
