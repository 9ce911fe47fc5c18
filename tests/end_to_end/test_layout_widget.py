"""What a person sees and does who draws a layout in ComfyUI's own page."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from animatelcm.comfyui_page import open_page
from animatelcm.comfyui_server import Server
from animatelcm.layout.boxes import Box, Layout
from animatelcm.layout.draw import colour
from animatelcm.layout.keyframes import EASINGS, Keyframe
from animatelcm.layout.parse import read_layout, write_layout

from .conftest import RENDERERS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SCRIPT = "/extensions/ComfyUI-AnimateLCM-Native/boxes.js"
NEW_NODE = """async ([text, scale, height]) => {
    const node = { id: 1, type: "AnimateLCMLayout", pos: [500, 150], size: [480, height], widgets_values: [text] }
    const extra = { ds: { scale, offset: [0, 0] } } // with the node in view
    await window.app.loadGraphData({ last_node_id: 1, last_link_id: 0, nodes: [node], links: [], extra, version: 0.4 })
}"""
NODE = "window.app.graph.nodes.find(node => node.type === 'AnimateLCMLayout')"
TEXT = f"() => {NODE}.widgets[0].value"
GRAPH_AS_PROMPT = "async () => (await window.app.graphToPrompt()).output"
PICTURE = """async script => {
    const { pictureIn } = await import(script)
    const canvas = document.querySelector(".animatelcm-layout canvas")
    const { x, y, width, height } = pictureIn(canvas.clientWidth, canvas.clientHeight)
    const seen = canvas.getBoundingClientRect()
    const scale = seen.width / canvas.clientWidth
    return [seen.x + scale * x, seen.y + scale * y, scale * width, scale * height]
}"""
PIXEL = """async ([script, x, y]) => {
    const { pictureIn } = await import(script)
    const canvas = document.querySelector(".animatelcm-layout canvas")
    const picture = pictureIn(canvas.clientWidth, canvas.clientHeight)
    const density = canvas.width / canvas.clientWidth
    const place = [density * (picture.x + x * picture.width), density * (picture.y + y * picture.height)]
    return [...canvas.getContext("2d").getImageData(...place, 1, 1).data].slice(0, 3)
}"""
BOX = Box("fox", (Keyframe(0, 0.1, 0.2, 0.4, 0.4),), "a fox")
LAYOUT = Layout((BOX,))
Point = tuple[float, float]


class Drawing:
    """The widget in the page, its places as shares of the picture."""

    def __init__(self, page: "Page") -> None:
        self.page = page
        self.canvas = page.locator(".animatelcm-layout canvas")

    def start(self, text: str, scale: float = 1.0, height: int = 680) -> None:
        self.page.evaluate(NEW_NODE, [text, scale, height])
        self.canvas.wait_for(state="visible")
        self.page.wait_for_timeout(200)  # until the node is laid out

    @property
    def text(self) -> str:
        return str(self.page.evaluate(TEXT))

    @property
    def boxes(self) -> tuple[Box, ...]:
        return read_layout(self.text).boxes

    def taller_than(self, least: float) -> float:
        """The canvas's height in pixels, once it is laid out and more than `least`."""
        handle = self.canvas.element_handle()
        self.page.wait_for_function("([canvas, least]) => canvas.clientHeight > least", arg=[handle, least])
        return float(self.canvas.bounding_box()["height"])

    def drag(self, start: Point, end: Point) -> None:
        self._move(start)
        self.page.mouse.down()
        self._move(end)
        self.page.mouse.up()

    def click(self, place: Point) -> None:
        self.drag(place, place)

    def go_to(self, frame: int) -> None:
        self.page.locator(".animatelcm-layout input[type=range]").fill(str(frame))

    def button(self, name: str) -> Any:
        return self.page.get_by_role("button", name=name, exact=True)

    def field(self, name: str) -> Any:
        return self.page.locator(f".animatelcm-layout {name}")

    def pixel(self, place: Point) -> list[int]:
        return list(self.page.evaluate(PIXEL, [SCRIPT, *place]))

    def _move(self, place: Point) -> None:
        left, top, width, height = self.page.evaluate(PICTURE, SCRIPT)
        self.page.mouse.move(left + place[0] * width, top + place[1] * height, steps=5)


BOTH = pytest.mark.parametrize("page", RENDERERS, indirect=True)


