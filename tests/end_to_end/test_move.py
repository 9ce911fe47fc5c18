"""Workflows made of AnimateDiff-Evolved's nodes, moved, and run in a real ComfyUI and in its page."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from animatelcm.comfyui_page import open_page, run_button
from animatelcm.comfyui_server import Refused, Server, outputs
from animatelcm.migration.move import move
from safetensors.torch import load_file

from ..migration.cases import CASES
from ..migration.nodes import SPECS, Widget
from ..migration.workflows import Recipe, built
from .conftest import RENDERERS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[2]
MINI = "animatelcm_mini_synthetic"
# The mini family in place of published files
FILES = {
    r"dreamshaper_8\.safetensors": f"{MINI}.safetensors",
    r"AnimateLCM_sd15_t2v\.ckpt": f"{MINI}_t2v.safetensors",
    r"(v3_sd15_mm|mm_sd_v15(_v2)?)\.ckpt": f"{MINI}_teacher.safetensors",
    r"AnimateLCM_sd15_t2v_lora\.safetensors": f"{MINI}_lcm_lora.safetensors",
}
SAMPLE = ["context_legacy", "context_discrete_after", "gen2_custom_cfg", "gen1_custom_sampler", "context_two_passes"]
RUNS = [name for name, case in CASES.items() if case.verdict != "left"]
GRAPH_AS_PROMPT = "async () => (await window.app.graphToPrompt()).output"
# Of the node that saves: nodes are drawn only where they are seen, on the canvas or as elements
SHOW_SAVER = """() => window.app.canvas.centerOnNode(
    window.app.graph.nodes.find(node => node.type === "AnimateLCMSaveVideo"))"""
SHOWN_ON_SAVER = """file => {
    window.app.canvas.setDirty(true, true)
    const node = window.app.graph.nodes.find(node => node.type === "AnimateLCMSaveVideo")
    const element = document.querySelector(`[data-node-id='${node.id}'] img[src*='${file}']`)
    return [...(node.imgs ?? []), element].some(img => img?.src.includes(file) && img.naturalWidth > 0)
}"""
TYPES = "() => window.app.graph.nodes.map(node => node.type)"


def with_mini_files(document: Any) -> Any:
    """The same document with the mini family's files and size, and two steps at most."""
    text = json.dumps(document)
    for published, mini in FILES.items():
        text = re.sub(published, mini, text)
    return json.loads(text.replace("512", "64"))


def quick(prompt: dict[str, Any]) -> dict[str, Any]:
    """A graph that samples for a moment: 20 frames, which is more than a window, in two steps."""
    for node in prompt.values():
        inputs = node["inputs"]
        inputs |= {name: 20 for name in ("batch_size", "frames") if name in inputs}
        inputs |= {"steps": 2} if "steps" in inputs else {}
        if node["class_type"] == "VHS_VideoCombine":  # not installed here; it may stay where it is
            node |= {"class_type": "PreviewImage", "inputs": {"images": inputs["images"]}}
    return prompt


@pytest.fixture(scope="module")
def zoom(server: Server) -> None:
    """A motion LoRA for the mini family, under the name of a published one."""
    module = load_file(ROOT / "models" / "animatediff_models" / f"{MINI}_t2v.safetensors")
    lora = {}
    for name, weight in module.items():
        if name.endswith("to_q.weight"):
            part = name.replace("to_q.weight", "processor.to_q_lora")
            lora[f"{part}.down.weight"] = torch.full((4, weight.shape[1]), 0.01)
            lora[f"{part}.up.weight"] = torch.full((weight.shape[0], 4), 0.01)
    folder = server.folder / "models" / "animatediff_motion_lora"
    folder.mkdir(exist_ok=True)
    torch.save(lora, folder / "v2_lora_ZoomIn.ckpt")


def check_run(server: Server, name: str) -> None:
    moved = move(built(CASES[name].recipe).api())
    entry = server.run(quick(with_mini_files(moved.document)))
    assert entry["status"]["status_str"] == "success", entry["status"]["messages"]
    assert any(node.get("images") for node in entry["outputs"].values())


@pytest.mark.parametrize("name", SAMPLE)
def test_a_moved_graph_runs(server: Server, name: str) -> None:
    check_run(server, name)


@pytest.mark.every_graph
@pytest.mark.parametrize("name", [name for name in RUNS if name not in SAMPLE])
def test_every_moved_graph_runs(server: Server, zoom: None, name: str) -> None:
    check_run(server, name)


