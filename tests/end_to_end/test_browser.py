"""What a person sees who opens a shipped workflow in ComfyUI's own page."""

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from animatelcm.comfyui_page import open_page, run_button
from animatelcm.comfyui_server import Server, outputs

from .conftest import RENDERERS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = ROOT / "workflows"
NAMES = sorted(path.stem for path in WORKFLOWS.glob("*.json"))
DOCS = ROOT / "web" / "docs"
HELP_PAGES = sorted(path.stem for path in DOCS.glob("*.md"))
CHOOSE_FORMAT = """format => {
    const node = window.app.graph.nodes.find(node => node.type === "AnimateLCMSaveVideo")
    node.widgets.find(widget => widget.name === "format").value = format
}"""
SELECT_NEW_NODE = """async type => {
    const { graph, canvas } = window.app
    graph.clear()
    const node = window.LiteGraph.createNode(type)
    node.pos = [600, 400] // in view, with room for the tools above it
    graph.add(node)
    for (let i = 0; i < 2; i++) await new Promise(requestAnimationFrame) // until it is shown
    canvas.selectNode(node)
    canvas.setDirty(true, true)
}"""
DROP = """async ([url, name, type]) => {
    const content = await (await fetch(url)).blob()
    await window.app.handleFile(new File([content], name, {type}))
}"""
# Left, top, right and bottom of every node with its title, in the graph's units
RECTANGLES = """async nodes2 => {
    const { graph, canvas } = window.app
    canvas.ds.scale = 1
    canvas.setDirty(true, true)
    for (let i = 0; i < 3; i++) await new Promise(requestAnimationFrame) // until it is drawn
    const shown = node => {
        const { x, y, width, height } = document.querySelector(`[data-node-id="${node.id}"]`).getBoundingClientRect()
        return [x, y, width, height]
    }
    return graph.nodes.map(node => {
        const [x, y, width, height] = nodes2 ? shown(node) : node.boundingRect
        return [node.type, x, y, x + width, y + height]
    })
}"""
GRAPH_AS_PROMPT = "async () => (await window.app.graphToPrompt()).output"


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def without_titles(prompt: dict[str, Any]) -> dict[str, Any]:
    return {id: {"class_type": node["class_type"], "inputs": node["inputs"]} for id, node in prompt.items()}


def open_workflow(page: "Page", name: str) -> None:
    page.evaluate("async graph => { await window.app.loadGraphData(graph) }", load(WORKFLOWS / f"{name}.json"))


def run_in(page: "Page", server: Server, name: str) -> dict[str, Any]:
    """Open a workflow and press Run; the file that it saved."""
    open_workflow(page, name)
    with page.expect_response("**/prompt") as answer:
        run_button(page).click()
    entry = server.wait_for_history(answer.value.json()["prompt_id"])
    assert entry["status"]["status_str"] == "success"
    (file,) = outputs(entry)
    return file


@pytest.fixture(scope="module", params=RENDERERS)
def page(browser: "Browser", server: Server, request: pytest.FixtureRequest) -> Iterator["Page"]:
    """One page for all tests, as it takes long to load; every test begins with a new graph."""
    with open_page(browser, server, nodes_2=request.param == "Nodes 2.0") as page:
        yield page


@pytest.fixture
def nodes_2(page: "Page") -> bool:
    """Whether the page shows nodes as elements."""
    return bool(page.evaluate("() => window.app.extensionManager.setting.get('Comfy.VueNodes.Enabled')"))


ON_CANVAS = pytest.mark.parametrize("page", ["canvas"], indirect=True)  # where it does not matter how nodes are shown


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_the_page_lists_the_workflow_as_a_template_with_a_thumbnail(server: Server, name: str) -> None:
    (pack,) = [pack for pack, names in server.get("/workflow_templates").items() if name in names]
    assert json.loads(server.request(f"/api/workflow_templates/{pack}/{name}.json")) == load(WORKFLOWS / f"{name}.json")
    assert server.request(f"/api/workflow_templates/{pack}/{name}.jpg").startswith(b"\xff\xd8")


def test_the_workflow_opens_with_no_missing_node(page: "Page", name: str) -> None:
    open_workflow(page, name)
    types = page.evaluate("() => window.app.graph.nodes.map(node => node.type)")
    assert types
    assert page.evaluate("types => types.filter(type => !(type in LiteGraph.registered_node_types))", types) == []
    assert page.get_by_text("Missing Node Types").count() == 0


