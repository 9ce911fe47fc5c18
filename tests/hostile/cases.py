"""Graphs and files that nobody means well with, made when asked for: from shipped graphs, and from the schemas."""

import asyncio
import copy
import functools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from animatelcm.nodes.extension import AnimateLCMExtension
from comfy_api.latest import io

from ..files.hostile import HOSTILE, content

Graph = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = object()
VALUES: dict[str, Any] = {
    "null": None,
    "number": -7.5,
    "text": "no such thing",
    "dictionary": {"samples": None},
    "empty list": [],
    "long list": [1, 2, 3],
    "nan": math.nan,
    "infinity": math.inf,
    "huge": 10**400,
    "left out": LEFT_OUT,
    "wrong link": ...,
}
# What ComfyUI itself makes a value of the right type from, or what is one
TAKEN = {
    io.String.Input: {"null", "number", "text", "dictionary", "nan", "infinity", "huge"},
    io.Boolean.Input: {"null", "number", "text", "dictionary", "nan", "infinity", "huge"},
}
HUGE = b"\xff\xff\xff\xff"  # 65535 x 65535
GIF = b"GIF89a" + HUGE + b"\x80\0\0" + 6 * b"\0" + b"!\xf9\4\0\0\0\0\0,\0\0\0\0" + HUGE + b"\0\2\2D\1\0;"
VIDEOS: dict[str, bytes] = {
    "empty": b"",
    "HTML": b"<!DOCTYPE html><html>",
    "text": b"no video\n" * 99,
    "random bytes": bytes(i * 89 % 251 + 1 for i in range(9999)),
    "a playlist": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    "a list of files": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "a manifest": b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period/></MPD>',
    "the beginning of an MP4": b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41\0\0\0\x08free\0\0\x10\0mdat",
    "a GIF of 65535 x 65535": GIF,
    "a WAV": b"RIFF$\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0D\xac\0\0\x88X\1\0\2\0\x10\0data\0\0\0\0",
}


@functools.cache
def schemas() -> dict[str, io.Schema]:
    """Of all nodes of the pack, by their ids."""
    return {
        (schema := node.GET_SCHEMA()).node_id: schema for node in asyncio.run(AnimateLCMExtension().get_node_list())
    }


def shipped() -> dict[str, Graph]:
    return {path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "workflows" / "api").glob("*.json"))}


@dataclass(frozen=True)
class Posted:
    """A shipped graph with one input of one node changed."""

    workflow: str
    node: str
    input: str
    kind: str

    def __str__(self) -> str:
        return f"{self.workflow}-{self.node}-{self.input}-{self.kind}"

    @property
    def graph(self) -> Graph:
        graph = outputs_of(shipped()[self.workflow], self.node)
        value = VALUES[self.kind]
        if value is LEFT_OUT:
            del graph[self.node]["inputs"][self.input]
        else:
            graph[self.node]["inputs"][self.input] = wrong_link(graph, self) if value is ... else value
        return graph


@dataclass(frozen=True)
class Filed:
    """A shipped graph that names a hostile file."""

    slot: str
    kind: str

    def __str__(self) -> str:
        return f"{self.slot}-{self.kind}"

    @property
    def folder(self) -> str:
        return {"motion_module": "models/animatediff_models", "video": "input"}.get(self.slot, "models/loras")

    @property
    def name(self) -> str:
        return "hostile.mp4" if self.slot == "video" else "hostile.ckpt"

    def write(self, path: Path) -> None:
        write = content(VIDEOS[self.kind]) if self.slot == "video" else HOSTILE[self.kind][0]
        write(path)

    @property
    def graph(self) -> Graph:
        graph = copy.deepcopy(shipped()["video_to_video" if self.slot == "video" else "text_to_video"])
        for node in graph.values():
            if self.slot in node["inputs"] and not isinstance(node["inputs"][self.slot], list):
                node["inputs"][self.slot] = self.name
        return graph


def outputs_of(graph: Graph, node: str) -> Graph:
    """A graph without the outputs that do not need a node: ComfyUI would run these all the same."""
    outputs = {name: schema for name, schema in schemas().items() if schema.is_output_node}
    return {name: part for name, part in graph.items() if part["class_type"] not in outputs or needs(graph, name, node)}


def needs(graph: Graph, name: str, node: str) -> bool:
    links = [value[0] for value in graph[name]["inputs"].values() if isinstance(value, list)]
    return name == node or any(needs(graph, link, node) for link in links)


def wrong_link(graph: Graph, case: Posted) -> list[Any]:
    """A link to an output of the checkpoint that is no such thing as the input wants: its VAE, or its model."""
    (loader,) = (name for name, node in graph.items() if node["class_type"] == "CheckpointLoaderSimple")
    return [loader, 0 if case.input == "vae" else 2]


def posted() -> Iterator[Posted]:
    """All that is wrong in the inputs of this pack's nodes in the shipped graphs."""
    known = schemas()
    for workflow, graph in shipped().items():
        for name, node in graph.items():
            inputs = known[node["class_type"]].inputs if node["class_type"] in known else []
            for expected in [i for i in inputs or [] if i.id in node["inputs"]]:
                kinds = [kind for kind in VALUES if is_wrong(expected, kind)]
                yield from (Posted(workflow, name, expected.id, kind) for kind in kinds)


def is_wrong(expected: io.Input, kind: str) -> bool:
    if expected.optional and kind in ("null", "left out"):
        return False
    if isinstance(expected, io.Float.Input | io.Int.Input) and kind == "number":
        return not expected.min <= VALUES[kind] <= expected.max
    return kind not in TAKEN.get(type(expected), ())


def filed() -> Iterator[Filed]:
    """All hostile files, in each place that takes such files."""
    for slot in ("motion_module", "style_lora", "acceleration_lora"):
        yield from (Filed(slot, kind) for kind in HOSTILE)
    yield from (Filed("video", kind) for kind in VIDEOS)