@pytest.fixture(scope="module", params=["canvas"])
def page(browser: "Browser", server: Server, request: pytest.FixtureRequest) -> Iterator["Page"]:
    """One page for all, as it takes long to load; every test begins with a new graph."""
    with open_page(browser, server, nodes_2=request.param == "Nodes 2.0") as page:
        yield page


@pytest.fixture
def drawing(page: "Page") -> Iterator[Drawing]:
    """The widget with one box, which is selected."""
    drawing = Drawing(page)
    drawing.start(write_layout(LAYOUT))
    yield drawing


def places(box: Box) -> list[Any]:
    """Frame, x, y, width and height of each keyframe, as near as a mouse comes on a screen."""
    return [
        pytest.approx((key.frame, key.x, key.y, key.width, key.height), abs=0.01)
        for key in sorted(box.keyframes, key=lambda key: key.frame)
    ]


@BOTH
@pytest.mark.parametrize("scale", [1.0, 0.75])
def test_dragging_a_box_at_two_frames_makes_two_keyframes(drawing: Drawing, scale: float) -> None:
    drawing.start(write_layout(LAYOUT), scale)
    drawing.drag((0.3, 0.4), (0.35, 0.3))
    drawing.go_to(15)
    drawing.drag((0.35, 0.3), (0.65, 0.5))
    (box,) = drawing.boxes
    assert places(box) == [(0, 0.15, 0.1, 0.4, 0.4), (15, 0.45, 0.3, 0.4, 0.4)]
    assert (box.name, box.prompt) == ("fox", "a fox")
    lines = drawing.text.splitlines()
    assert [line for line in lines if '"frame"' in line and line.index('"x"') < line.index('"y"')] == lines[2:4]


@BOTH
def test_the_drawing_has_room(drawing: Drawing) -> None:
    drawing.start(write_layout(LAYOUT))
    drawing.taller_than(300)


def test_the_drawing_grows_with_the_node(drawing: Drawing) -> None:
    """On the canvas; Nodes 2.0 lets it grow on newer pages only."""
    drawing.start(write_layout(LAYOUT), height=680)
    low = drawing.taller_than(300)
    drawing.start(write_layout(LAYOUT), height=880)
    drawing.taller_than(low + 90)


@BOTH
def test_a_click_selects_and_changes_nothing(drawing: Drawing) -> None:
    before = drawing.text
    drawing.click((0.8, 0.8))
    assert drawing.button("Delete box").is_disabled()
    drawing.click((0.3, 0.4))
    assert drawing.button("Delete box").is_enabled()
    assert drawing.text == before


def test_a_box_hidden_behind_a_larger_one_can_be_moved(drawing: Drawing) -> None:
    drawing.start(write_layout(Layout((BOX, Box("sky", (Keyframe(0, 0.0, 0.0, 1.0, 1.0),))))))
    drawing.click((0.8, 0.8))
    drawing.drag((0.3, 0.4), (0.4, 0.4))
    fox, sky = drawing.boxes
    assert [*places(fox), *places(sky)] == [(0, 0.2, 0.2, 0.4, 0.4), (0, 0.0, 0.0, 1.0, 1.0)]


@BOTH
def test_drawing_on_empty_ground_adds_a_box(drawing: Drawing) -> None:
    for start, end in [((0.95, 0.95), (0.7, 0.75)), ((0.6, 0.1), (0.9, 0.3))]:
        drawing.drag(start, end)
    fox, first, second = drawing.boxes
    assert fox == BOX
    assert (first.name, second.name) == ("thing", "thing 2")
    assert [*places(first), *places(second)] == [(0, 0.7, 0.75, 0.25, 0.2), (0, 0.6, 0.1, 0.3, 0.2)]


@pytest.mark.parametrize(
    ("grabbed", "to", "place"),
    [
        ((0.5, 0.6), (0.8, 0.7), (0, 0.1, 0.2, 0.7, 0.5)),
        ((0.1, 0.2), (0.2, 0.1), (0, 0.2, 0.1, 0.3, 0.5)),
        ((0.1, 0.4), (0.3, 0.9), (0, 0.3, 0.2, 0.2, 0.4)),  # an edge goes one way only
        ((0.5, 0.4), (0.0, 0.4), (0, 0.1, 0.2, 0.01, 0.4)),  # and not past the other
        ((0.1, 0.4), (0.8, 0.4), (0, 0.49, 0.2, 0.01, 0.4)),
    ],
)
def test_a_corner_or_an_edge_resizes_a_box(
    drawing: Drawing, grabbed: Point, to: Point, place: tuple[float, ...]
) -> None:
    drawing.drag(grabbed, to)
    (box,) = drawing.boxes
    assert places(box) == [place]


