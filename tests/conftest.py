"""ComfyUI before this pack on sys.path, the pack under the name `animatelcm`, a server and a page as fixtures."""

import shutil
import signal
import sys
import tempfile
import types
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[1]

# In ComfyUI the pack is imported by path, under a name that ComfyUI makes of it; tests need one that can be written.
pack = types.ModuleType("animatelcm")
pack.__path__ = [str(ROOT)]
sys.modules["animatelcm"] = pack

from animatelcm.comfyui_server import STAND_INS, Server, comfyui_dir, has_gpu  # noqa: E402 - needs the name above

# First, because folders of the pack have the names of ComfyUI's modules (`nodes`).
sys.path[:0] = [str(comfyui_dir()), str(STAND_INS)]

# A slow machine is no failure; how long something takes is for benchmarks/.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")

BROWSER_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_configure(config: pytest.Config) -> None:
    """Give ComfyUI in this process a server's options, before anything imports and reads them."""
    from comfy.cli_args import args

    folder = tempfile.TemporaryDirectory()
    config.add_cleanup(folder.cleanup)
    args.base_directory = folder.name
    args.cpu = not has_gpu()
    args.use_pytorch_cross_attention = True
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl+C: fixtures stop their servers


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real ComfyUI server with the pack loaded."""
    with Server(tmp_path_factory.mktemp("comfyui"), "--disable-api-nodes") as running:
        running.post("/settings/Comfy.TutorialCompleted", True)  # else the Templates dialog covers the page
        yield running


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        pytest.skip("there is no Chromium on this machine's PATH (on Debian: apt install chromium)")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=BROWSER_OPTIONS)
        yield running
        running.close()


@pytest.fixture
def page(browser: "Browser", server: Server) -> Iterator["Page"]:
    """ComfyUI's page, loaded from the server; a test fails when its JavaScript raised."""
    tab = browser.new_page(viewport={"width": 1600, "height": 900})
    tab.set_default_timeout(180_000)  # a busy machine takes its time
    errors: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(server.url, wait_until="domcontentloaded")
    tab.wait_for_function("() => !!(window.app?.extensionManager && window.LiteGraph?.registered_node_types?.KSampler)")
    yield tab
    tab.close()
    assert not errors