def test_the_workflow_is_the_shipped_api_graph(page: "Page", name: str) -> None:
    open_workflow(page, name)
    assert without_titles(page.evaluate(GRAPH_AS_PROMPT)) == without_titles(load(WORKFLOWS / "api" / f"{name}.json"))


def test_no_two_nodes_overlap(page: "Page", name: str, nodes_2: bool) -> None:
    open_workflow(page, name)
    if nodes_2:
        page.wait_for_function(
            "() => window.app.graph.nodes.every(n => document.querySelector(`[data-node-id='${n.id}']`))"
        )
    places = page.evaluate(RECTANGLES, nodes_2)
    assert not [(one[0], other[0]) for one, other in itertools.combinations(places, 2) if overlap(one[1:], other[1:])]


def overlap(one: list[float], other: list[float]) -> bool:
    """Whether two rectangles of (left, top, right, bottom) have something in common, edges aside."""
    starts, ends = (zip(one[part], other[part], strict=True) for part in (slice(0, 2), slice(2, 4)))
    return all(max(start) + 1 < min(end) for start, end in zip(starts, ends, strict=True))


@ON_CANVAS
def test_the_run_button_makes_a_video_that_plays_in_the_page(
    page: "Page", server: Server, tmp_path: Path, name: str
) -> None:
    file = run_in(page, server, name)
    video = page.locator(f"video[src*='{file['filename']}']")
    video.wait_for(state="visible")
    page.wait_for_function("video => video.readyState >= 2 && video.videoWidth > 0", arg=video.element_handle())
    page.screenshot(path=tmp_path / f"{name}.png")


@pytest.mark.parametrize("page", ["Nodes 2.0"], indirect=True)
def test_the_run_button_makes_a_video_with_nodes_2(page: "Page", server: Server) -> None:
    """Whether the page shows it is the page's: 1.32.9 takes any node's video for a picture there."""
    assert server.view(run_in(page, server, "text_to_video"))


@ON_CANVAS
@pytest.mark.parametrize("node", HELP_PAGES)
def test_the_help_page_of_a_node_shows_its_picture(page: "Page", node: str) -> None:
    (name,) = re.findall(r"]\((\w+\.png)\)", (DOCS / f"{node}.md").read_text(encoding="utf-8"))
    page.evaluate(SELECT_NEW_NODE, node)
    page.get_by_test_id("info-button").click()
    picture = page.locator(f"img[src*='/docs/{name}']")
    picture.wait_for(state="attached")
    page.wait_for_function("picture => picture.complete && picture.naturalWidth > 0", arg=picture.element_handle())


@ON_CANVAS
@pytest.mark.parametrize(("format", "type"), [("MP4 (H.264)", "video/mp4"), ("WebM (VP9)", "video/webm")])
def test_a_saved_video_dropped_on_the_page_brings_its_workflow_back(
    page: "Page", server: Server, name: str, format: str, type: str
) -> None:
    open_workflow(page, name)
    page.evaluate(CHOOSE_FORMAT, format)
    with page.expect_response("**/prompt") as answer:
        run_button(page).click()
    prompt = answer.value.request.post_data_json["prompt"]
    (file,) = outputs(server.wait_for_history(answer.value.json()["prompt_id"]))
    page.evaluate("() => window.app.graph.clear()")
    url = f"/view?filename={file['filename']}&subfolder={file['subfolder']}&type={file['type']}"
    page.evaluate(DROP, [url, file["filename"], type])
    page.wait_for_function("() => window.app.graph.nodes.length > 0")
    assert page.evaluate(GRAPH_AS_PROMPT) == prompt


@ON_CANVAS
@pytest.mark.parametrize(
    ("format", "type"),
    [("WebP", "image/webp"), ("MOV (ProRes)", "video/quicktime"), ("PNG sequence", "image/png")],
)
def test_a_file_that_does_not_play_in_the_page_brings_its_workflow_back_too(
    page: "Page", server: Server, format: str, type: str
) -> None:
    open_workflow(page, "text_to_video")
    page.evaluate(CHOOSE_FORMAT, format)
    with page.expect_response("**/prompt") as answer:
        run_button(page).click()
    prompt = answer.value.request.post_data_json["prompt"]
    file = outputs(server.wait_for_history(answer.value.json()["prompt_id"]))[0]
    page.evaluate("() => window.app.graph.clear()")
    url = f"/view?filename={file['filename']}&subfolder={file['subfolder']}&type={file['type']}"
    page.evaluate(DROP, [url, file["filename"], type])
    page.wait_for_function("() => window.app.graph.nodes.length > 0")
    assert page.evaluate(GRAPH_AS_PROMPT) == prompt
