"""A ComfyUI server of our own: start it with this pack, queue graphs, follow them, fetch what they wrote, stop it.

Of use to `dev.py`, the end-to-end tests and the benchmarks. It starts with the Python it is imported in.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Generator
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent
PACK = "ComfyUI-AnimateLCM-Native"
STAND_INS = ROOT / "tests" / "stand_ins"

if TYPE_CHECKING:  # Python 3.8 cannot read this line, and dev.py is to say that it is too old
    Json = dict[str, Any]


class Trouble(Exception):
    """What went wrong and what to do about it."""


def comfyui_dir() -> Path:
    """The ComfyUI tree in use: COMFYUI_DIR, or the one unpacked from PyPI."""
    return Path(os.environ.get("COMFYUI_DIR") or ROOT / ".comfyui").expanduser().resolve()


def code_paths() -> str:
    """PYTHONPATH for processes that import ComfyUI's modules: its own come before ours of the same name (`nodes`)."""
    return os.pathsep.join([str(comfyui_dir()), str(STAND_INS)])


def has_gpu() -> bool:
    """Whether ComfyUI can run without --cpu. Asked without importing torch, which takes seconds."""
    if sys.platform == "darwin":
        return True
    # Not by the name of the version: on Windows, PyPI's torch is for CPUs and does not say so there
    built_for = Path(str(metadata.distribution("torch").locate_file("torch/version.py"))).read_text()
    if not re.search(r"^cuda\b.*=\s*['\"]", built_for, re.MULTILINE) or not shutil.which("nvidia-smi"):
        return False
    return subprocess.run(["nvidia-smi", "-L"], capture_output=True).returncode == 0


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def check_port(port: int) -> None:
    with socket.socket() as client:
        if client.connect_ex(("127.0.0.1", port)) == 0:
            raise Trouble(f"Port {port} is in use. Stop what listens there, or choose another: --port {port + 1}.")


