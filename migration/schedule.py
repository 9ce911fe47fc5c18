"""Which schedule of ours a loader's `beta_schedule` means, where it stands in its graph."""

from typing import Any

from .draft import Draft
from .families import Family
from .flow import always_meets, before, ends, sets_schedule
from .graph import Link, Node
from .report import Verdict
from .table import SCHEDULES

MODELS_OWN = "keep the model's own"
AUTOSELECT, USE_EXISTING, DEFAULT = "autoselect", "use existing", "linear (HotshotXL/default)"
NOISE_SELECT = "CheckpointLoaderSimpleWithNoiseSelect"


def option_for(draft: Draft, node: Node, family: Family, sigma_schedule: str | None) -> str:
    """Return the option of 'Apply AnimateLCM' that a loader's schedule becomes, and say what differs.

    Args:
        draft: where to say it.
        node: the loader.
        family: of its motion module.
        sigma_schedule: the schedule that its settings put in place of its own, or None.
    """
    if overridden(draft, Link(node.id, 0)):
        differs = "Its schedule had no say: a node behind it sets another one, and still does."
        draft.say(node, Verdict.EXACT, differs)
        return MODELS_OWN
    alias = sigma_schedule or str(draft.graph.constant(node, "beta_schedule", AUTOSELECT))
    alias = _chosen(draft, node, family) if alias == AUTOSELECT else alias
    alias = _existing(draft, node) if alias in (USE_EXISTING, DEFAULT) else alias
    if alias not in SCHEDULES:
        differs = f"There is no schedule '{alias}' here: the model's own is kept."
        draft.say(
            node, Verdict.CLOSE, differs, "Choose another one in 'Apply AnimateLCM' if colours or contrast drift."
        )
        return MODELS_OWN
    return SCHEDULES[alias]


def with_schedule(draft: Draft, node: Node, sigma_schedule: str | None) -> Any:
    """Return the model of a loader without a motion module, on the schedule that it asks for."""
    model = node.inputs.get("model")
    alias = sigma_schedule or str(draft.graph.constant(node, "beta_schedule", AUTOSELECT))
    if alias in (AUTOSELECT, USE_EXISTING, DEFAULT) or overridden(draft, Link(node.id, 0)):
        return model
    if alias == "lcm":  # ComfyUI's own does just that
        return draft.add("ModelSamplingDiscrete", {"model": model, "sampling": "lcm"}, node, heir=True)
    differs = f"Without a motion module the schedule '{alias}' is left out."
    draft.say(node, Verdict.CLOSE, differs, "'ModelSamplingDiscrete' behind the model sets ComfyUI's own schedules.")
    return model


def overridden(draft: Draft, model: Link) -> bool:
    """Whether another node sets a schedule on every way from a model to a sampler."""
    return any(True for _ in ends(draft.graph, model)) and always_meets(draft.graph, model, sets_schedule)


def _chosen(draft: Draft, node: Node, family: Family) -> str:
    """What `autoselect` chooses: AnimateLCM's files are those without a position encoding, which their name tells."""
    if family is Family.UNKNOWN:
        differs = "Which schedule it chose by itself cannot be told from the file's name; AnimateDiff's is taken."
        draft.say(node, Verdict.CLOSE, differs, "If this is an AnimateLCM module, choose 'LCM (community)'.")
    return "lcm" if family is Family.ANIMATELCM else "sqrt_linear (AnimateDiff)"


def _existing(draft: Draft, node: Node) -> str:
    """The schedule that the model comes with: its checkpoint loader may have chosen one."""
    for upstream in before(draft.graph, node):
        if sets_schedule(upstream):
            break
        if upstream.type == NOISE_SELECT:
            return str(draft.graph.constant(upstream, "beta_schedule", USE_EXISTING))
    return USE_EXISTING