# What the server answers


def test_a_program_can_ask_what_becomes_of_a_graph(server: Server) -> None:
    document = built(CASES["gen2_looped"].recipe).page()
    answer = server.post("/animatelcm/move", document)
    assert answer["graph"] == move(document).document
    assert answer["report"]["verdict"] == "exact"
    with pytest.raises(Refused) as refusal:
        server.post("/animatelcm/move", {"nodes": "none"})
    assert refusal.value.status == 400
    assert "This is no graph of ComfyUI." in str(refusal.value)


def test_comfyui_replaces_by_itself_what_is_the_same(server: Server) -> None:
    try:
        known = server.get("/node_replacements")
    except Refused:
        pytest.skip("This ComfyUI replaces no nodes: it is older than 0.14.0.")
    (replacement,) = known["ADE_EmptyLatentImageLarge"]
    assert replacement["new_node_id"] == "AnimateLCMEmptyLatent"
    latent = {"class_type": "ADE_EmptyLatentImageLarge", "inputs": {"width": 64, "height": 64, "batch_size": 18}}
    saver = {"class_type": "SaveLatent", "inputs": {"samples": ["1", 0], "filename_prefix": "latents/replaced"}}
    graph = {"1": latent | {"_meta": {}}, "2": saver | {"_meta": {}}}
    assert server.run(graph)["status"]["status_str"] == "success"


# In the page

DANCE = Recipe(
    loader="gen2", context="static", frames=20, steps=2, schedule="autoselect", saver="ADE_AnimateDiffCombine"
)


@pytest.fixture(scope="module", params=RENDERERS)
def page(browser: "Browser", server: Server, request: pytest.FixtureRequest) -> Iterator["Page"]:
    """One page for all tests, as it takes long to load; every test begins with a new graph."""
    with open_page(browser, server, nodes_2=request.param == "Nodes 2.0") as page:
        yield page


def opened(page: "Page", recipe: Recipe) -> dict[str, Any]:
    """Open a recipe's workflow as the page saved it, and return that."""
    workflow = with_mini_files(built(recipe).page())
    page.evaluate("async graph => { await window.app.loadGraphData(graph); window.app.canvas.ds.reset() }", workflow)
    page.keyboard.press("Escape")  # the older page shows a dialog of missing nodes
    return workflow


def run_command(page: "Page") -> None:
    page.evaluate("() => { window.app.extensionManager.command.execute('AnimateLCM.Move') }")
    page.locator("dialog.animatelcm-move").wait_for(state="visible")


def what_people_made(graph: dict[str, Any]) -> dict[str, Any]:
    """Nodes, links and groups; not how large a node is, which "Nodes 2.0" measures anew each time it shows one."""
    nodes = [{key: value for key, value in node.items() if key != "size"} for node in graph["nodes"]]
    return {"nodes": nodes, "links": graph["links"], "groups": graph["groups"]}


def confirm(page: "Page") -> None:
    page.locator("dialog.animatelcm-move").get_by_role("button", name="Move", exact=True).click()
    page.wait_for_function("() => !window.app.graph.nodes.some(node => node.type.startsWith('ADE_'))")


def test_a_workflow_of_missing_nodes_is_moved_and_run_in_the_page(page: "Page", server: Server, tmp_path: Path) -> None:
    opened(page, DANCE)
    run_command(page)
    report = page.locator("dialog.animatelcm-move")
    assert "5 nodes of AnimateDiff-Evolved: 5 exact. The result is the same." in report.inner_text()
    assert "becomes AnimateLCM Long Clip" in report.inner_text()
    page.screenshot(path=tmp_path / "report.png")
    confirm(page)
    page.screenshot(path=tmp_path / "moved.png")
    with page.expect_response("**/prompt") as answer:
        run_button(page).click()
    entry = server.wait_for_history(answer.value.json()["prompt_id"])
    assert entry["status"]["status_str"] == "success"
    (file,) = outputs(entry)
    page.evaluate(SHOW_SAVER)
    page.wait_for_function(SHOWN_ON_SAVER, arg=file["filename"])
    page.screenshot(path=tmp_path / "video.png")


