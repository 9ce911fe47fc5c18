"""Where a MODEL comes from and where it goes: which node has the last word about its schedule, and what samples it."""

from collections.abc import Callable, Iterator

from .graph import BYPASSED, Graph, Link, Node
from .ours import CFG_WIDGETS


def sets_schedule(node: Node) -> bool:
    """Whether a node gives a model another schedule (ComfyUI's ModelSamplingDiscrete and its kin)."""
    return node.type.startswith("ModelSampling") and node.mode != BYPASSED


def ends(graph: Graph, link: Link, barred: Callable[[Node], bool] = lambda node: False) -> Iterator[Node | None]:
    """Yield the nodes that a MODEL ends in, from an output on, each once.

    Where it is handed out of a subgraph, that is the last node before; None where there is none.

    Args:
        graph: the graph.
        link: the output.
        barred: nodes that the model is not followed into.
    """
    seen: set[str] = set()
    left: list[tuple[Link, Node | None]] = [(link, None)]
    for output, node in left:  # grows while it is gone through
        if output in graph.ends:
            yield node
        for user in _users(graph, output):
            if user.id in seen or barred(user):
                continue
            seen.add(user.id)
            further = [next for next in _models(user) if next in graph.ends or _users(graph, next)]
            left += [(next, user) for next in further]
            if not further:
                yield user


def always_meets(graph: Graph, link: Link, wanted: Callable[[Node], bool]) -> bool:
    """Whether a MODEL goes through a node that is `wanted` on every way from an output to where it ends."""
    return not any(True for _ in ends(graph, link, barred=wanted))


def before(graph: Graph, node: Node) -> Iterator[Node]:
    """Yield the nodes that a node's model went through, the nearest first."""
    seen: set[str] = set()
    while (upstream := graph.origin(node, "model")) is not None and upstream.id not in seen:
        seen.add(upstream.id)
        yield upstream
        node = upstream


def _users(graph: Graph, link: Link) -> list[Node]:
    """The nodes that take a MODEL from an output: each once, though it merges a model with itself."""
    uses = [use for use in graph.uses(link) if graph.nodes[use.node].outputs or "model" in use.input.lower()]
    return [graph.nodes[id] for id in dict.fromkeys(use.node for use in uses)]


def _models(node: Node) -> list[Link]:
    """The outputs of a node that hand on its MODEL: those of that type, or the first where a file tells no types."""
    if node.type in CFG_WIDGETS:
        return []
    if node.outputs:
        return [Link(node.id, index) for index, type in enumerate(node.outputs) if type in ("MODEL", "*")]
    return [Link(node.id, 0)]
