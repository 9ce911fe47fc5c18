"""README's first command, as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

import av
import pytest

ROOT = Path(__file__).resolve().parents[2]
DEV = ROOT / "dev.py"
WORKFLOWS = [["--workflow", path.stem] for path in sorted((ROOT / "workflows" / "api").glob("*.json"))]
LED = ["a small green square", "--workflow", "layout_to_video"]
LONG = ["a small green square standing still on a white background", "--workflow", "long_video"]
PROMPT = ["a small green square standing still on a white background", "--seed", "7", "--steps", "2"]


@pytest.mark.parametrize("options", [[], PROMPT, LED, LONG, *WORKFLOWS], ids=" ".join)
def test_the_demo_writes_a_video_that_plays(tmp_path: Path, options: list[str]) -> None:
    output = tmp_path / "demo.mp4"
    subprocess.run([sys.executable, str(DEV), "demo", *options, "--output", str(output)], check=True, timeout=300)
    with av.open(str(output)) as container:
        assert len(list(container.decode(video=0))) == (64 if "long_video" in options else 16)
        graph = json.loads(container.metadata["prompt"])
    asked = options[:1] if options in (PROMPT, LED, LONG) else []
    assert {f"0: {words}" if options == LONG else words for words in asked} <= {
        node["inputs"].get("text") for node in graph.values()
    }
    around = {node["inputs"].get(side, "") for node in graph.values() for side in ("before", "after")}
    assert not asked or around == {""}
    assert list(tmp_path.iterdir()) == [output]
