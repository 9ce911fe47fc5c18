"""Layouts as the page reads them: the pure functions of web/boxes.js, in the Node.js that Playwright brings."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from animatelcm.layout.boxes import MOST_BOXES
from animatelcm.layout.errors import LayoutError
from animatelcm.layout.parse import LONGEST_TEXT, read_layout
from playwright._impl._driver import compute_driver_executable

BOXES = Path(__file__).resolve().parents[2] / "web" / "boxes.js"
READ = """
const [script, texts] = JSON.parse(require("fs").readFileSync(0, "utf8"))
import(`data:text/javascript,${encodeURIComponent(script)}`).then(({ readLayout }) => {
  const read = (text) => {
    try {
      return readLayout(text).boxes.length
    } catch (error) {
      return error.message
    }
  }
  console.log(JSON.stringify(texts.map(read)))
})
"""
KEYFRAME = {"frame": 0, "x": 0.25, "y": 0.25, "width": 0.5, "height": 0.5}


def in_page(*texts: str) -> list[Any]:
    """How many boxes the page finds in each text, or what it says of it."""
    node, _ = compute_driver_executable()
    given = json.dumps([BOXES.read_text(encoding="utf-8"), texts])
    done = subprocess.run([node, "-e", READ], input=given, capture_output=True, text=True, timeout=60, check=True)
    return list(json.loads(done.stdout))


def layout(*boxes: dict[str, Any]) -> str:
    return json.dumps({"boxes": [{"name": str(i), "keyframes": [KEYFRAME]} | box for i, box in enumerate(boxes)]})


def many(count: int) -> str:
    return layout(*({} for _ in range(count)))


def test_the_page_reads_as_many_boxes_as_the_server_and_no_more() -> None:
    texts = many(MOST_BOXES), many(MOST_BOXES + 1), layout().ljust(LONGEST_TEXT), layout().ljust(LONGEST_TEXT + 1)
    assert in_page(*texts) == [
        MOST_BOXES,
        "it has 1001 boxes, more than 1000",
        0,
        "it has more than 1000000 characters",
    ]
    for text in (texts[1], texts[3]):
        with pytest.raises(LayoutError):
            read_layout(text)


WRONG = [
    layout({name: value}, {})
    for name in ("name", "prompt", "colour", "keyframes")
    for value in (None, 1, {}, [], {"a": 1})
] + [
    layout({"keyframes": [keyframe]})
    for keyframe in (None, 1, [], {}, *(KEYFRAME | {name: {}} for name in KEYFRAME), KEYFRAME | {"easing": {}})
]


def test_what_is_no_layout_is_said_in_words_as_by_the_server() -> None:
    for text, found in zip(WRONG, in_page(*WRONG), strict=True):
        with pytest.raises(LayoutError):
            read_layout(text)
        assert isinstance(found, str), text
