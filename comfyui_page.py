"""ComfyUI's page in a headless Chromium, of use to the browser tests and to docs/pictures.py."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .comfyui_server import Server, Trouble

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
LOADED = "() => !!(window.app?.extensionManager && window.LiteGraph?.registered_node_types?.KSampler)"


@contextmanager
def chromium() -> Iterator["Browser"]:
    """The browser of this machine.

    Raises:
        Trouble: if there is none.
    """
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, NAMES)), None)
    if not path:
        raise Trouble("There is no Chromium on this machine's PATH (on Debian: apt install chromium).")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=OPTIONS)
        yield running
        running.close()


@contextmanager
def open_page(browser: "Browser", server: Server, nodes_2: bool = False) -> Iterator["Page"]:
    """The server's page, loaded, without the dialog of templates that greets newcomers.

    Args:
        nodes_2: show nodes as elements of the page (ComfyUI's "Nodes 2.0"), not drawn on a canvas.

    Raises:
        Trouble: at the end, if the page's JavaScript raised an error.
    """
    server.post("/settings/Comfy.TutorialCompleted", True)
    server.post("/settings/Comfy.VueNodes.Enabled", nodes_2)
    server.post("/settings/Comfy.RightSidePanel.IsOpen", False)  # the server remembers what a page before left open
    page = browser.new_page(viewport={"width": 1600, "height": 900})
    page.set_default_timeout(180_000)  # a busy machine takes its time
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(server.url, wait_until="domcontentloaded")
    page.wait_for_function(LOADED)
    yield page
    page.close()
    if errors:
        raise Trouble(f"The page's JavaScript raised: {'; '.join(errors)}")


def run_button(page: "Page") -> "Locator":
    """What queues the graph. Newer pages have a menu without text beside it, of the same name."""
    return page.get_by_role("button", name="Run", exact=True).filter(has_text="Run")