def test_numbers_are_short_and_the_picture_s_surroundings_within_reach(drawing: Drawing) -> None:
    drawing.drag((0.3, 0.4), (-0.1, 0.4333))
    (keyframe,) = json.loads(drawing.text)["boxes"][0]["keyframes"]
    assert keyframe["x"] == pytest.approx(-0.3, abs=0.01)
    assert all(len(str(number)) <= len("-0.333") for number in keyframe.values() if isinstance(number, float))


@BOTH
def test_the_server_takes_what_was_drawn(drawing: Drawing, server: Server) -> None:
    drawing.drag((0.7, 0.7), (0.9, 0.95))
    prompt = drawing.page.evaluate(GRAPH_AS_PROMPT)
    ((id, node),) = prompt.items()
    assert node["inputs"] == {"text": drawing.text}
    assert [box.name for box in read_layout(node["inputs"]["text"]).boxes] == ["fox", "thing"]
    preview = {"layout": [id, 0], "width": 64, "height": 64, "frames": 16}
    entry = server.run({**prompt, "preview": {"class_type": "AnimateLCMLayoutPreview", "inputs": preview}})
    assert entry["status"]["status_str"] == "success"


NO_LAYOUTS = ["a fox, left to right", '{"boxes": [{"name": "fox"}]}', '{"boxes": ', "[]", ""]
NO_TEXTS = [write_layout(LAYOUT).replace('"prompt": "a fox"', f'"{name}": {{}}') for name in ("prompt", "colour")]
TOO_MANY = write_layout(LAYOUT).replace("[", "[" + 20_000 * "{}, ", 1)


@pytest.mark.parametrize("text", [*NO_LAYOUTS, *NO_TEXTS, TOO_MANY], ids=lambda text: text[-40:])
def test_a_text_that_is_no_layout_is_left_as_it_is(drawing: Drawing, text: str) -> None:
    box = drawing.page.locator("textarea.comfy-multiline-input")
    box.fill(text)
    assert drawing.canvas.get_attribute("title").startswith("The text is no layout: ")
    drawing.drag((0.3, 0.4), (0.5, 0.5))
    drawing.page.keyboard.press("Delete")
    assert drawing.button("Add box").is_disabled()
    assert drawing.text == text

    box.fill(write_layout(LAYOUT))
    drawing.drag((0.3, 0.4), (0.4, 0.4))
    assert places(drawing.boxes[0]) == [(0, 0.2, 0.2, 0.4, 0.4)]


def test_a_text_from_another_node_is_not_drawn_over(drawing: Drawing) -> None:
    before = drawing.text
    drawing.page.evaluate("""() => {
        const { graph } = window.app
        const text = window.LiteGraph.createNode("PrimitiveStringMultiline")
        text.pos = [50, 150]
        graph.add(text)
        text.connect(0, graph.nodes[0], 0)
    }""")
    assert drawing.canvas.get_attribute("title") == "The text comes from another node."
    drawing.drag((0.3, 0.4), (0.5, 0.5))
    assert drawing.text == before
    drawing.page.evaluate(f"() => {{ {NODE}.disconnectInput(0) }}")
    drawing.drag((0.3, 0.4), (0.5, 0.5))
    assert drawing.text != before


@BOTH
def test_a_saved_graph_opens_with_the_same_text(drawing: Drawing) -> None:
    drawing.drag((0.7, 0.7), (0.9, 0.95))
    drawn = drawing.text
    saved = drawing.page.evaluate("() => JSON.parse(JSON.stringify(window.app.graph.serialize()))")
    assert [node["widgets_values"] for node in saved["nodes"]] == [[drawn]]
    drawing.page.evaluate("() => window.app.graph.clear()")
    drawing.page.evaluate("async graph => { await window.app.loadGraphData(graph) }", saved)
    drawing.canvas.wait_for(state="visible")
    assert drawing.text == drawn
    assert drawing.canvas.count() == 1


@BOTH
def test_undo_takes_back_one_drag_at_the_same_frame(drawing: Drawing) -> None:
    drawing.go_to(15)
    drawing.drag((0.3, 0.4), (0.4, 0.4))
    first = drawing.text
    drawing.drag((0.4, 0.4), (0.6, 0.6))
    assert drawing.text != first
    drawing.page.keyboard.press("Control+z")
    drawing.page.wait_for_function(f"text => ({TEXT})() === text", arg=first)
    assert drawing.field("output").text_content() == "15"


