"""A change in the making: what the rules of a move write into, and what comes of it in the end."""

from collections.abc import Iterator, Mapping
from typing import Any

from .graph import PRIMITIVE, REROUTES, Addition, Change, Graph, Link, Node, Use
from .ours import KINDS
from .report import Finding, Remark, Report, Verdict
from .table import Fate, row_of


class Draft:
    """What is to change about one graph so far, and what there is to say about it."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._added: list[Addition] = []
        self._moved: set[str] = set()
        self._redirected: dict[Link, Link] = {}
        self._written: dict[Use, Any] = {}
        self._remarks: list[Remark] = []

    def say(self, node: Node, verdict: Verdict, differs: str = "", advice: str = "") -> None:
        """Remark on a node; the same remark once."""
        remark = Remark(node.id, verdict, differs, advice)
        if remark not in self._remarks:
            self._remarks.append(remark)

    def add(
        self,
        type: str,
        inputs: Mapping[str, Any],
        near: Node,
        *,
        heir: bool,
        mode: int | None = None,
        shared: bool = False,
    ) -> Link:
        """Add a node, and return its first output; that of one which was added before where it would be the same.

        Args:
            type: which node.
            inputs: what differs from its defaults.
            near: the node that it belongs to.
            heir: whether it may have that node's place, title and colours: the first that may does.
            mode: as of a `Node`; that of `near` by default.
            shared: whether one for another node will do.
        """
        for other in self._added:
            if (other.type, other.inputs) == (type, inputs) and (shared or other.near == near.id):
                return Link(other.key, 0)
        heir = heir and not any(other.heir and other.near == near.id for other in self._added)
        key = f"new {len(self._added) + 1}"
        self._added.append(Addition(key, type, dict(inputs), near.id, heir, near.mode if mode is None else mode))
        return Link(key, 0)

    def redirect(self, old: Link, new: Link) -> None:
        """Connect what is connected to one output to another, once all is done."""
        self._redirected[old] = new

    def write(self, use: Use, value: Any) -> None:
        """Write a value in a node that stays."""
        self._written[use] = value

    def moved(self, *nodes: Node) -> None:
        """Take nodes out whose work is done by others now."""
        self._moved.update(node.id for node in nodes)

    # The end

    def change(self) -> Change:
        """Return what is to be done."""
        return Change(tuple(self._added), frozenset(self.gone()), dict(self._redirected), dict(self._written))

    def report(self) -> Report:
        """Return what became of each of ADE's nodes, in the graph's order."""
        gone = self.gone()
        return Report(tuple(self._finding(node, gone) for node in ade_nodes(self.graph)))

    def gone(self) -> set[str]:
        """Return the nodes to take out: the moved ones, and those that only such ones were connected to."""
        gone = set(self._moved)
        while True:
            more = {node.id for node in ade_nodes(self.graph) if node.id not in gone and self._is_done(node, gone)}
            if not more:
                return gone | self._wires(gone)
            gone |= more

    def _is_done(self, node: Node, gone: set[str]) -> bool:
        row = row_of(node.type)
        helps = row is not None and row.fate in (Fate.READ, Fate.LEFT)
        handed_out = any(end.node == node.id for end in self.graph.ends)
        return helps and not handed_out and self._served(node, gone)

    def _served(self, node: Node, gone: set[str]) -> bool:
        """Whether a node was of use to `gone` only, through reroutes too, which a damaged graph may have in a ring."""
        seen = {node.id}
        users = self.graph.users(node.id)
        for user in users:  # grows while it is gone through
            if user.id in gone or user.id in seen:
                continue
            if not is_wire(user):
                return False
            seen.add(user.id)
            users += self.graph.users(user.id)
        return True

    def _wires(self, gone: set[str]) -> set[str]:
        """The reroutes and primitives that led to `gone` only, and lead to nothing new."""
        given = [value for new in self._added for value in new.inputs.values()] + list(self._redirected.values())
        needed = {value.node for value in given if isinstance(value, Link)}
        wires = [node for node in self.graph.nodes.values() if is_wire(node) and self.graph.users(node.id)]
        return {wire.id for wire in wires if wire.id not in needed and self._served(wire, gone)}

    def _finding(self, node: Node, gone: set[str]) -> Finding:
        becomes = [KINDS[new.type].name for new in self._added if new.near == node.id]
        remarks = [remark for remark in self._remarks if remark.node == node.id]
        row = row_of(node.type)
        if row is not None and row.fate is Fate.LEFT:
            remarks.insert(0, Remark(node.id, Verdict.LEFT, row.differs, row.advice))
        return Finding(node.id, node.type, node.title, tuple(becomes), node.id not in gone, tuple(remarks))


def is_wire(node: Node) -> bool:
    """Whether a node does nothing but lead from one place to another, or hold a value."""
    return node.type in (*REROUTES, PRIMITIVE)


def ade_nodes(graph: Graph) -> Iterator[Node]:
    """Yield the nodes of AnimateDiff-Evolved."""
    return (node for node in graph.nodes.values() if row_of(node.type) is not None)


def in_range(draft: Draft, node: Node, type: str, input: str, value: Any) -> Any:
    """Return a value as an input of ours takes it, and say of `node` where that is not what it was."""
    least, most = KINDS[type].inputs[input].range
    if not isinstance(value, int | float) or least <= value <= most:
        return value
    taken = min(max(value, least), most)
    differs = f"{input} was {value:g}, and is {taken:g} now: it goes from {least:g} to {most:g} here."
    draft.say(node, Verdict.CLOSE, differs)
    return taken