def test_undo_brings_the_old_workflow_back(page: "Page") -> None:
    opened(page, DANCE)
    before = page.evaluate("() => window.app.graph.serialize()")
    run_command(page)
    confirm(page)
    moved = page.evaluate(TYPES)
    page.mouse.click(1150, 850)  # beside all nodes: whatever a person does next is no step of the history
    page.keyboard.press("Control+z")
    page.wait_for_function("() => window.app.graph.nodes.some(node => node.type.startsWith('ADE_'))")
    assert what_people_made(page.evaluate("() => window.app.graph.serialize()")) == what_people_made(before)
    page.keyboard.press("Control+y")
    page.wait_for_function("() => !window.app.graph.nodes.some(node => node.type.startsWith('ADE_'))")
    assert page.evaluate(TYPES) == moved


def test_nothing_changes_before_the_report_is_confirmed(page: "Page") -> None:
    opened(page, DANCE)
    before = page.evaluate("() => window.app.graph.serialize()")
    run_command(page)
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.locator("dialog.animatelcm-move").wait_for(state="detached")
    assert page.evaluate("() => window.app.graph.serialize()") == before


def test_a_workflow_without_ade_is_told_so(page: "Page") -> None:
    page.evaluate("() => window.app.graph.clear()")
    page.evaluate("() => { window.app.extensionManager.command.execute('AnimateLCM.Move') }")
    page.get_by_text("There is no AnimateDiff-Evolved node in this graph.").wait_for(state="visible")


def test_the_command_is_in_the_canvas_menu(page: "Page") -> None:
    items = page.evaluate("() => window.app.collectCanvasMenuItems(window.app.canvas).map(item => item?.content)")
    assert "Move AnimateDiff-Evolved nodes to AnimateLCM" in items


@pytest.mark.parametrize("name", ["context_legacy", "gen2_custom_cfg", "gen1_large_latent"])
def test_the_page_reads_a_moved_workflow_as_the_moved_api_graph(page: "Page", name: str) -> None:
    nodes = built(CASES[name].recipe)
    page.evaluate("async graph => { await window.app.loadGraphData(graph) }", move(nodes.page()).document)
    assert page.evaluate("() => window.app.graph.nodes.every(node => node.constructor.nodeData)")
    prompt = page.evaluate(GRAPH_AS_PROMPT)
    expected = move(nodes.api()).document
    assert {id: (n["class_type"], n["inputs"]) for id, n in prompt.items()} == {
        id: (n["class_type"], n["inputs"]) for id, n in expected.items()
    }


# Where AnimateDiff-Evolved is installed

PACK = '''
"""Nodes with the inputs of AnimateDiff-Evolved's, which do nothing."""
NODES = {nodes}

def node(inputs, outputs):
    class Node:
        INPUT_TYPES = classmethod(lambda cls: {{"required": inputs}})
        RETURN_TYPES, FUNCTION, CATEGORY = tuple(outputs), "run", "ADE"
    return Node

NODE_CLASS_MAPPINGS = {{name: node(*parts) for name, parts in NODES.items()}}
'''


def input_type(slot: str | Widget) -> tuple[Any, ...]:
    """An input as old nodes tell ComfyUI of it."""
    if isinstance(slot, str):
        return (slot,)
    kinds = {bool: "BOOLEAN", int: "INT", float: "FLOAT", str: "STRING"}
    return (kinds[type(slot.default)], {"default": slot.default, "max": 10**6})


@pytest.fixture
def server_with_ade(tmp_path: Path) -> Any:
    pack = tmp_path / "custom_nodes" / "ADE"
    pack.mkdir(parents=True)
    nodes = {
        name: ({input: input_type(slot) for input, slot in spec.inputs.items()}, spec.outputs)
        for name, spec in SPECS.items()
        if name.startswith("ADE_")
    }
    (pack / "__init__.py").write_text(PACK.format(nodes=nodes))
    with Server(tmp_path, "--disable-api-nodes") as running:
        yield running


@pytest.mark.every_graph
def test_a_workflow_of_installed_nodes_is_moved_alike(browser: "Browser", server_with_ade: Server) -> None:
    with open_page(browser, server_with_ade) as page:
        workflow = opened(page, DANCE)
        assert page.evaluate("() => window.app.graph.nodes.every(node => node.constructor.nodeData)")
        run_command(page)
        confirm(page)
        prompt = page.evaluate(GRAPH_AS_PROMPT)
    moved = move(with_mini_files(built(DANCE).api())).document
    assert workflow["nodes"]
    assert {id: (n["class_type"], n["inputs"]) for id, n in prompt.items()} == {
        id: (n["class_type"], n["inputs"]) for id, n in moved.items()
    }
