"""README's first command, as a user runs it."""

import subprocess
import sys
from pathlib import Path

import av
import pytest

ROOT = Path(__file__).resolve().parents[2]
DEV = ROOT / "dev.py"
WORKFLOWS = [["--workflow", path.stem] for path in sorted((ROOT / "workflows" / "api").glob("*.json"))]
PROMPT = ["a small green square standing still on a white background", "--seed", "7", "--steps", "2"]


@pytest.mark.parametrize("options", [[], PROMPT, *WORKFLOWS], ids=" ".join)
def test_the_demo_writes_a_video_that_plays(tmp_path: Path, options: list[str]) -> None:
    output = tmp_path / "demo.mp4"
    subprocess.run([sys.executable, str(DEV), "demo", *options, "--output", str(output)], check=True, timeout=300)
    with av.open(str(output)) as container:
        assert len(list(container.decode(video=0))) == 16
    assert list(tmp_path.iterdir()) == [output]
