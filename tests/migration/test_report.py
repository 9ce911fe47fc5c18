"""What people are told."""

import pytest
from animatelcm.migration.report import Finding, Remark, Report, Verdict, as_json, lines, summary

EXACT, CLOSE, LEFT = Verdict


def finding(id: str, *remarks: Remark, becomes: tuple[str, ...] = (), stays: bool = False) -> Finding:
    return Finding(id, f"ADE_{id}", f"node {id}", becomes, stays, remarks)


MOVED = finding("1", becomes=("Apply AnimateLCM",))
CLOSELY = finding("2", Remark("2", EXACT), Remark("2", CLOSE, "It differs.", "Do something."), becomes=("Long Clip",))
OUT = finding("3", Remark("3", LEFT, "There is none."))
STAYS = finding("4", Remark("4", LEFT, "There is none."), stays=True)


@pytest.mark.parametrize(
    ("findings", "verdict"),
    [((MOVED,), EXACT), ((MOVED, CLOSELY), CLOSE), ((MOVED, OUT), CLOSE), ((MOVED, STAYS), LEFT), ((), EXACT)],
)
def test_a_graph_is_as_good_as_its_worst_node_and_left_where_one_stays(
    findings: tuple[Finding, ...], verdict: Verdict
) -> None:
    assert Report(findings).verdict is verdict


def test_a_node_is_as_good_as_its_worst_remark() -> None:
    assert [f.verdict for f in (MOVED, CLOSELY, OUT)] == [EXACT, CLOSE, LEFT]


def test_the_summary_counts_and_says_what_follows() -> None:
    assert summary(Report((MOVED,))) == "1 node of AnimateDiff-Evolved: 1 exact. The result is the same."
    assert summary(Report((MOVED, CLOSELY, OUT))) == (
        "3 nodes of AnimateDiff-Evolved: 1 exact, 1 close, 1 left. "
        "The graph runs without that pack; what differs is said below."
    )
    assert summary(Report((STAYS,))).endswith("What stays still needs AnimateDiff-Evolved.")


def test_the_worst_comes_first_with_its_remarks_below() -> None:
    assert lines(Report((MOVED, CLOSELY, OUT, STAYS)))[1:] == [
        "  left   node 3 (node 3): is taken out.",
        "         There is none.",
        "  left   node 4 (node 4): stays as it is.",
        "         There is none.",
        "  close  node 2 (node 2): becomes Long Clip.",
        "         It differs. Do something.",
        "  exact  node 1 (node 1): becomes Apply AnimateLCM.",
    ]


def test_the_page_is_told_the_same() -> None:
    told = as_json(Report((CLOSELY,)))
    assert (told["verdict"], told["summary"]) == ("close", summary(Report((CLOSELY,))))
    (node,) = told["nodes"]
    assert node["remarks"] == [{"differs": "It differs.", "advice": "Do something."}]
    assert (node["becomes"], node["stays"], node["verdict"]) == (["Long Clip"], False, "close")
