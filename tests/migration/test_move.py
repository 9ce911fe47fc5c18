"""Whole graphs, in both of ComfyUI's forms."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from animatelcm.migration.graph import GraphError
from animatelcm.migration.move import move
from animatelcm.migration.ours import KINDS
from animatelcm.migration.report import Verdict, lines
from animatelcm.migration.table import row_of

from .build import Json
from .cases import CASES
from .nodes import SPECS, Widget
from .workflows import Recipe, built

EVERY = pytest.mark.parametrize("name", CASES)
FORMS = pytest.mark.parametrize("form", ["page", "api"])


def document(name: str, form: str) -> Json:
    return getattr(built(CASES[name].recipe), form)()


def types(document: Json) -> list[str]:
    if "nodes" in document:
        return [node["type"] for node in document["nodes"]]
    return [node["class_type"] for node in document.values()]


def is_link(value: Any) -> bool:
    return isinstance(value, list)


def widgets_of(type: str) -> dict[str, tuple[Any, ...]]:
    """The widgets of a node in order, with what the page saves behind each."""
    if type in SPECS:
        return {name: slot.behind for name, slot in SPECS[type].inputs.items() if isinstance(slot, Widget)}
    return {name: () for name, input in KINDS[type].inputs.items() if input.widget}


def as_api(page: Json) -> Json:
    """What the page would send to the server."""
    origins = {link[0]: [str(link[1]), link[2]] for link in page["links"]}
    api = {}
    for node in page["nodes"]:
        values, inputs = node["widgets_values"], {}
        for name, behind in widgets_of(node["type"]).items():
            inputs[name] = values[name] if isinstance(values, dict) else values[0]
            values = values if isinstance(values, dict) else values[1 + len(behind) :]
        inputs |= {slot["name"]: origins[slot["link"]] for slot in node["inputs"] if slot["link"] is not None}
        api[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return api


def without_titles(api: Json) -> Json:
    return {id: {"class_type": node["class_type"], "inputs": node["inputs"]} for id, node in api.items()}


@EVERY
def test_both_forms_become_the_same_graph(name: str) -> None:
    moved_page, moved_api = (move(document(name, form)) for form in ("page", "api"))
    assert as_api(moved_page.document) == without_titles(moved_api.document)
    assert moved_page.report == moved_api.report


@FORMS
@EVERY
def test_what_is_given_is_not_changed(name: str, form: str) -> None:
    given = document(name, form)
    kept = copy.deepcopy(given)
    move(given)
    assert given == kept


@FORMS
@EVERY
def test_the_report_speaks_of_every_node_of_ade(name: str, form: str) -> None:
    given = document(name, form)
    moved = move(given)
    assert sorted(f.type for f in moved.report.findings) == sorted(type for type in types(given) if row_of(type))
    assert [f.type for f in moved.report.findings if f.stays] == [
        type for type in types(moved.document) if row_of(type)
    ]


@FORMS
@EVERY
def test_a_second_move_finds_nothing_to_do(name: str, form: str) -> None:
    moved = move(document(name, form))
    if not any(finding.stays for finding in moved.report.findings):
        again = move(moved.document)
        assert again.document == moved.document
        assert not again.report.findings


@EVERY
def test_links_are_known_to_both_of_their_ends(name: str) -> None:
    moved = move(document(name, "page")).document
    nodes = {node["id"]: node for node in moved["nodes"]}
    numbers = [link[0] for link in moved["links"]]
    assert len(set(numbers)) == len(numbers) and max(numbers) <= moved["last_link_id"]
    assert max(nodes) <= moved["last_node_id"]
    for number, origin, output, target, slot, _ in moved["links"]:
        assert number in nodes[origin]["outputs"][output]["links"]
        assert nodes[target]["inputs"][slot]["link"] == number
    ends = [slot["link"] for node in moved["nodes"] for slot in node["inputs"] if slot["link"] is not None]
    begins = [link for node in moved["nodes"] for slot in node["outputs"] for link in slot["links"] or []]
    assert sorted(ends) == sorted(begins) == sorted(numbers)


@EVERY
def test_all_that_new_nodes_need_is_connected(name: str) -> None:
    for node in move(document(name, "api")).document.values():
        if node["class_type"] in KINDS:
            needed = {name for name, input in KINDS[node["class_type"]].inputs.items() if not input.optional}
            assert needed <= node["inputs"].keys()


@EVERY
def test_other_nodes_stay_where_and_as_they_are(name: str) -> None:
    given = document(name, "page")
    moved = move(given).document
    assert {key: given[key] for key in ("groups", "extra", "config", "version")} == {
        key: moved[key] for key in ("groups", "extra", "config", "version")
    }
    after = {node["id"]: node for node in moved["nodes"]}
    for node in given["nodes"]:
        if not row_of(node["type"]) and not CASES[name].recipe.cfg:
            same = ("type", "pos", "size", "flags", "mode", "properties", "widgets_values")
            assert {key: after[node["id"]][key] for key in same} == {key: node[key] for key in same}


def test_new_nodes_lie_on_no_other() -> None:
    for name in CASES:
        nodes = move(document(name, "page")).document["nodes"]
        boxes = [(*node["pos"], *node["size"]) for node in nodes]
        for index, (x, y, width, height) in enumerate(boxes):
            for x2, y2, width2, height2 in boxes[:index]:
                assert x >= x2 + width2 or x2 >= x + width or y >= y2 + height2 or y2 >= y + height, name


def test_the_body_of_a_request_is_moved_inside() -> None:
    prompt = built(Recipe()).api()
    moved = move({"prompt": prompt, "client_id": "me"}).document
    assert moved == {"prompt": move(prompt).document, "client_id": "me"}


def test_a_value_that_another_node_computes_is_no_trouble() -> None:
    """Any widget may be connected."""
    for name in CASES:
        given = document(name, "api")
        ours = [id for id, node in given.items() if row_of(node["class_type"])]
        for id in ours:
            for input, value in given[id]["inputs"].items():
                if not is_link(value):
                    changed = copy.deepcopy(given) | {"99": {"class_type": "SomeNode", "inputs": {}}}
                    changed[id]["inputs"][input] = ["99", 0]
                    assert "Link(" not in "\n".join(lines(move(changed).report)), (name, input)


@pytest.mark.parametrize(
    "damage",
    [
        lambda page: page["nodes"][0].pop("type"),
        lambda page: page["nodes"][0].pop("id"),
        lambda page: page.update(links=[[1, 2]]),
        lambda page: page.update(nodes=[3]),
        lambda page: page["nodes"][2].update(inputs=7),
    ],
)
def test_a_damaged_graph_is_refused_as_such(damage: Callable[[Json], Any]) -> None:
    given = document("gen2_static", "page")
    damage(given)
    with pytest.raises(GraphError, match="This graph is damaged: its nodes and links are not as ComfyUI saves them"):
        move(given)


@pytest.mark.parametrize("document", [{}, [], None, {"nodes": 3}, {"1": {"inputs": {}}}, "text"])
def test_what_is_no_graph_is_refused(document: Any) -> None:
    with pytest.raises(GraphError, match="no graph of ComfyUI. Expected a workflow saved by the page"):
        move(document)


# How well


@EVERY
@FORMS
def test_the_verdict_and_what_differs(name: str, form: str) -> None:
    report = move(document(name, form)).report
    assert report.verdict.value == CASES[name].verdict
    told = "\n".join(lines(report))
    for words in CASES[name].says:
        assert words in told
    assert all(finding.verdict is Verdict.EXACT or finding.remarks for finding in report.findings)


def test_most_workflows_are_moved_exactly_and_nearly_all_run() -> None:
    verdicts = [move(document(name, "page")).report.verdict for name in CASES]
    assert len(verdicts) >= 30
    assert verdicts.count(Verdict.EXACT) >= 0.7 * len(verdicts)
    assert verdicts.count(Verdict.LEFT) <= 0.1 * len(verdicts)


def test_a_loader_that_is_connected_to_itself_is_refused() -> None:
    graph = {
        "1": {
            "class_type": "AnimateDiffLoaderV1",
            "inputs": {"model": ["2", 0], "latents": ["1", 1], "model_name": "AnimateLCM_sd15_t2v.ckpt"},
        },
        "2": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd15.safetensors"}},
        "3": {"class_type": "KSampler", "inputs": {"model": ["1", 0], "latent_image": ["1", 1]}},
    }
    with pytest.raises(GraphError, match="Node 1 is connected to itself"):
        move(graph)


def test_a_model_that_is_merged_with_itself_many_times_is_followed_once() -> None:
    first = {
        "class_type": "ADE_AnimateDiffLoaderGen1",
        "inputs": {"model": ["0", 0], "model_name": "AnimateLCM_sd15_t2v.ckpt", "beta_schedule": "lcm"},
    }
    checkpoint = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd15.safetensors"}}
    merges = {
        str(i): {"class_type": "ModelMergeSimple", "inputs": {"model1": [str(i - 1), 0], "model2": [str(i - 1), 0]}}
        for i in range(2, 80)
    }
    moved = move(
        {"0": checkpoint, "1": first, **merges, "80": {"class_type": "KSampler", "inputs": {"model": ["79", 0]}}}
    )
    assert "AnimateLCMApply" in types(moved.document)


def test_a_graph_of_two_thousand_reroutes_in_a_row_is_moved() -> None:
    size = {"width": 64, "height": 64, "batch_size": 18}
    graph: Json = {"0": {"class_type": "ADE_EmptyLatentImageLarge", "inputs": size}}
    graph |= {f"{i + 1}": {"class_type": "Reroute", "inputs": {"": [f"{i}", 0]}} for i in range(2000)}
    graph["end"] = {"class_type": "KSampler", "inputs": {"latent_image": ["2000", 0]}}
    moved = move(graph)
    assert moved.report.findings[0].stays is False
    assert types(moved.document).count("Reroute") == 2000
    assert "AnimateLCMEmptyLatent" in types(moved.document)
