"""What was moved, how well, and what is left to do: for people."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Verdict(str, Enum):
    """How well a node was moved; a later one is worse."""

    EXACT = "exact"
    CLOSE = "close"
    LEFT = "left"


@dataclass(frozen=True)
class Remark:
    """One thing to know about a node.

    Attributes:
        node: its id.
        verdict: how well this was moved.
        differs: what is not as it was; empty where nothing is.
        advice: what to do about it; empty where nothing is to be done.
    """

    node: str
    verdict: Verdict
    differs: str = ""
    advice: str = ""


@dataclass(frozen=True)
class Finding:
    """What became of one node.

    Attributes:
        id: its id; within a subgraph, the subgraph's name and its id.
        type: which node it was.
        title: what people see of it.
        becomes: types of the nodes in its place; empty where it was read into others, taken out, or stays.
        stays: whether it is still there: the graph needs AnimateDiff-Evolved.
        remarks: what there is to know about it.
    """

    id: str
    type: str
    title: str
    becomes: tuple[str, ...]
    stays: bool
    remarks: tuple[Remark, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of its remarks' verdicts."""
        order = list(Verdict)
        return max((remark.verdict for remark in self.remarks), key=order.index, default=Verdict.EXACT)


@dataclass(frozen=True)
class Report:
    """What became of a whole graph."""

    findings: tuple[Finding, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """Exact where every node is; left where the graph still needs AnimateDiff-Evolved; else close."""
        if any(finding.stays for finding in self.findings):
            return Verdict.LEFT
        exact = all(finding.verdict is Verdict.EXACT for finding in self.findings)
        return Verdict.EXACT if exact else Verdict.CLOSE

    def joined(self, other: "Report") -> "Report":
        """Return both reports as one."""
        return Report(self.findings + other.findings)


# Telling


def summary(report: Report) -> str:
    """Return the report in one sentence."""
    if not report.findings:
        return "There is no AnimateDiff-Evolved node in this graph."
    count = {verdict: sum(f.verdict is verdict for f in report.findings) for verdict in Verdict}
    counts = ", ".join(f"{number} {verdict.value}" for verdict, number in count.items() if number)
    ending = {
        Verdict.EXACT: "The result is the same.",
        Verdict.CLOSE: "The graph runs without that pack; what differs is said below.",
        Verdict.LEFT: "What stays still needs AnimateDiff-Evolved.",
    }
    return f"{_plural(len(report.findings), 'node')} of AnimateDiff-Evolved: {counts}. {ending[report.verdict]}"


def lines(report: Report) -> list[str]:
    """Return the report as lines of text, the worst first."""
    order = list(Verdict)
    findings = sorted(report.findings, key=lambda finding: -order.index(finding.verdict))
    return [summary(report), *(line for finding in findings for line in _lines_of(finding))]


def as_json(report: Report) -> dict[str, Any]:
    """Return the report as the page reads it."""
    return {
        "verdict": report.verdict.value,
        "summary": summary(report),
        "nodes": [
            {
                "id": finding.id,
                "type": finding.type,
                "title": finding.title,
                "verdict": finding.verdict.value,
                "becomes": list(finding.becomes),
                "stays": finding.stays,
                "remarks": [{"differs": r.differs, "advice": r.advice} for r in finding.remarks if r.differs],
            }
            for finding in report.findings
        ],
    }


def _lines_of(finding: Finding) -> Iterable[str]:
    place = f"{finding.title} (node {finding.id})"
    yield f"  {finding.verdict.value:5}  {place}: {_fate(finding)}"
    for remark in finding.remarks:
        if remark.differs:
            yield f"         {remark.differs} {remark.advice}".rstrip()


def _fate(finding: Finding) -> str:
    if finding.stays:
        return "stays as it is."
    if finding.becomes:
        return f"becomes {' and '.join(finding.becomes)}."
    return "is taken out." if finding.verdict is Verdict.LEFT else "is read into the nodes that it was connected to."


def _plural(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
