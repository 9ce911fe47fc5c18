"""Graphs of known nodes, written in both of ComfyUI's forms from one description."""

from dataclasses import dataclass, field
from typing import Any

from .nodes import SPECS, Widget

Json = dict[str, Any]
COLUMN, ROW = 420, 340


@dataclass(frozen=True)
class Output:
    """An output of a node."""

    node: int
    slot: int = 0


@dataclass
class Nodes:
    """A graph being described: `add` returns a node's first output."""

    nodes: list[tuple[str, Json]] = field(default_factory=list)
    extras: dict[int, Json] = field(default_factory=dict)  # what the page saves of a node besides: title, mode, colours

    def add(self, type: str, /, *, page: Json | None = None, **inputs: Any) -> Output:
        unknown = inputs.keys() - SPECS[type].inputs.keys()
        assert not unknown, f"{type} has no {unknown}"
        self.nodes.append((type, {name: value for name, value in inputs.items() if value is not None}))
        self.extras[len(self.nodes)] = page or {}
        return Output(len(self.nodes))

    def api(self) -> Json:
        """The graph as a /prompt body has it."""
        return {str(number): self._api_node(type, inputs) for number, (type, inputs) in self._numbered()}

    def page(self) -> Json:
        """The graph as the page saves it."""
        links = self._links()
        nodes = [self._page_node(number, type, inputs, links) for number, (type, inputs) in self._numbered()]
        return {
            "last_node_id": len(nodes),
            "last_link_id": len(links),
            "nodes": nodes,
            "links": links,
            "groups": [{"title": "AnimateDiff", "bounding": [0, 0, 2000, 800], "color": "#3f789e"}],
            "config": {},
            "extra": {"ds": {"scale": 1.0, "offset": [0, 0]}},
            "version": 0.4,
        }

    def _numbered(self) -> Any:
        return enumerate(self.nodes, start=1)

    def _api_node(self, type: str, inputs: Json) -> Json:
        widgets = {name: slot.default for name, slot in SPECS[type].inputs.items() if isinstance(slot, Widget)}
        given = {name: [str(v.node), v.slot] if isinstance(v, Output) else v for name, v in inputs.items()}
        return {"inputs": widgets | given, "class_type": type, "_meta": {"title": type}}

    def _links(self) -> list[list[Any]]:
        links: list[list[Any]] = []
        for number, (type, inputs) in self._numbered():
            for index, name in enumerate(self._slots(type, inputs)):
                value = inputs.get(name)
                if isinstance(value, Output):
                    kind = SPECS[self.nodes[value.node - 1][0]].outputs[value.slot]
                    links.append([len(links) + 1, value.node, value.slot, number, index, kind])
        return links

    def _slots(self, type: str, inputs: Json) -> list[str]:
        """The inputs that the page draws a dot for: sockets, and widgets that are connected."""
        spec = SPECS[type].inputs
        return [name for name, slot in spec.items() if isinstance(slot, str) or isinstance(inputs.get(name), Output)]

    def _page_node(self, number: int, type: str, inputs: Json, links: list[list[Any]]) -> Json:
        spec = SPECS[type]
        return {
            "id": number,
            "type": type,
            "pos": [(number - 1) % 5 * COLUMN, (number - 1) // 5 * ROW],
            "size": [315, 250],
            "flags": {},
            "order": number - 1,
            "mode": 0,
            "inputs": [
                self._slot(name, spec.inputs[name], [link[0] for link in links if link[3:5] == [number, index]])
                for index, name in enumerate(self._slots(type, inputs))
            ],
            "outputs": [
                {"name": kind, "type": kind, "links": [link[0] for link in links if link[1:3] == [number, slot]]}
                for slot, kind in enumerate(spec.outputs)
            ],
            "properties": {"Node name for S&R": type},
            "widgets_values": self._values(type, inputs),
            **self.extras[number],
        }

    def _slot(self, name: str, slot: str | Widget, links: list[int]) -> Json:
        link = links[0] if links else None
        if isinstance(slot, str):
            return {"name": name, "type": slot, "link": link}
        return {"name": name, "type": "*", "link": link, "widget": {"name": name}}

    def _values(self, type: str, inputs: Json) -> Any:
        widgets = {name: slot for name, slot in SPECS[type].inputs.items() if isinstance(slot, Widget)}
        chosen = {name: inputs.get(name, slot.default) for name, slot in widgets.items()}
        chosen = {name: widgets[name].default if isinstance(v, Output) else v for name, v in chosen.items()}
        if type.startswith("VHS_"):
            return chosen
        values = [value for name, v in chosen.items() for value in (v, *widgets[name].behind)]
        return [*values, *SPECS[type].after]
