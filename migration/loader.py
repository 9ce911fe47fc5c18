"""What becomes of a loader: the nodes in its place, and what each of its inputs means for them.

What AnimateDiff-Evolved does in one node (generation 1) or in three (generation 2: load, apply, use) is here 'Load
AnimateLCM Motion Module', motion LoRAs, 'Apply AnimateLCM' and 'AnimateLCM Long Clip', one behind the other.
"""

from dataclasses import dataclass
from typing import Any

from .draft import Draft, in_range
from .families import Family, family_of
from .graph import BYPASSED, WORKS, Graph, Link, Node
from .report import Verdict
from .sampling import read_settings
from .schedule import option_for, with_schedule
from .windows import with_windows

CLOSE, LEFT = Verdict.CLOSE, Verdict.LEFT
APPLY, LOAD, LORA = "AnimateLCMApply", "AnimateLCMLoadMotionModule", "AnimateLCMMotionLora"
ALL_FRAMES = "over all frames"
APPLIES = ("ADE_ApplyAnimateDiffModel", "ADE_ApplyAnimateDiffModelSimple")


@dataclass(frozen=True)
class Loader:
    """A loader, and the nodes that do the rest of its work.

    Attributes:
        node: the loader itself, which puts out the MODEL.
        applies: the node that puts strengths and LoRAs on the module; the loader itself in generation 1.
        loads: the node that reads the file; likewise.
    """

    node: Node
    applies: Node
    loads: Node


class UnmovedError(Exception):
    """A loader cannot be moved; the message says why, `advice` what to do."""

    def __init__(self, why: str, advice: str = "") -> None:
        super().__init__(why)
        self.advice = advice


def move_loader(draft: Draft, node: Node) -> None:
    """Put our nodes in the place of a loader, or say why not."""
    try:
        loader = assembled(draft.graph, node)
    except UnmovedError as error:
        draft.say(node, LEFT, str(error), error.advice)
        return
    settings = read_settings(draft, node)
    if loader is not None:
        model = _applied(draft, loader, settings.beta_schedule)
    else:
        model = with_schedule(draft, node, settings.beta_schedule)
    if isinstance(model, Link):
        draft.redirect(Link(node.id, 0), with_windows(draft, node, model, settings.repeat_noise))
    if "latents" in node.inputs:  # the oldest loaders hand them on
        draft.redirect(Link(node.id, 1), node.inputs["latents"])
    draft.moved(node)


def assembled(graph: Graph, node: Node) -> Loader | None:
    """Return the loader that a node is part of, or None where it has no motion module.

    Raises:
        UnmovedError: if it is made of what has no counterpart.
    """
    if node.type != "ADE_UseEvolvedSampling":
        return _checked(graph, Loader(node, node, node))
    if "m_models" not in node.inputs:
        return None
    applies = graph.origin(node, "m_models")
    if applies is None or applies.type not in APPLIES:
        what = f"'{applies.title}'" if applies else "outside of this subgraph"
        raise UnmovedError(f"Its motion module comes from {what}, which has no counterpart here.")
    if "prev_m_models" in applies.inputs:
        raise UnmovedError("It uses two motion modules at once.", "Here a model has one: delete one, and move again.")
    loads = graph.origin(applies, "motion_model")
    if loads is None or loads.type != "ADE_LoadAnimateDiffModel":
        what = f"'{loads.title}'" if loads else "outside of this subgraph"
        raise UnmovedError(f"Its motion module is loaded by {what}, which has no counterpart here.")
    return _checked(graph, Loader(node, applies, loads))


def _checked(graph: Graph, loader: Loader) -> Loader:
    family = family_of(_file(graph, loader))
    if family is Family.OTHER_BASE:
        raise UnmovedError("This motion module is made for SDXL.", "This pack's are for SD1.5.")
    if family is Family.PIA:
        raise UnmovedError("PIA is not part of this pack.", "'AnimateLCM Image to Video' animates a picture.")
    return loader


def _file(graph: Graph, loader: Loader) -> str:
    return str(graph.constant(loader.loads, "model_name", "") or "")


def _applied(draft: Draft, loader: Loader, sigma_schedule: str | None) -> Link:
    """Add all that puts the motion module on the model; return the MODEL."""
    graph, node = draft.graph, loader.node
    family = family_of(_file(graph, loader))
    name = loader.loads.inputs.get("model_name", "")
    separate = loader.loads is not node
    module = draft.add(LOAD, {"motion_module": name}, loader.loads, heir=separate, mode=WORKS, shared=True)
    module = _with_loras(draft, loader.applies, module)
    _say_what_is_lost(draft, loader, family)
    inputs = {
        "model": node.inputs.get("model"),
        "motion_module": module,
        **_strengths(draft, loader),
        "schedule": option_for(draft, node, family, sigma_schedule),
        "group_norm": ALL_FRAMES if family is not Family.V3 and _groups_frames(node) else None,
    }
    given = {name: value for name, value in inputs.items() if value is not None}
    return draft.add(APPLY, given, node, heir=True)


