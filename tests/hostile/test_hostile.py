"""Hostile graphs and files, sent to a real server: one message each, in bounded time and memory, and the next prompt is
right. All of them are many minutes: `python dev.py test -m hostile`; a sample of them runs with the other tests."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from animatelcm.comfyui_server import Refused, Server, outputs

from .cases import Filed, Posted, filed, posted, shipped

POSTED, FILED = list(posted()), list(filed())
SAMPLE = [*POSTED[::45], *FILED[::30]]
LONGEST = 60.0  # seconds of all processors for one prompt
MOST_MEMORY = 400 * 2**20  # bytes that the server may have grown by in the end
PYTHONS = re.compile(r"(Attribute|Key|Type|Index|Name|Unicode\w+|Recursion|Memory|ZeroDivision|Overflow|Runtime)Error")
Counts = Counter[tuple[str, str]]


def files(server: Server) -> set[Path]:
    """All that was saved, and what is unfinished; a picture that a right node of the same graph shows is neither."""
    found = (path for name in ("output", "temp") for path in (server.folder / name).rglob("*") if path.is_file())
    return {path for path in found if not path.name.startswith("ComfyUI_temp_")}


def processor_time(server: Server) -> float:
    """Seconds that the server and what it started have used so far."""
    times = psutil.Process(server.process.pid).cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def clip(server: Server) -> list[bytes]:
    """What the first shipped graph makes, each time anew."""
    graph = shipped()["text_to_video"]
    server.post("/free", {"unload_models": False, "free_memory": True})
    entry = server.run(graph)
    assert entry["status"]["status_str"] == "success", entry["status"]
    return [server.view(video) for video in outputs(entry)]


@pytest.fixture(scope="module")
def watched(server: Server) -> Iterator[Server]:
    """A server whose clip is the same, bit for bit, after all that it was sent, and that has not grown."""
    process, before = psutil.Process(server.process.pid), clip(server)
    memory = process.memory_info().rss
    yield server
    assert clip(server) == before
    assert process.memory_info().rss - memory < MOST_MEMORY


def told(server: Server, graph: dict[str, Any]) -> tuple[str, str, list[str]]:
    """How a prompt ended, at which node, and what was said: one text for each error."""
    try:
        answer = server.post("/prompt", {"prompt": graph})
        messages = server.wait_for_history(answer["prompt_id"])["status"]["messages"]
    except Refused as refused:
        answer, messages = refused.answer, []
    if nodes := answer["node_errors"]:
        errors = [error for node in nodes.values() for error in node["errors"]]
        said = [f"{error['message']}: {error['details']}" for error in errors]
        return "refused before the queue", ", ".join(nodes), said
    for error in (message for kind, message in messages if kind == "execution_error"):
        assert not PYTHONS.fullmatch(error["exception_type"]), error
        return "refused by the node", error["node_id"], [error["exception_message"]]
    return "ran", "", []


def check(server: Server, case: Posted | Filed, counts: Counts) -> tuple[str, str]:
    """Send a case; what was said of it, once and by its own node, and where."""
    there, began = files(server), processor_time(server)
    outcome, node, messages = told(server, case.graph)
    counts[f"graph: {case.kind}" if isinstance(case, Posted) else f"file: {case.slot}", outcome] += 1
    assert outcome != "ran"
    assert len(messages) == 1, messages
    assert len(messages[0]) < 2000
    assert processor_time(server) - began < LONGEST
    assert not files(server) - there
    return node, messages[0]


def check_posted(server: Server, case: Posted, counts: Counts) -> None:
    node, message = check(server, case, counts)
    assert node == case.node
    assert case.input in message


def check_filed(server: Server, case: Filed, counts: Counts) -> None:
    path = server.folder / case.folder / case.name
    case.write(path)
    try:
        _, message = check(server, case, counts)
    finally:
        path.unlink()
    assert case.name in message


@pytest.mark.parametrize("case", SAMPLE, ids=str)
def test_a_sample_is_refused_in_one_message(watched: Server, case: Posted | Filed, outcomes: Counts) -> None:
    check_posted(watched, case, outcomes) if isinstance(case, Posted) else check_filed(watched, case, outcomes)


@pytest.mark.hostile
def test_there_are_enough_cases() -> None:
    assert len(POSTED) + len(FILED) >= 600


@pytest.mark.hostile
@pytest.mark.parametrize("case", POSTED, ids=str)
def test_a_hostile_graph_is_refused_in_one_message(watched: Server, case: Posted, outcomes: Counts) -> None:
    check_posted(watched, case, outcomes)


@pytest.mark.hostile
@pytest.mark.parametrize("case", FILED, ids=str)
def test_a_hostile_file_is_refused_in_one_message(watched: Server, case: Filed, outcomes: Counts) -> None:
    check_filed(watched, case, outcomes)
