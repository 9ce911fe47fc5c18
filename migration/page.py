"""Graphs as the page saves them: read into a `Graph`, and changed. What a change does not speak of stays as it was."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .graph import PRIMITIVE, Addition, Change, Graph, Link, Node
from .ours import CFG_WIDGETS, KINDS, Kind
from .place import GAP, TITLE_HEIGHT, Box, box_of, free_spot
from .table import row_of

Json = dict[str, Any]
ADE_MARK = "\U0001f3ad"  # what every title that ADE gave itself has in it
INHERITED = ("title", "color", "bgcolor", "shape")


@dataclass(frozen=True)
class Wire:
    """A connection: its number, where it begins and ends (node and slot), its type, and the form it is saved in."""

    id: int
    origin: Link
    target: Link
    type: Any
    form: Any


@dataclass
class Numbers:
    """The last numbers that are in use in a whole document, subgraphs included."""

    node: int
    link: int

    def next_node(self) -> int:
        """Return a number for a new node."""
        self.node += 1
        return self.node

    def next_link(self) -> int:
        """Return a number for a new link."""
        self.link += 1
        return self.link


# Documents and their scopes


def is_page(document: Any) -> bool:
    """Whether a JSON document is a graph as the page saves it."""
    return isinstance(document, dict) and isinstance(document.get("nodes"), list) and "links" in document


def scopes(document: Json) -> dict[str, Json]:
    """Return the graph and its subgraphs, by name; the graph itself has none."""
    subgraphs = document.get("definitions", {}).get("subgraphs", [])
    return {"": document} | {graph.get("name") or graph["id"]: graph for graph in subgraphs}


def numbers_of(document: Json) -> Numbers:
    """Return the last numbers in use."""
    graphs = scopes(document).values()
    nodes = [int(node["id"]) for graph in graphs for node in graph["nodes"] if str(node["id"]).isdigit()]
    links = [wire.id for graph in graphs for wire in _wires(graph)]
    states = [graph.get("state", {}) for graph in graphs]
    nodes += [document.get("last_node_id", 0), *(state.get("lastNodeId", 0) for state in states)]
    links += [document.get("last_link_id", 0), *(state.get("lastLinkId", 0) for state in states)]
    return Numbers(max(nodes), max(links))


# Reading


def read_scope(scope: Json) -> Graph:
    """Return a graph, or one subgraph."""
    wires = {wire.id: wire for wire in _wires(scope)}
    nodes = [_node(node, wires) for node in scope["nodes"]]
    known = {str(node["id"]) for node in scope["nodes"]}
    ends = tuple(wire.origin for wire in wires.values() if wire.target.node not in known)
    return Graph({node.id: node for node in nodes}, ends)


def _wires(scope: Json) -> list[Wire]:
    return [_wire(form) for form in scope["links"] if form]


def _wire(form: Any) -> Wire:
    if isinstance(form, dict):
        keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
        number, origin, out, target, into, type = (form[key] for key in keys)
    else:
        number, origin, out, target, into, type = form[:6]
    return Wire(int(number), Link(str(origin), int(out)), Link(str(target), int(into)), type, form)


def _node(node: Json, wires: Mapping[int, Wire]) -> Node:
    links = {slot["name"]: wires[slot["link"]].origin for slot in node.get("inputs") or [] if slot.get("link") in wires}
    outputs = tuple(str(slot.get("type")) for slot in node.get("outputs") or [])
    title = node.get("title") or node["type"]
    return Node(str(node["id"]), node["type"], title, {**_written(node), **links}, outputs, node.get("mode", 0))


def _written(node: Json) -> Json:
    """What is written in a node's widgets, by name, as far as the names are known."""
    values = node.get("widgets_values") or []
    if node["type"] == PRIMITIVE:
        return {"value": values[0]} if values else {}
    row = row_of(node["type"])
    if row is None:
        return {}
    if isinstance(values, dict):
        return {name: values.get(name, default) for name, default in row.widgets.items()}
    return {**row.widgets, **dict(zip(row.widgets, values, strict=False))}


