"""What a loader's sample settings mean: noise, guidance, and a schedule in place of its own."""

from dataclasses import dataclass

from .draft import Draft
from .flow import ends
from .graph import WORKS, Link, Node, Use
from .ours import CFG_WIDGETS
from .report import Verdict

CLOSE = Verdict.CLOSE
UNGUIDED = ("Scheduler", "Sigmas", "BasicGuider")  # how nodes are called that ask a model, and guide nothing


@dataclass(frozen=True)
class Settings:
    """What a loader takes over from its sample settings.

    Attributes:
        beta_schedule: a schedule in place of the loader's, or None.
        repeat_noise: how much later frames repeat the noise of the first ones, 0 to 1.
    """

    beta_schedule: str | None = None
    repeat_noise: float = 0.0


# What an input of the settings is where it changes nothing, and what is said where it is something else
_NOISE_INPUTS = {
    "batch_offset": (0, "The noise starts with the first frame's, and started further on.", "Try other seeds."),
    "seed_gen": ("comfy", "The same seed gives other noise: it was drawn as another program does.", "Try other seeds."),
    "adapt_denoise_steps": (False, "A denoise below 1 does not take fewer steps.", "Set the sampler's steps."),
}


def read_settings(draft: Draft, node: Node) -> Settings:
    """Return what a loader's sample settings come to, write their guidance in the samplers, and say what differs."""
    source = draft.graph.origin(node, "sample_settings")
    if source is None or source.mode != WORKS or source.type != "ADE_AnimateDiffSamplingSettings":
        return Settings()
    for input, (neutral, differs, advice) in _NOISE_INPUTS.items():
        if source.inputs.get(input, neutral) != neutral:
            draft.say(source, CLOSE, differs, advice)
    offset = source.inputs.get("seed_offset", 0)
    if offset != 0:
        what = "another node's number" if isinstance(offset, Link) else offset
        draft.say(source, CLOSE, f"The seed was raised by {what}.", "Add that to the sampler's seed.")
    if "seed_override" in source.inputs:
        draft.say(source, CLOSE, "The seed came from here.", "Connect the same number to the sampler's seed.")
    _read_guidance(draft, source, node)
    return Settings(_read_schedule(draft, source), _read_noise(draft, source))


def _read_noise(draft: Draft, settings: Node) -> float:
    kind = draft.graph.constant(settings, "noise_type", "default") or "what another node chose"
    if kind == "FreeNoise":
        differs = "The noise repeats in another order (FreeNoise), and so does the noise of each step."
        draft.say(settings, CLOSE, differs, "Lower repeat_noise if the clip repeats itself.")
        return 1.0
    if kind != "default":
        draft.say(settings, CLOSE, f"The noise is every frame's own, and was '{kind}'.", "Try other seeds.")
    return 0.0


def _read_schedule(draft: Draft, settings: Node) -> str | None:
    source = draft.graph.origin(settings, "sigma_schedule")
    if source is None or source.type != "ADE_SigmaSchedule" or source.mode != WORKS:
        return None
    return draft.graph.constant(source, "beta_schedule", None)


def _read_guidance(draft: Draft, settings: Node, loader: Node) -> None:
    """Write a custom cfg, which overrode the samplers', in the samplers that the loader's model reaches."""
    source = draft.graph.origin(settings, "custom_cfg")
    if source is None or source.mode != WORKS:
        return
    cfg = _cfg_of(draft, source)
    if cfg is None:
        return
    for end in ends(draft.graph, Link(loader.id, 0)):
        if end is not None and end.type in CFG_WIDGETS:
            draft.write(Use(end.id, "cfg"), cfg)
        elif end is None or not end.type.endswith(UNGUIDED):
            place = f"of '{end.title}'" if end else "outside of this subgraph"
            draft.say(source, CLOSE, f"The guidance {place} may be another one.", f"Set the cfg there to {cfg:g}.")


def _cfg_of(draft: Draft, source: Node) -> float | None:
    graph = draft.graph
    if source.type == "ADE_CustomCFGSimple":
        return graph.constant(source, "cfg", 8.0)
    if source.type != "ADE_CustomCFG":
        return None
    multival = graph.origin(source, "cfg_multival")
    plain = multival is not None and multival.type == "ADE_MultivalDynamic" and "mask_optional" not in multival.inputs
    cfg = graph.constant(multival, "float_val", 1.0) if multival is not None and plain else None
    if cfg is None:
        differs = "Guidance that differs between frames or places is left out."
        draft.say(source, Verdict.LEFT, differs, "The sampler's cfg holds for all of them.")
    return cfg
