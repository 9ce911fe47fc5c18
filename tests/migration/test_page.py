"""What only the page's form has: places, titles, modes, reroutes, primitives, subgraphs, and older ways to save."""

import copy

import pytest
from animatelcm.migration.graph import BYPASSED, MUTED
from animatelcm.migration.move import Moved, move
from animatelcm.migration.place import Box, free_spot
from hypothesis import given
from hypothesis import strategies as some

from .build import Json, Nodes
from .workflows import CHECKPOINT, LCM_MODULE, Recipe, built

LOADER = "ADE_AnimateDiffLoaderGen1"
PLAIN = Recipe(context="static", schedule="lcm", loader="gen1")


def node_of(document: Json, type: str) -> Json:
    (found,) = [node for node in document["nodes"] if node["type"] == type]
    return found


def said(result: Moved) -> str:
    return " ".join(remark.differs for finding in result.report.findings for remark in finding.remarks)


def test_heirs_take_place_title_and_colours() -> None:
    given = built(PLAIN).page()
    loader, context = (
        node_of(given, f"ADE_{name}") for name in ("AnimateDiffLoaderGen1", "StandardStaticContextOptions")
    )
    loader |= {"title": "my loader", "color": "#322", "bgcolor": "#533", "flags": {"pinned": True}}
    context |= {"title": "Context Options\u25c6Standard Static \U0001f3ad\U0001f150\U0001f153"}
    moved = move(given).document
    apply, windows = node_of(moved, "AnimateLCMApply"), node_of(moved, "AnimateLCMLongClip")
    assert {key: apply[key] for key in ("id", "pos", "title", "color", "bgcolor", "flags")} == {
        key: loader[key] for key in ("id", "pos", "title", "color", "bgcolor", "flags")
    }
    assert windows["pos"] == context["pos"]
    assert "title" not in windows  # the name that ADE gave it is none of a person's


@pytest.mark.parametrize("mode", [MUTED, BYPASSED])
def test_a_loader_that_does_not_work_becomes_one_that_does_not(mode: int) -> None:
    given = built(PLAIN).page()
    node_of(given, LOADER)["mode"] = mode
    moved = move(given).document
    assert node_of(moved, "AnimateLCMApply")["mode"] == node_of(moved, "AnimateLCMLongClip")["mode"] == mode


@pytest.mark.parametrize("mode", [MUTED, BYPASSED])
def test_context_options_that_do_not_work_become_windows_that_are_passed_by(mode: int) -> None:
    given = built(PLAIN).page()
    node_of(given, "ADE_StandardStaticContextOptions")["mode"] = mode
    assert node_of(move(given).document, "AnimateLCMLongClip")["mode"] == BYPASSED


def through(document: Json, target: str, input: str, type: str) -> Json:
    """The same document with a reroute before an input of a node."""
    document = copy.deepcopy(document)
    node = node_of(document, target)
    slot = next(index for index, slot in enumerate(node["inputs"]) if slot["name"] == input)
    link = next(link for link in document["links"] if link[0] == node["inputs"][slot]["link"])
    id, new = document["last_node_id"] + 1, document["last_link_id"] + 1
    document |= {"last_node_id": id, "last_link_id": new}
    document["links"].append([new, id, 0, node["id"], slot, type])
    node["inputs"][slot]["link"] = new
    link[3:5] = [id, 0]
    sockets = {
        "inputs": [{"name": "", "type": "*", "link": link[0]}],
        "outputs": [{"name": "", "type": type, "links": [new]}],
    }
    document["nodes"].append({"id": id, "type": "Reroute", "pos": [9, 9], "size": [75, 26], "mode": 0, **sockets})
    return document


@pytest.mark.parametrize(
    ("input", "type", "stays"), [("model", "MODEL", True), ("context_options", "CONTEXT_OPTIONS", False)]
)
def test_reroutes_are_looked_through(input: str, type: str, stays: bool) -> None:
    given = built(PLAIN).page()
    moved = move(through(given, LOADER, input, type))
    assert moved.report == move(given).report
    assert node_of(moved.document, "AnimateLCMLongClip")["widgets_values"][:2] == [16, 4]
    assert any(node["type"] == "Reroute" for node in moved.document["nodes"]) == stays


def test_links_that_are_kept_keep_their_number_and_their_way() -> None:
    given = built(PLAIN).page()
    loader = node_of(given, LOADER)
    coming = next(slot["link"] for slot in loader["inputs"] if slot["name"] == "model")
    going = loader["outputs"][0]["links"]
    moved = move(given).document
    apply = node_of(moved, "AnimateLCMApply")
    assert next(slot["link"] for slot in apply["inputs"] if slot["name"] == "model") == coming
    assert node_of(moved, "AnimateLCMLongClip")["outputs"][0]["links"] == going


def test_a_value_that_a_primitive_holds_is_read() -> None:
    nodes = Nodes()
    model = nodes.add("CheckpointLoaderSimple", ckpt_name=CHECKPOINT)
    effect = nodes.add("ADE_MultivalDynamic", float_val=nodes.add("PrimitiveNode", value=1.25))
    chosen = {"model_name": LCM_MODULE, "beta_schedule": "lcm", "effect_multival": effect}
    nodes.add("KSampler", model=nodes.add(LOADER, model=model, **chosen))
    moved = move(nodes.page())
    assert node_of(moved.document, "AnimateLCMApply")["widgets_values"][4] == 1.25
    assert not [node for node in moved.document["nodes"] if node["type"] == "PrimitiveNode"]