# Changing


def change_scope(scope: Json, change: Change, numbers: Numbers) -> Json:
    """Return a graph, or one subgraph, with a change made to it.

    Args:
        scope: as the page saves it; it is not changed itself.
        change: what to do.
        numbers: where new nodes and links get theirs from.
    """
    ids = {new.key: new.near if new.heir else str(numbers.next_node()) for new in change.added}
    kept = [copy.deepcopy(node) for node in scope["nodes"] if str(node["id"]) not in change.removed]
    added = _new_nodes(scope, change, ids, kept)
    wires = _wires_after(scope, change, ids, numbers, {str(node["id"]): node for node in kept})
    _write_values(kept, change)
    for node in (*kept, *added):
        _connect(node, wires)
    changed = {**scope, "nodes": kept + added, "links": [_form(wire, scope) for wire in wires]}
    return changed | _boundary(scope, {wire.id for wire in wires})


def _wires_after(
    scope: Json, change: Change, ids: Mapping[str, str], numbers: Numbers, kept: Mapping[str, Json]
) -> list[Wire]:
    """The connections that stay, led to where they are redirected, and those of the new nodes."""
    old = _wires(scope)
    cut = {(use.node, use.input) for use in change.written}
    stay = [
        replace(wire, origin=_end(change.target(wire.origin), ids))
        for wire in old
        if wire.target.node not in change.removed
        and not (wire.origin.node in change.removed and wire.origin not in change.redirected)
        and (wire.target.node, _input_name(kept.get(wire.target.node), wire.target.output)) not in cut
    ]
    lost = [wire for wire in old if wire.target.node in change.removed]
    return stay + [wire for new in change.added for wire in _new_wires(new, change, ids, numbers, lost)]


def _input_name(node: Json | None, slot: int) -> str | None:
    inputs = (node or {}).get("inputs") or []
    return inputs[slot]["name"] if slot < len(inputs) else None


def _end(link: Link, ids: Mapping[str, str]) -> Link:
    return Link(ids.get(link.node, link.node), link.output)


def _new_wires(
    new: Addition, change: Change, ids: Mapping[str, str], numbers: Numbers, lost: list[Wire]
) -> Iterator[Wire]:
    """The connections of a new node; one that its place had already keeps its number, and so its way over the page."""
    slots = list(KINDS[new.type].inputs)
    for name, value in new.inputs.items():
        if not isinstance(value, Link):
            continue
        target = Link(ids[new.key], slots.index(name))
        reused = next((w for w in lost if w.origin == value and w.target.node == new.near), None)
        if reused is not None:
            lost.remove(reused)
        number = reused.id if reused is not None else numbers.next_link()
        type = KINDS[new.type].inputs[name].type
        yield Wire(number, _end(change.target(value), ids), target, type, reused.form if reused is not None else None)


def _form(wire: Wire, scope: Json) -> Any:
    """A connection as the graph saves them: a list, or (subgraphs, and graphs of version 1) an object."""
    ends = (_number(wire.origin.node), wire.origin.output, _number(wire.target.node), wire.target.output)
    if isinstance(wire.form, dict) or (wire.form is None and _has_objects(scope)):
        names = ("origin_id", "origin_slot", "target_id", "target_slot")
        return {**(wire.form or {}), "id": wire.id, **dict(zip(names, ends, strict=True)), "type": wire.type}
    return [wire.id, *ends, wire.type, *(wire.form or [])[6:]]


def _has_objects(scope: Json) -> bool:
    return "inputNode" in scope or any(isinstance(form, dict) for form in scope["links"])


def _number(id: str) -> int | str:
    return int(id) if id.lstrip("-").isdigit() else id


