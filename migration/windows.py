"""What a loader's context options mean: 'AnimateLCM Long Clip' behind 'Apply AnimateLCM'."""

from typing import Any

from .draft import Draft, in_range
from .graph import BYPASSED, WORKS, Link, Node
from .report import Verdict
from .table import LONG_CLIP, WINDOWS, row_of

CLOSE, LEFT = Verdict.CLOSE, Verdict.LEFT
PLAIN_WEIGHTS = ("pyramid", "flat")


def with_windows(draft: Draft, loader: Node, model: Link, repeat_noise: float) -> Link:
    """Return the model with windows over time, where a loader has context options."""
    options = _options_of(draft, loader)
    if options is None:
        return model
    inputs = {"model": model, **_inputs(draft, options), "repeat_noise": repeat_noise}
    mode = loader.mode if options.mode == WORKS else BYPASSED
    return draft.add(LONG_CLIP, inputs, options, heir=options is not loader, mode=mode)


def _options_of(draft: Draft, loader: Node) -> Node | None:
    """Return the node that says how windows lie, or None; where there are several, the one of the first step."""
    if "context_length" in loader.inputs:
        return loader
    chain: list[Node] = []
    node = draft.graph.origin(loader, "context_options")
    while node is not None and node not in chain:
        chain.append(node)
        node = draft.graph.origin(node, "prev_context")
    known = [node for node in reversed(chain) if (row := row_of(node.type)) and LONG_CLIP in row.becomes]
    if not known:
        return None
    first = min(known, key=lambda node: node.inputs.get("start_percent", 0.0))
    for other in known:
        if other is not first:
            differs = "Windows stay the same from the first step to the last; these began in a later one."
            draft.say(other, LEFT, differs, "Choose the windows that suit all steps.")
    return first


def _inputs(draft: Draft, options: Node) -> dict[str, Any]:
    """Return the inputs of our node, and say what differs."""
    layout, differs = WINDOWS[options.type]
    given = {name: draft.graph.source(value) for name, value in options.inputs.items()}
    stride = given.get("context_stride", 1)
    weights = draft.graph.constant(options, "fuse_method", "flat") or "what another node chose"
    if differs:
        draft.say(options, CLOSE, differs)
    if stride != 1:
        draft.say(options, CLOSE, _shortest_clip(given["context_length"], stride))
    if weights not in PLAIN_WEIGHTS:
        differs = f"Windows are added up with weights that fall off to their ends (pyramid), and were with '{weights}'."
        draft.say(options, CLOSE, differs, "'flat' is the other choice.")
    wanted = {
        "length": given["context_length"],
        "overlap": given.get("context_overlap", 0),
        "loop": given.get("closed_loop", False),
        "windows": layout,
        "weights": weights if weights in PLAIN_WEIGHTS else "pyramid",
        "stride": stride,
    }
    return {name: in_range(draft, options, LONG_CLIP, name, value) for name, value in wanted.items()}


def _shortest_clip(length: Any, stride: Any) -> str:
    """What is said of windows of every 2nd, 4th ... frame."""
    exact = "Windows of every 2nd, 4th ... frame are the same"
    if not (isinstance(length, int) and isinstance(stride, int) and 1 <= stride <= 8):
        return f"{exact} where they are no longer than the clip, and else left out."
    frames = (length - 1) * 2 ** (stride - 1) + 1
    return f"{exact} in clips of at least {frames} frames, and those that do not fit are left out of shorter ones."
