"""A graph without its form: nodes, what their inputs are set or connected to, and what is to change about it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

REROUTES = ("Reroute", "Reroute (rgthree)")
PRIMITIVE = "PrimitiveNode"

WORKS, MUTED, BYPASSED = 0, 2, 4  # ComfyUI's numbers for a node's mode


class GraphError(ValueError):
    """A file is no graph, or none that can be read."""


@dataclass(frozen=True)
class Link:
    """One output of a node: what an input is connected to."""

    node: str
    output: int


@dataclass(frozen=True, eq=False)
class Node:
    """One node.

    Attributes:
        id: its number in the graph, as text.
        type: which node it is.
        title: what people see of it.
        inputs: by name, a `Link` or what is written in the widget. What is neither connected nor written is absent.
        outputs: types of its outputs; empty where the file does not say.
        mode: `WORKS`, `MUTED` or `BYPASSED`.
    """

    id: str
    type: str
    title: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    mode: int = WORKS


@dataclass(frozen=True)
class Use:
    """An input that is connected to something."""

    node: str
    input: str


@dataclass(frozen=True)
class Graph:
    """A graph, or one subgraph.

    Attributes:
        nodes: by id.
        ends: outputs that are handed out of the subgraph.
    """

    nodes: Mapping[str, Node]
    ends: tuple[Link, ...] = ()

    def uses(self, link: Link) -> Iterator[Use]:
        """Yield the inputs that are connected to an output."""
        yield from (use for output, use in self._uses.get(link.node, ()) if output == link)

    def users(self, id: str) -> list[Node]:
        """Return the nodes that are connected to any output of a node, each once."""
        return [self.nodes[user] for user in dict.fromkeys(use.node for _, use in self._uses.get(id, ()))]

    @cached_property
    def _uses(self) -> Mapping[str, Sequence[tuple[Link, Use]]]:
        """Each node's outputs that are connected, and to what: to look for them in all of a large graph takes long."""
        uses: dict[str, list[tuple[Link, Use]]] = {}
        for node in self.nodes.values():
            for name, value in node.inputs.items():
                if isinstance(value, Link):
                    uses.setdefault(value.node, []).append((value, Use(node.id, name)))
        return uses

    def source(self, value: Any) -> Any:
        """Return what a value is behind reroutes and primitives: a `Link` to another node, or a constant, or None."""
        seen = set()
        while isinstance(value, Link) and value not in seen:
            seen.add(value)
            node = self.nodes.get(value.node)
            if node is None or node.type not in (*REROUTES, PRIMITIVE):
                return value
            value = next(iter(node.inputs.values()), None)
        return value

    def origin(self, node: Node, input: str) -> Node | None:
        """Return the node behind an input, past reroutes; None where it is not connected, or to outside a subgraph."""
        value = self.source(node.inputs.get(input))
        return self.nodes.get(value.node) if isinstance(value, Link) else None

    def constant(self, node: Node, input: str, default: Any) -> Any:
        """Return what is written in an input or in the primitive behind it; None where another node computes it."""
        value = self.source(node.inputs.get(input, default))
        return None if isinstance(value, Link) else value


@dataclass(frozen=True)
class Addition:
    """A node to put into a graph.

    Attributes:
        key: its name in this change; a `Link` to it has this name for a node.
        type: which node it is.
        inputs: by name, what differs from the node's defaults; `Link` to a node of the graph or of the change.
        near: id of the node of the graph that it belongs to: it goes to its place, or beside it.
        heir: whether it takes that node's place, title and colours.
        mode: as of a `Node`.
    """

    key: str
    type: str
    inputs: Mapping[str, Any]
    near: str
    heir: bool = False
    mode: int = WORKS


@dataclass(frozen=True)
class Change:
    """What turns one graph into another.

    Attributes:
        added: new nodes.
        removed: ids of nodes to take out, with their links.
        redirected: outputs, and what their users are connected to from now on.
        written: inputs, and what is written in them from now on.
    """

    added: tuple[Addition, ...] = ()
    removed: frozenset[str] = frozenset()
    redirected: Mapping[Link, Link] = field(default_factory=dict)
    written: Mapping[Use, Any] = field(default_factory=dict)

    def target(self, value: Any) -> Any:
        """Return what a value becomes: a redirected link leads to where its redirections end.

        Raises:
            GraphError: if they end nowhere, as they do where a node is connected to itself.
        """
        seen: set[Link] = set()
        while isinstance(value, Link) and value in self.redirected:
            if value in seen:
                raise GraphError(f"Node {value.node} is connected to itself. Connect it to another node.")
            seen.add(value)
            value = self.redirected[value]
        return value
