"""A whole document: what form it has, its subgraphs, and the report of all of them."""

from dataclasses import dataclass, replace
from typing import Any

from .api import change_api, is_api, read_api
from .draft import Draft, ade_nodes
from .graph import Change, Graph, GraphError
from .loader import move_loader
from .page import change_scope, is_page, numbers_of, read_scope, scopes, with_numbers
from .replace import replace_node
from .report import Report
from .table import Fate, row_of

Json = dict[str, Any]
MOVES = {Fate.LOADER: move_loader, Fate.REPLACED: replace_node}


@dataclass(frozen=True)
class Moved:
    """A document after a move.

    Attributes:
        document: in the form that it had.
        report: what became of each of ADE's nodes.
    """

    document: Json
    report: Report


def move(document: Any) -> Moved:
    """Return a document, in the page's form or in API form, with its nodes of AnimateDiff-Evolved moved to ours.

    Args:
        document: parsed JSON; it is not changed itself.

    Raises:
        GraphError: if it is no graph.
    """
    try:
        if is_page(document):
            return _move_page(document)
        if is_api(document):
            change, report = plan(read_api(document))
            return Moved(change_api(document, change), report)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise GraphError(
            f"This graph is damaged: its nodes and links are not as ComfyUI saves them ({error!r})."
        ) from error
    if isinstance(document, dict) and is_api(document.get("prompt")):
        inner = move(document["prompt"])
        return Moved({**document, "prompt": inner.document}, inner.report)
    raise GraphError(
        "This is no graph of ComfyUI. Expected a workflow saved by the page (with 'nodes' and 'links'), or one in API "
        "format (with a 'class_type' in every node)."
    )


def plan(graph: Graph) -> tuple[Change, Report]:
    """Return what is to be done to one graph, and what there is to say about it."""
    draft = Draft(graph)
    for node in ade_nodes(graph):
        row = row_of(node.type)
        if row is not None and row.fate in MOVES:
            MOVES[row.fate](draft, node)
    return draft.change(), draft.report()


def _move_page(document: Json) -> Moved:
    numbers = numbers_of(document)
    report, changed = Report(), {}
    for name, scope in scopes(document).items():
        change, found = plan(read_scope(scope))
        changed[name] = change_scope(scope, change, numbers)
        report = report.joined(_within(name, found))
    whole = changed.pop("")
    if changed:
        whole["definitions"] = {**document["definitions"], "subgraphs": list(changed.values())}
    return Moved(with_numbers(whole, numbers), report)


def _within(subgraph: str, report: Report) -> Report:
    """The report with the subgraph's name before each id."""
    if not subgraph:
        return report
    return Report(tuple(replace(finding, id=f"{subgraph}/{finding.id}") for finding in report.findings))
