"""ComfyUI before this pack on sys.path, the pack under the name `animatelcm`, a server and a page as fixtures."""

import signal
import sys
import tempfile
import types
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
import torch

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[1]

# In ComfyUI the pack is imported by path, under a name that ComfyUI makes of it; tests need one that can be written.
pack = types.ModuleType("animatelcm")
pack.__path__ = [str(ROOT)]
sys.modules["animatelcm"] = pack

from animatelcm.comfyui_page import chromium, open_page  # noqa: E402 - needs the name above
from animatelcm.comfyui_server import STAND_INS, Server, Trouble, comfyui_dir, has_gpu  # noqa: E402 - likewise

# First, because folders of the pack have the names of ComfyUI's modules (`nodes`).
sys.path[:0] = [str(comfyui_dir()), str(STAND_INS)]

# A slow machine is no failure; how long something takes is for benchmarks/.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")


def pytest_configure(config: pytest.Config) -> None:
    """Give ComfyUI in this process a server's options, before anything imports and reads them."""
    from comfy.cli_args import args

    folder = tempfile.TemporaryDirectory()
    config.add_cleanup(folder.cleanup)
    args.base_directory = folder.name
    args.cpu = not has_gpu()
    args.use_pytorch_cross_attention = True
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl+C: fixtures stop their servers


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a server, so that the rest can be run alone."""
    for item in items:
        if isinstance(item, pytest.Function) and "server" in item.fixturenames:
            item.add_marker("server")


@pytest.fixture(autouse=True)
def seeded() -> None:
    """What a test draws does not depend on the tests before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real ComfyUI server with the pack loaded."""
    with Server(tmp_path_factory.mktemp("comfyui"), "--disable-api-nodes") as running:
        yield running


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    try:
        with chromium() as running:
            yield running
    except Trouble as trouble:
        pytest.skip(str(trouble))


@pytest.fixture
def page(browser: "Browser", server: Server) -> Iterator["Page"]:
    """ComfyUI's page, loaded from the server; a test fails when its JavaScript raised."""
    with open_page(browser, server) as page:
        yield page
