"""Nodes that one node of ours, or of ComfyUI, takes the place of."""

from collections.abc import Callable
from typing import Any

from .draft import Draft, in_range
from .flow import always_meets, sets_schedule
from .graph import WORKS, Link, Node
from .ours import KINDS, has
from .report import Verdict
from .schedule import DEFAULT, NOISE_SELECT, USE_EXISTING
from .table import Fate, row_of

CLOSE, LEFT = Verdict.CLOSE, Verdict.LEFT
SAVE, COMBINE = "AnimateLCMSaveVideo", "ADE_AnimateDiffCombine"
SD15_SCALE_FACTOR = 0.18215

FORMATS = {
    "image/gif": "GIF",
    "image/webp": "WebP",
    "video/h264-mp4": "MP4 (H.264)",
    "video/h265-mp4": "MP4 (H.265)",
    "video/webm": "WebM (VP9)",
    "video/av1-webm": "WebM (AV1)",
}


def replace_node(draft: Draft, node: Node) -> None:
    """Put the table's one node in the place of a node, or say why not."""
    row = row_of(node.type)
    if row is None:
        return
    (type,) = row.becomes
    if not has(type):
        draft.say(node, LEFT, f"Its counterpart, {type}, is not part of this version.", row.advice)
        return
    inputs = {ours: node.inputs[theirs] for ours, theirs in row.inputs.items() if theirs in node.inputs}
    draft.say(node, row.verdict, row.differs, row.advice)
    further = FURTHER.get(node.type, lambda draft, node, inputs: inputs)
    inputs = {name: in_range(draft, node, type, name, value) for name, value in further(draft, node, inputs).items()}
    new = draft.add(type, inputs, node, heir=True)
    for output in range(len(KINDS[type].outputs)):
        draft.redirect(Link(node.id, output), Link(new.node, output))
    draft.moved(node)


# What the table does not say of single nodes


def _saved(draft: Draft, node: Node, inputs: dict[str, Any]) -> dict[str, Any]:
    """A video's format, and where it was written."""
    format = draft.graph.constant(node, "format", "image/gif") or "what another node chose"
    wanted = FORMATS.get(format, "")
    if not has(SAVE, "format", wanted):
        wanted = "MP4 (H.264)"
        draft.say(node, CLOSE, f"The video is saved as {wanted}, and was as {format}.")
    if not node.inputs.get("save_image", True):
        draft.say(
            node, CLOSE, "The video is saved among the outputs; it was shown only.", "Delete it there if unwanted."
        )
    if node.inputs.get("loop_count"):
        draft.say(node, CLOSE, "A GIF plays for ever, and ended after some rounds.")
    return {**inputs, "format": wanted}


def _checkpoint(draft: Draft, node: Node, inputs: dict[str, Any]) -> dict[str, Any]:
    """What else the loader of a checkpoint chose: a schedule, which a loader behind it may override, and a scale."""
    schedule = draft.graph.constant(node, "beta_schedule", USE_EXISTING)
    if schedule not in (USE_EXISTING, DEFAULT) and not _has_no_say(draft, node):
        differs = f"Where nothing behind it sets a schedule, the checkpoint has its own, and had '{schedule}'."
        draft.say(node, CLOSE, differs, "Put 'ModelSamplingDiscrete' behind it if you need one.")
    scale = node.inputs.get("scale_factor", SD15_SCALE_FACTOR)
    if node.inputs.get("use_custom_scale_factor") and scale != SD15_SCALE_FACTOR:
        draft.say(node, CLOSE, f"Latents are scaled as usual ({SD15_SCALE_FACTOR}), and were by {scale}.")
    return inputs


def _has_no_say(draft: Draft, node: Node) -> bool:
    """Whether something behind a checkpoint loader sets the schedule of every sampler's model: ADE, or another node."""
    return always_meets(draft.graph, Link(node.id, 0), lambda other: sets_schedule(other) or _is_loader(other))


def _is_loader(node: Node) -> bool:
    row = row_of(node.type)
    return row is not None and row.fate is Fate.LOADER and node.mode == WORKS


FURTHER: dict[str, Callable[[Draft, Node, dict[str, Any]], dict[str, Any]]] = {
    COMBINE: _saved,
    NOISE_SELECT: _checkpoint,
}
