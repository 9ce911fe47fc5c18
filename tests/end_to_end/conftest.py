"""The shipped text-to-video graph, and variants of it."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

RENDERERS = ("canvas", "Nodes 2.0")  # how ComfyUI's page shows nodes
ROOT = Path(__file__).resolve().parents[2]
Graph = dict[str, Any]


@pytest.fixture(scope="session")
def shipped_graph() -> Graph:
    return json.loads((ROOT / "workflows" / "api" / "text_to_video.json").read_text())


@pytest.fixture
def graph(shipped_graph: Graph) -> Graph:
    """A copy of the shipped graph to change."""
    return copy.deepcopy(shipped_graph)