def lay_out(folder: Path) -> None:
    """Make `folder` a base directory of ComfyUI with this pack among its custom nodes."""
    for name in ("custom_nodes", "input", "output", "models/checkpoints", "models/loras", "models/animatediff_models"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    link = folder / "custom_nodes" / PACK
    # Made anew: the repository may have moved since, and a copy would be of old code
    if link.is_symlink():
        link.unlink()
    elif link.exists():
        shutil.rmtree(link)
    try:
        link.symlink_to(ROOT, target_is_directory=True)
    except OSError:  # Windows asks for a privilege
        shutil.copytree(ROOT, link, ignore=shutil.ignore_patterns(".*", "__pycache__"))


class Refused(Trouble):
    """The server answered a request with an error; `answer` is what it said."""

    def __init__(self, status: int, answer: Json) -> None:
        super().__init__(f"ComfyUI answered {status}: {describe_refusal(answer)}")
        self.status, self.answer = status, answer


def describe_refusal(answer: Json) -> str:
    """The messages of a refused prompt, those of single nodes where there are any."""
    nodes = answer.get("node_errors") or {}
    errors = [error for node in nodes.values() for error in node["errors"]] or [answer.get("error", {})]
    return "; ".join(f"{error.get('message', 'no reason given')}: {error.get('details', '')}" for error in errors)


class Server:
    """A ComfyUI server with this pack, working in `folder`; started and stopped as a context manager."""

    def __init__(self, folder: Path, *options: str, port: int = 0) -> None:
        self.folder, self.options, self.port = folder, options, port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "server.log"

    def command(self) -> list[str]:
        device = [] if has_gpu() else ["--cpu"]
        fixed = ["--database-url", "sqlite:///:memory:", "--use-pytorch-cross-attention", "--disable-auto-launch"]
        place = ["--port", str(self.port), "--base-directory", str(self.folder)]
        return [sys.executable, str(comfyui_dir() / "main.py"), *place, *fixed, *device, *self.options]

    def __enter__(self) -> Server:
        lay_out(self.folder)
        environment = os.environ | {"PYTHONPATH": str(STAND_INS)}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, env=environment, cwd=self.folder, start_new_session=True
            )
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def wait_until_ready(self, seconds: float = 180) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                self.get("/system_stats")
                return
            except OSError:
                time.sleep(0.1)
        raise Trouble(f"ComfyUI did not start. {self.end_of_log()}")

    def end_of_log(self, lines: int = 20) -> str:
        """What the server said last. The log itself may be in a temporary folder that is gone when this is read."""
        last = self.log.read_text(errors="replace").strip().splitlines()[-lines:]
        return "\n".join([f"The end of its log, {self.log}:", *last])

    def stop(self) -> None:
        """End the server and all that it started (ffmpeg, say)."""
        for ask in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
            if self.process.poll() is None:
                self.process.send_signal(ask) if os.name == "nt" else os.killpg(self.process.pid, ask)
            try:
                self.process.wait(timeout=10)
                return
            except subprocess.TimeoutExpired:
                continue

    def request(self, path: str, body: Any = None) -> bytes:
        sent = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, sent, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return bytes(response.read())
        except urllib.error.HTTPError as error:
            answer = error.read()
            raise Refused(error.code, json.loads(answer) if answer.startswith(b"{") else {}) from None

    def get(self, path: str) -> Any:
        return json.loads(self.request(path))

    def post(self, path: str, body: Any) -> Any:
        """POST `body` as JSON; some of ComfyUI's paths answer with nothing."""
        answer = self.request(path, body)
        return json.loads(answer) if answer else None

    def view(self, file: Json) -> bytes:
        """The content of an output, as named in a history entry."""
        return self.request("/view?" + urllib.parse.urlencode(file))

    def queue(self, graph: Json, client: str = "", **more: Any) -> str:
        """POST an API graph; the id under which it will be in the history."""
        return str(self.post("/prompt", {"prompt": graph, "client_id": client, **more})["prompt_id"])

    def history(self, prompt: str) -> Json:
        return dict(self.get(f"/history/{prompt}").get(prompt, {}))

    def events(self, client: str) -> Generator[tuple[str, Json], None, None]:
        """The websocket's text messages to `client` as (type, data); the first one arrives on connecting."""
        import websocket  # in the environment, not in the standard library

        connection = websocket.create_connection(f"ws://127.0.0.1:{self.port}/ws?clientId={client}", timeout=600)
        try:
            while True:
                try:
                    kind, content = connection.recv_data()
                except (OSError, websocket.WebSocketException):
                    raise Trouble(f"ComfyUI stopped answering. {self.end_of_log()}") from None
                if kind == websocket.ABNF.OPCODE_TEXT:  # binary ones are previews
                    event = json.loads(content)
                    yield event["type"], event["data"]
        finally:
            connection.close()

    def run(self, graph: Json, watch: Callable[[str, Json], None] = lambda kind, data: None, **more: Any) -> Json:
        """Queue `graph`, hand its events to `watch`, and return its history entry once it has ended."""
        client = uuid.uuid4().hex
        events = self.events(client)
        next(events)  # connected: from here on nothing is missed
        prompt = self.queue(graph, client, **more)
        for kind, data in events:
            if data.get("prompt_id") == prompt:
                watch(kind, data)
                if kind in ("execution_success", "execution_error", "execution_interrupted"):
                    break
        events.close()
        return self.wait_for_history(prompt)

    def wait_for_history(self, prompt: str) -> Json:
        """The history entry, which ComfyUI writes a moment after the last event."""
        while not (entry := self.history(prompt)):
            time.sleep(0.05)
        return entry


def nodes_of(graph: Json, class_type: str) -> list[Json]:
    """The inputs of all nodes of a type."""
    return [node["inputs"] for node in graph.values() if node["class_type"] == class_type]


def prompt_of(graph: Json) -> Json:
    """The inputs of the node whose "text" reaches the samplers, past what adds to it, such as Apply ControlNet."""
    inputs: Json = nodes_of(graph, "AnimateLCMSampler")[0]
    while "text" not in inputs:
        inputs = graph[inputs["positive"][0]]["inputs"]
    return inputs


def outputs(entry: Json) -> list[Json]:
    """The files that a finished prompt saved, from its history entry; previews are not among them."""
    shown = [file for node in entry["outputs"].values() for file in node.get("images", [])]
    return [file for file in shown if file["type"] == "output"]