def _connect(node: Json, wires: list[Wire]) -> None:
    """Tell a node which connections it has."""
    id = str(node["id"])
    for index, slot in enumerate(node.get("inputs") or []):
        slot["link"] = next((wire.id for wire in wires if wire.target == Link(id, index)), None)
    for index, slot in enumerate(node.get("outputs") or []):
        slot["links"] = [wire.id for wire in wires if wire.origin == Link(id, index)] or None


def _boundary(scope: Json, links: set[int]) -> Json:
    """What a subgraph takes in and hands out, with the connections that are left of it."""
    return {
        side: [{**slot, "linkIds": [id for id in slot.get("linkIds") or [] if id in links]} for slot in scope[side]]
        for side in ("inputs", "outputs")
        if "inputNode" in scope and side in scope
    }


def with_numbers(document: Json, numbers: Numbers) -> Json:
    """Return a document that says which numbers were given last, where it said so before."""
    changed = dict(document)
    if "last_node_id" in document:
        changed |= {"last_node_id": numbers.node, "last_link_id": numbers.link}
    if "state" in document:
        changed["state"] = {**document["state"], "lastNodeId": numbers.node, "lastLinkId": numbers.link}
    return changed


# Values


def _write_values(nodes: list[Json], change: Change) -> None:
    """Write guidance in samplers, whose widgets the page saves by position."""
    for use, value in change.written.items():
        for node in nodes:
            if str(node["id"]) == use.node:
                position, length = CFG_WIDGETS[node["type"]]
                values = node["widgets_values"]
                values[position - (length - len(values))] = (
                    value  # pages without a choice behind the seed have one less
                )


# New nodes


def _new_nodes(scope: Json, change: Change, ids: Mapping[str, str], kept: list[Json]) -> list[Json]:
    """The new nodes where there is room for them, without connections."""
    old = {str(node["id"]): node for node in scope["nodes"]}
    taken = [box_of(node) for node in kept]
    made = []
    for new in sorted(change.added, key=lambda new: not new.heir):
        near = old[new.near]
        box = free_spot(_wanted(new, near), taken)
        taken.append(box)
        made.append(_new_node(new, near, int(ids[new.key]), box))
    return made


def _wanted(new: Addition, near: Json) -> Box:
    """The place of the node that it inherits from, or above the one that it belongs to."""
    width, height = KINDS[new.type].size
    box = box_of(near)
    if new.heir:
        return Box(box.x, box.y, max(width, box.width), height + TITLE_HEIGHT)
    return Box(box.x, box.y - GAP - height - TITLE_HEIGHT, width, height + TITLE_HEIGHT)


def _new_node(new: Addition, near: Json, id: int, box: Box) -> Json:
    kind = KINDS[new.type]
    inherited = {key: near[key] for key in INHERITED if new.heir and key in near}
    if ADE_MARK in inherited.get("title", ""):
        del inherited["title"]
    return {
        "id": id,
        "type": new.type,
        "pos": [box.x, box.y + TITLE_HEIGHT],
        "size": [box.width, box.height - TITLE_HEIGHT],
        "flags": near.get("flags", {}) if new.heir else {},
        "order": near.get("order", 0),
        "mode": new.mode,
        **inherited,
        "inputs": _input_slots(kind),
        "outputs": [{"name": name, "type": type, "links": None} for name, type in kind.outputs.items()],
        "properties": {"Node name for S&R": new.type},
        "widgets_values": _values(new),
    }


def _input_slots(kind: Kind) -> list[Json]:
    slots = []
    for name, input in kind.inputs.items():
        slot: Json = {"name": name, "type": input.type, "link": None}
        if input.widget:
            slot["widget"] = {"name": name}
        elif input.optional:
            slot["shape"] = 7
        slots.append(slot)
    return slots


def _values(new: Addition) -> list[Any]:
    """The widgets' values, by position; the default where another node is connected."""
    widgets = {name: input.default for name, input in KINDS[new.type].inputs.items() if input.widget}
    written = {name: value for name, value in new.inputs.items() if not isinstance(value, Link)}
    return list({**widgets, **written}.values())
