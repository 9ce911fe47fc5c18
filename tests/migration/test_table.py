"""The table of AnimateDiff-Evolved's nodes: widgets as the page saves them, and a word on each."""

import pytest
from animatelcm.migration.ours import KINDS
from animatelcm.migration.report import Verdict
from animatelcm.migration.table import ADE, SCHEDULES, Fate, row_of

from .nodes import SPECS, Widget

KNOWN = [type for type in SPECS if type in ADE]


@pytest.mark.parametrize("type", KNOWN)
def test_widgets_stand_in_the_pages_order_with_its_defaults(type: str) -> None:
    widgets = {name: slot.default for name, slot in SPECS[type].inputs.items() if isinstance(slot, Widget)}
    if row_of(type).fate is not Fate.LEFT:
        assert list(ADE[type].widgets.items()) == list(widgets.items())


@pytest.mark.parametrize("type", ADE)
def test_what_is_left_says_why(type: str) -> None:
    row = ADE[type]
    assert (row.fate is Fate.LEFT) == (row.verdict is Verdict.LEFT)
    if row.fate is Fate.LEFT:
        assert row.differs.endswith(".")
    for sentence in (row.differs, row.advice):
        assert not sentence or ((sentence[0].isupper() or sentence[0] in "'γ") and sentence.endswith("."))


def test_every_published_node_has_a_row() -> None:
    assert len(ADE) == 145


def test_a_node_of_a_later_version_is_left_with_a_word_on_it() -> None:
    row = row_of("ADE_SomethingNew")
    assert row is not None and row.fate is Fate.LEFT and "newer" in row.differs


@pytest.mark.parametrize("type", ["KSampler", "VHS_VideoCombine", "ACN_AdvancedControlNetApply", "AnimateLCMApply"])
def test_nodes_of_others_are_none_of_its_business(type: str) -> None:
    assert row_of(type) is None


@pytest.mark.parametrize("alias", SCHEDULES)
def test_schedules_are_options_of_apply(alias: str) -> None:
    assert SCHEDULES[alias] in KINDS["AnimateLCMApply"].inputs["schedule"].options
