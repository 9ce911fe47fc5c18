"""Where a MODEL comes from and where it goes: which node has the last word about its schedule, and what samples it."""

from collections.abc import Iterator

from .graph import BYPASSED, Graph, Link, Node
from .ours import CFG_WIDGETS


def sets_schedule(node: Node) -> bool:
    """Whether a node gives a model another schedule (ComfyUI's ModelSamplingDiscrete and its kin)."""
    return node.type.startswith("ModelSampling") and node.mode != BYPASSED


def paths(graph: Graph, link: Link, past: tuple[Node, ...] = ()) -> Iterator[tuple[Node, ...]]:
    """Yield the nodes that a MODEL goes through from an output, once for every node that it ends in.

    Where it is handed out of a subgraph, the way ends with the last node before; there may be none.
    """
    if link in graph.ends:
        yield past
    uses = [use for use in graph.uses(link) if graph.nodes[use.node].outputs or "model" in use.input.lower()]
    for user in dict.fromkeys(use.node for use in uses):  # once, though it merges a model with itself
        node = graph.nodes[user]
        if node in past:
            continue
        further = [path for next in _models(node) for path in paths(graph, next, (*past, node))]
        yield from further or [(*past, node)]


def before(graph: Graph, node: Node) -> Iterator[Node]:
    """Yield the nodes that a node's model went through, the nearest first."""
    seen: set[str] = set()
    while (upstream := graph.origin(node, "model")) is not None and upstream.id not in seen:
        seen.add(upstream.id)
        yield upstream
        node = upstream


def _models(node: Node) -> list[Link]:
    """The outputs of a node that hand on its MODEL: those of that type, or the first where a file tells no types."""
    if node.type in CFG_WIDGETS:
        return []
    if node.outputs:
        return [Link(node.id, index) for index, type in enumerate(node.outputs) if type in ("MODEL", "*")]
    return [Link(node.id, 0)]
