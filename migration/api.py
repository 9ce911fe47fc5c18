"""Graphs as `/prompt` takes them: read into a `Graph`, and changed."""

import re
from collections.abc import Mapping
from typing import Any

from .graph import Addition, Change, Graph, Link, Node
from .ours import KINDS
from .table import row_of

Json = dict[str, Any]


def is_api(document: Any) -> bool:
    """Whether a JSON document is a graph in API format."""
    nodes = list(document.values()) if isinstance(document, dict) else []
    return bool(nodes) and all(isinstance(node, dict) and "class_type" in node for node in nodes)


def read_api(document: Json) -> Graph:
    """Return the graph of a document."""
    return Graph({id: _node(id, node) for id, node in document.items()})


def change_api(document: Json, change: Change) -> Json:
    """Return the document with a change made to it; what the change does not speak of is as it was."""
    ids = _new_ids(document, change)
    kept = {id: node for id, node in document.items() if id not in change.removed}
    nodes = {id: _changed(id, node, change, ids) for id, node in kept.items()}
    nodes |= {ids[addition.key]: _added(addition, document, change, ids) for addition in change.added}
    return {id: nodes[id] for id in (*document, *nodes) if id in nodes}  # heirs where their forebears stood


def _node(id: str, node: Json) -> Node:
    row = row_of(node["class_type"])
    defaults = {**row.widgets, **row.absent} if row else {}
    inputs = {name: _value(value) for name, value in node.get("inputs", {}).items()}
    title = node.get("_meta", {}).get("title") or node["class_type"]
    return Node(id, node["class_type"], title, {**defaults, **inputs})


def _value(value: Any) -> Any:
    return Link(value[0], value[1]) if is_link(value) else value


def is_link(value: Any) -> bool:
    """Whether an input's value is a connection, as ComfyUI tells it."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int)


def _new_ids(document: Json, change: Change) -> dict[str, str]:
    """The id that each new node gets: its heir's, so that programs find it again, or a number that is free."""
    last = max((int(number) for id in document for number in re.findall(r"\d+", id)), default=0)
    ids: dict[str, str] = {}
    for addition in change.added:
        if addition.heir:
            ids[addition.key] = addition.near
        else:
            last += 1
            ids[addition.key] = str(last)
    return ids


def _changed(id: str, node: Json, change: Change, ids: Mapping[str, str]) -> Json:
    written = {use.input: value for use, value in change.written.items() if use.node == id}
    inputs = {name: _link(_value(value), change, ids) for name, value in node.get("inputs", {}).items()}
    return {**node, "inputs": inputs | written}


def _added(addition: Addition, document: Json, change: Change, ids: Mapping[str, str]) -> Json:
    kind = KINDS[addition.type]
    defaults = {name: input.default for name, input in kind.inputs.items() if input.widget}
    inputs = {name: _link(value, change, ids) for name, value in addition.inputs.items()}
    node: Json = {"inputs": defaults | inputs, "class_type": addition.type}
    title = document[addition.near].get("_meta", {}).get("title") if addition.heir else None
    return node | {"_meta": {"title": title or kind.name}}


def _link(value: Any, change: Change, ids: Mapping[str, str]) -> Any:
    """A value as the document has it: a link leads to where it is redirected, under the ids of the new nodes."""
    value = change.target(value)
    return [ids.get(value.node, value.node), value.output] if isinstance(value, Link) else value