@BOTH
@pytest.mark.parametrize("key", ["Delete", "Backspace"])
def test_delete_removes_the_selected_box_and_never_the_node(drawing: Drawing, key: str) -> None:
    drawing.drag((0.7, 0.7), (0.9, 0.95))
    for left in (["fox"], [], []):
        drawing.page.evaluate(f"() => window.app.canvas.selectNode({NODE})")
        drawing.page.keyboard.press(key)
        assert [box.name for box in drawing.boxes] == left


@BOTH
def test_the_controls_change_the_selected_box(drawing: Drawing) -> None:
    drawing.button("Add box").click()
    drawing.field("[name=name]").fill("fox")
    drawing.field("[name=prompt]").fill('a "red" box')
    drawing.go_to(7)
    assert drawing.field("select").is_disabled()
    drawing.drag((0.5, 0.5), (0.6, 0.6))
    drawing.click((0.5, 0.5))
    _, box = drawing.boxes
    assert (box.name, box.prompt, len(box.keyframes)) == ("fox 2", 'a "red" box', 2)

    drawing.field("select").select_option("ease in")
    assert [key.easing for key in drawing.boxes[1].keyframes] == ["linear", "ease in"]
    drawing.button("Delete keyframe").click()
    assert [key.frame for key in drawing.boxes[1].keyframes] == [0]
    drawing.go_to(0)
    assert drawing.button("Delete keyframe").is_disabled()
    drawing.button("Delete box").click()
    assert drawing.boxes == (BOX,)


@BOTH
def test_the_last_frame_can_be_chosen_but_not_before_a_keyframe(drawing: Drawing) -> None:
    last = drawing.field("input[type=number]")
    assert last.input_value() == "15"
    last.fill("31")
    last.blur()
    drawing.go_to(31)
    drawing.drag((0.3, 0.4), (0.5, 0.4))
    assert [key.frame for key in drawing.boxes[0].keyframes] == [0, 31]
    last.fill("7")
    last.blur()
    assert last.input_value() == "31"


def test_keys_that_the_page_does_not_know_are_kept(drawing: Drawing) -> None:
    keyframe = {"frame": 0, "x": 0.1, "y": 0.2, "width": 0.4, "height": 0.4, "angle": {"of": [1, 2]}}
    drawing.start(
        json.dumps({"boxes": [{"name": "fox", "depth": None, "keyframes": [keyframe]}], 'a "note"': "\u2026"})
    )
    drawing.drag((0.3, 0.4), (0.4, 0.4))
    written = json.loads(drawing.text)
    assert written['a "note"'] == "\u2026"
    assert written["boxes"][0]["depth"] is None
    assert written["boxes"][0]["keyframes"][0]["angle"] == {"of": [1, 2]}
    assert written["boxes"][0]["keyframes"][0]["x"] == pytest.approx(0.2, abs=0.01)


def test_boxes_have_the_colours_of_the_hints(drawing: Drawing) -> None:
    keyframes = (Keyframe(0, 0.6, 0.6, 0.2, 0.2),)
    layout = Layout((BOX, Box("hen", keyframes), Box("cow", (Keyframe(0, 0.6, 0.1, 0.2, 0.2),), colour="#0080ff")))
    drawing.start(write_layout(layout))
    for i, corner in enumerate([(0.1, 0.2), (0.6, 0.6), (0.6, 0.1)]):
        drawing.click((corner[0] + 0.1, corner[1] + 0.1))  # which draws its corners
        assert drawing.pixel(corner) == pytest.approx([255 * part for part in colour(layout, i)], abs=2)


@pytest.mark.parametrize("easing", EASINGS)
def test_the_page_moves_a_box_as_the_server_does(page: "Page", easing: str) -> None:
    keyframes = (Keyframe(2, 0.1, 0.2, 0.3, 0.4, easing), Keyframe(9, 0.7, 0.1, 0.2, 0.5), Keyframe(12, 0, 0, 1, 1))
    box = Box("fox", keyframes)
    shown = page.evaluate(
        """async ([script, text]) => {
            const { placeAt, readLayout } = await import(script)
            const [box] = readLayout(text).boxes
            return [...Array(15).keys()].map(frame => Object.values(placeAt(box, frame)))
        }""",
        [SCRIPT, write_layout(Layout((box,)))],
    )
    assert shown == [pytest.approx(box.at(frame)) for frame in range(15)]
