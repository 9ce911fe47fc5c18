"""Where a MODEL goes, in graphs of every shape."""

from typing import Any

from animatelcm.migration.api import read_api
from animatelcm.migration.flow import always_meets, ends, sets_schedule
from animatelcm.migration.graph import Graph, Link

Nodes = dict[str, Any]


def node(kind: str, *models: str) -> Nodes:
    names = ["model", "model1", "model2"] if len(models) < 2 else ["model1", "model2"]
    return {"class_type": kind, "inputs": {name: [id, 0] for name, id in zip(names, models, strict=False)}}


def graph(nodes: Nodes) -> Graph:
    return read_api({"0": node("CheckpointLoaderSimple")} | nodes)


def found(nodes: Nodes) -> list[str | None]:
    return [end and end.id for end in ends(graph(nodes), Link("0", 0))]


def test_each_sampler_is_an_end_once() -> None:
    nodes = {
        "1": node("FreeU", "0"),
        "2": node("KSampler", "1"),
        "3": node("KSampler", "1"),
        "4": node("KSampler", "0"),
    }
    assert sorted(found(nodes)) == ["2", "3", "4"]


def test_a_model_that_nobody_takes_has_no_end() -> None:
    assert found({}) == []


def test_graphs_of_forty_diamonds_are_followed_in_a_moment() -> None:
    """There are 2^40 ways through them."""
    nodes: Nodes = {}
    for i in range(0, 120, 3):
        nodes |= {f"{i + 1}": node("FreeU", f"{i}"), f"{i + 2}": node("FreeU", f"{i}")}
        nodes[f"{i + 3}"] = node("ModelMergeSimple", f"{i + 1}", f"{i + 2}")
    assert found(nodes | {"end": node("KSampler", "120")}) == ["end"]


def test_chains_of_two_thousand_nodes_are_followed() -> None:
    assert found({f"{i + 1}": node("FreeU", f"{i}") for i in range(2000)}) == ["2000"]


def test_a_ring_of_nodes_ends() -> None:
    nodes = {"1": node("ModelMergeSimple", "0", "2"), "2": node("FreeU", "1"), "3": node("KSampler", "2")}
    assert found(nodes) == ["3"]


def test_a_schedule_is_met_on_every_way_or_not() -> None:
    set_on_one = {"1": node("ModelSamplingDiscrete", "0"), "2": node("KSampler", "1"), "3": node("KSampler", "0")}
    assert not always_meets(graph(set_on_one), Link("0", 0), sets_schedule)
    set_on_both = set_on_one | {"3": node("ModelSamplingDiscrete", "0")}
    assert always_meets(graph(set_on_both), Link("0", 0), sets_schedule)
