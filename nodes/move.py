"""Moving workflows from AnimateDiff-Evolved: what the page asks the server, and what ComfyUI replaces by itself."""

from typing import Any

from aiohttp import web
from comfy_api import latest

from ..migration.graph import GraphError
from ..migration.move import move
from ..migration.report import as_json
from ..migration.table import ADE, drop_in
from .running import running_server

PATH = "/animatelcm/move"  # asked by web/move.js


def register_route() -> None:
    """Let the page ask what becomes of its graph."""
    server = running_server()
    if server is not None and not any(route.path == PATH for route in server.routes):
        server.routes.post(PATH)(answer_move)


async def answer_move(request: web.Request) -> web.Response:
    """Answer a graph, as the page saves it, with the graph after the move and the report on it."""
    try:
        moved = move(await request.json())
    except (GraphError, ValueError) as error:
        told = {"type": "invalid_graph", "message": str(error), "details": "", "extra_info": {}}  # as ComfyUI's own
        return web.json_response({"error": told}, status=400)
    return web.json_response({"graph": moved.document, "report": as_json(moved.report)})


async def register_replacements() -> None:
    """Tell a ComfyUI that can replace missing nodes by itself (from 0.14.0) which of ours do exactly the same."""
    replacement = getattr(latest.ComfyAPI(), "node_replacement", None)
    if replacement is None:
        return
    for old in filter(drop_in, ADE):
        await replacement.register(latest.io.NodeReplace(**_replacement(old)))


def _replacement(old: str) -> dict[str, Any]:
    row = ADE[old]
    return {
        "new_node_id": row.becomes[0],
        "old_node_id": old,
        "old_widget_ids": list(row.widgets),
        "input_mapping": [{"new_id": ours, "old_id": theirs} for ours, theirs in row.inputs.items()],
        "output_mapping": [{"new_idx": 0, "old_idx": 0}],
    }