def test_a_file_name_that_another_node_gives_is_connected_again() -> None:
    nodes = Nodes()
    model = nodes.add("CheckpointLoaderSimple", ckpt_name=CHECKPOINT)
    name = nodes.add("PrimitiveNode", value=LCM_MODULE)
    loader = nodes.add(LOADER, model=model, model_name=name, beta_schedule="autoselect")
    nodes.add("KSampler", model=loader)
    moved = move(nodes.page()).document
    (slot,) = node_of(moved, "AnimateLCMLoadMotionModule")["inputs"]
    assert [link[1] for link in moved["links"] if link[0] == slot["link"]] == [name.node]
    assert node_of(moved, "AnimateLCMApply")["widgets_values"][5] == "LCM (community)"


def test_positions_of_older_pages_are_read() -> None:
    given = built(PLAIN).page()
    for node in given["nodes"]:
        node["pos"] = {"0": node["pos"][0], "1": node["pos"][1]}
        node["size"] = {"0": node["size"][0], "1": node["size"][1]}
    assert (
        node_of(move(given).document, "AnimateLCMApply")["pos"]
        == node_of(move(built(PLAIN).page()).document, "AnimateLCMApply")["pos"]
    )


# Subgraphs


def with_subgraph(recipe: Recipe) -> Json:
    """A workflow whose loader, context options and LoRA are in a subgraph that takes a model and gives one back."""
    flat = built(recipe).page()
    inside = {node["id"] for node in flat["nodes"] if node["type"].startswith("ADE_")}
    box = {"id": 99, "type": "sub-1", "pos": [0, 0], "size": [200, 100], "flags": {}, "mode": 0, "properties": {}}
    subgraph: Json = {"id": "sub-1", "name": "Animate", "inputNode": {"id": -10}, "outputNode": {"id": -20}}
    subgraph |= {"nodes": [node for node in flat["nodes"] if node["id"] in inside], "links": []}
    outer = []
    for number, origin, out, target, slot, type in flat["links"]:
        ends = {"id": number, "origin_id": origin, "origin_slot": out, "target_id": target, "target_slot": slot}
        if origin in inside and target in inside:
            subgraph["links"].append(ends | {"type": type})
        elif target in inside:
            subgraph["links"].append(ends | {"origin_id": -10, "origin_slot": 0, "type": type})
            outer.append([100, origin, out, 99, 0, type])
        elif origin in inside:
            if not any(link["target_id"] == -20 for link in subgraph["links"]):
                subgraph["links"].append(ends | {"target_id": -20, "target_slot": 0, "type": type})
            outer.append([number, 99, 0, target, slot, type])
        else:
            outer.append([number, origin, out, target, slot, type])
    into, out_of = (
        [w["id"] for w in subgraph["links"] if w[end] == id] for end, id in (("origin_id", -10), ("target_id", -20))
    )
    subgraph |= {"inputs": [{"id": "i", "name": "model", "type": "MODEL", "linkIds": into}]}
    subgraph |= {"outputs": [{"id": "o", "name": "model", "type": "MODEL", "linkIds": out_of}]}
    box |= {
        "inputs": [{"name": "model", "type": "MODEL", "link": 100}],
        "outputs": [{"name": "model", "type": "MODEL", "links": out_of}],
    }
    rest = [node for node in flat["nodes"] if node["id"] not in inside]
    return flat | {"nodes": [*rest, box], "links": outer, "definitions": {"subgraphs": [subgraph]}, "last_link_id": 100}


def test_a_subgraph_is_moved_inside() -> None:
    result = move(with_subgraph(PLAIN))
    (inner,) = result.document["definitions"]["subgraphs"]
    assert {node["type"] for node in inner["nodes"]} == {
        "AnimateLCMLoadMotionModule",
        "AnimateLCMApply",
        "AnimateLCMLongClip",
    }
    (given,) = with_subgraph(PLAIN)["definitions"]["subgraphs"]
    assert [side["linkIds"] for side in (*inner["inputs"], *inner["outputs"])] == [
        side["linkIds"] for side in (*given["inputs"], *given["outputs"])
    ]
    apply = node_of(inner, "AnimateLCMApply")["id"]
    (coming,) = [link for link in inner["links"] if link["origin_id"] == -10]
    (going,) = [link for link in inner["links"] if link["target_id"] == -20]
    assert coming["target_id"] == apply
    assert going["origin_id"] == node_of(inner, "AnimateLCMLongClip")["id"]
    assert {finding.id.split("/")[0] for finding in result.report.findings} == {"Animate"}


def test_new_numbers_are_new_in_the_whole_document() -> None:
    moved = move(with_subgraph(PLAIN)).document
    (inner,) = moved["definitions"]["subgraphs"]
    numbers = [node["id"] for graph in (moved, inner) for node in graph["nodes"]]
    assert len(numbers) == len(set(numbers)) and max(numbers) == moved["last_node_id"]


# Places

BOXES = some.builds(Box, *[some.integers(-500, 500)] * 2, *[some.integers(1, 400)] * 2)


@given(BOXES, some.lists(BOXES, max_size=12))
def test_a_free_spot_is_free_and_the_wanted_one_where_that_is(wanted: Box, taken: list[Box]) -> None:
    spot = free_spot(wanted, taken)
    assert (spot.width, spot.height) == (wanted.width, wanted.height)
    assert not any(spot.meets(box) for box in taken)
    if not any(wanted.meets(box) for box in taken):
        assert spot == wanted