# Motion LoRAs


def _with_loras(draft: Draft, applies: Node, module: Link) -> Link:
    """Chain the motion LoRAs behind the module, in their order."""
    for lora in _chain(draft.graph, applies, "motion_lora", "prev_motion_lora"):
        name = lora.inputs.get("lora_name", lora.inputs.get("name", ""))  # API files once called it so
        strength = in_range(draft, lora, LORA, "strength", lora.inputs.get("strength", 1.0))
        inputs = {"motion_module": module, "lora": name, "strength": strength}
        module = draft.add(LORA, inputs, lora, heir=True, mode=WORKS if lora.mode == WORKS else BYPASSED)
    return module


def _chain(graph: Graph, node: Node, input: str, further: str) -> list[Node]:
    """Return the nodes that an input collects, in the order in which they are applied: the nearest last."""
    found: list[Node] = []
    link = graph.origin(node, input)
    while link is not None and link not in found:
        found.insert(0, link)
        link = graph.origin(link, further)
    return found


# Strengths


def _strengths(draft: Draft, loader: Loader) -> dict[str, Any]:
    """Return the inputs of 'Apply AnimateLCM' that weigh the motion module."""
    found: dict[str, Any] = {}
    effect = _multival(draft, loader.applies, "effect_multival")
    scale = _multival(draft, loader.applies, "scale_multival") or {"": loader.node.inputs.get("motion_scale", 1.0)}
    for name, values in (("gamma", effect), ("motion_scale", scale)):
        for part, value in values.items():
            if value is not None:
                found[name + part] = in_range(draft, loader.applies, APPLY, name + part, value)
    return found


def _multival(draft: Draft, node: Node, input: str) -> dict[str, Any]:
    """Return what a multival stands for: a number, or the link to one, and a mask; nothing where there is none."""
    source = draft.graph.origin(node, input)
    if source is None or source.mode != WORKS:
        return {}
    name = "floats" if source.type.endswith("Floats") else "float_val"
    value = draft.graph.source(source.inputs.get(name, 1.0))
    if not source.type.startswith("ADE_MultivalDynamic") or (isinstance(value, Link) and name == "floats"):
        differs = f"The numbers of '{source.title}' are left out: every frame and place has the same strength."
        draft.say(node, CLOSE, differs, "Connect them to 'Apply AnimateLCM' yourself.")
        return {}
    mask = source.inputs.get("mask_optional")
    return {"": value} if mask is None else {"": value, "_mask": mask}


# What has no counterpart


def _say_what_is_lost(draft: Draft, loader: Loader, family: Family) -> None:
    node, applies = loader.node, loader.applies
    if (applies.inputs.get("start_percent", 0.0), applies.inputs.get("end_percent", 1.0)) != (0.0, 1.0):
        differs = "The motion module works in all steps, and worked in a part of them."
        draft.say(applies, CLOSE, differs, "Two samplers, one of them without it, do the same.")
    if family is Family.UNKNOWN and _groups_frames(node):
        differs = "Its name does not tell whether the file is a v3 module, whose GroupNorm was taken frame by frame."
        draft.say(node, CLOSE, differs, "If it is, choose that in 'Apply AnimateLCM'.")
    if node.inputs.get("unlimited_area_hack"):
        draft.say(node, Verdict.EXACT, "ComfyUI alone decides how much is computed at once.")
    settings = draft.graph.origin(loader.loads, "ad_settings")
    if settings is not None:
        _say_of_settings(draft, settings)


def _groups_frames(node: Node) -> bool:
    """Whether a loader asks for v2 modules to be used as v1 modules are."""
    oldest = ("AnimateDiffLoaderV1", "ADE_AnimateDiffLoaderV1Advanced")
    return node.type in oldest or not node.inputs.get("apply_v2_models_properly", True)


def _say_of_settings(draft: Draft, settings: Node) -> None:
    """The old settings' numbers; the new ones are nodes of their own, which the table speaks of."""
    strengths = {name: value for name, value in settings.inputs.items() if name.endswith("_strength")}
    stretches = {name: value for name, value in settings.inputs.items() if "pe_" in name and name not in strengths}
    changed = [name for name, value in strengths.items() if value != 1.0]
    changed += [name for name, value in stretches.items() if value != 0]
    if "mask_motion_scale" in settings.inputs:
        changed.append("mask_motion_scale")
    if changed:
        differs = f"These settings are left out: {', '.join(changed)}."
        draft.say(settings, CLOSE, differs, "The motion module is used as it is in its file.")
