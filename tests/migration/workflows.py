"""A set of workflows as people publish them: the commonest parts of each kind, in the proportions that were counted.

Of 90 published workflows, 43 use the loader with context, 30 generation 2 and 17 generation 1; 54 the legacy uniform
context; the schedules are sqrt_linear (50 of 95 loaders), autoselect (14), LCM's average (13), lcm[100_ots] (8).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .build import Nodes, Output

LCM_MODULE, V3_MODULE, V2_MODULE = "AnimateLCM_sd15_t2v.ckpt", "v3_sd15_mm.ckpt", "mm_sd_v15_v2.ckpt"
V1_MODULE = "mm_sd_v15.ckpt"
LCM_LORA = "AnimateLCM_sd15_t2v_lora.safetensors"
SQRT_LINEAR, LCM_AVERAGE = "sqrt_linear (AnimateDiff)", "lcm avg(sqrt_linear,linear)"
CHECKPOINT = "dreamshaper_8.safetensors"

Made = tuple[Nodes, Output]


@dataclass(frozen=True)
class Recipe:
    """The parts of a workflow; what is None or empty is not in it."""

    loader: str = "context"  # context, gen1, gen2, gen2 advanced
    context: str | None = "legacy"  # legacy, looped, uniform, static
    schedule: str = SQRT_LINEAR
    module: str = LCM_MODULE
    discrete: str | None = None  # a ModelSamplingDiscrete "lcm": before or after the loader
    checkpoint: str | None = None  # the schedule of CheckpointLoaderSimpleWithNoiseSelect
    lora: float | None = 1.0  # strength of AnimateLCM's LoRA
    motion_lora: float | None = None
    scale: float | None = None
    effect: float | None = None
    noise: str | None = None  # noise type of the sampling settings
    cfg: float | None = None  # custom guidance
    sigma_schedule: str | None = None
    pe_stretch: int | None = None
    keyframe: bool = False
    large_latent: bool = False
    frames: int = 32
    sampler: str = "KSampler"  # KSampler, KSamplerAdvanced, SamplerCustom
    steps: int = 8
    second_pass: bool = False
    saver: str = "SaveAnimatedWEBP"
    prompt: str = "plain"  # plain, scheduled
    context_options: tuple[tuple[str, Any], ...] = ()
    loader_options: tuple[tuple[str, Any], ...] = ()


CONTEXTS = {
    "legacy": "ADE_AnimateDiffUniformContextOptions",
    "looped": "ADE_LoopedUniformContextOptions",
    "uniform": "ADE_StandardUniformContextOptions",
    "static": "ADE_StandardStaticContextOptions",
}


def built(recipe: Recipe) -> Nodes:
    """The graph of a recipe."""
    nodes = Nodes()
    model, clip, vae = _checkpoint(nodes, recipe)
    if recipe.lora is not None:
        model = nodes.add("LoraLoaderModelOnly", model=model, lora_name=LCM_LORA, strength_model=recipe.lora)
    if recipe.discrete == "before":
        model = nodes.add("ModelSamplingDiscrete", model=model, sampling="lcm")
    model = _loader(nodes, recipe, model)
    if recipe.discrete == "after":
        model = nodes.add("ModelSamplingDiscrete", model=model, sampling="lcm")
    latent = _sampled(nodes, recipe, model, clip)
    images = nodes.add("VAEDecode", samples=latent, vae=vae)
    nodes.add(recipe.saver, images=images)
    return nodes


def _checkpoint(nodes: Nodes, recipe: Recipe) -> tuple[Output, Output, Output]:
    if recipe.checkpoint is None:
        model = nodes.add("CheckpointLoaderSimple", ckpt_name=CHECKPOINT)
    else:
        loader = "CheckpointLoaderSimpleWithNoiseSelect"
        model = nodes.add(loader, ckpt_name=CHECKPOINT, beta_schedule=recipe.checkpoint)
    return model, Output(model.node, 1), Output(model.node, 2)


def _loader(nodes: Nodes, recipe: Recipe, model: Output) -> Output:
    context = recipe.context and nodes.add(CONTEXTS[recipe.context], **dict(recipe.context_options))
    settings = _settings(nodes, recipe)
    lora = recipe.motion_lora and nodes.add(
        "ADE_AnimateDiffLoRALoader", name="v2_lora_ZoomIn.ckpt", strength=recipe.motion_lora
    )
    stretched = recipe.pe_stretch and nodes.add(
        "ADE_AdjustPESweetspotStretch", sweetspot=16, new_sweetspot=recipe.pe_stretch
    )
    shared = {
        "motion_lora": lora,
        "ad_keyframes": nodes.add("ADE_AnimateDiffKeyframe") if recipe.keyframe else None,
        "scale_multival": recipe.scale and nodes.add("ADE_MultivalDynamic", float_val=recipe.scale),
        "effect_multival": recipe.effect and nodes.add("ADE_MultivalDynamic", float_val=recipe.effect),
    }
    of_module = {"ad_settings": stretched and nodes.add("ADE_AnimateDiffSettings", pe_adjust=stretched)}
    of_sampling = {"context_options": context, "sample_settings": settings}
    chosen = {"model": model, "beta_schedule": recipe.schedule}
    options = dict(recipe.loader_options)
    if recipe.loader == "gen1":
        everything = chosen | shared | of_module | of_sampling | options
        return nodes.add("ADE_AnimateDiffLoaderGen1", model_name=recipe.module, **everything)
    if recipe.loader == "context":
        del shared["scale_multival"], shared["effect_multival"]
        everything = chosen | shared | of_module | of_sampling | options
        return nodes.add("ADE_AnimateDiffLoaderWithContext", model_name=recipe.module, **everything)
    module = nodes.add("ADE_LoadAnimateDiffModel", model_name=recipe.module, **of_module)
    advanced = recipe.loader == "gen2 advanced"
    apply = "ADE_ApplyAnimateDiffModel" if advanced else "ADE_ApplyAnimateDiffModelSimple"
    models = nodes.add(apply, motion_model=module, **shared, **options)
    return nodes.add("ADE_UseEvolvedSampling", m_models=models, **chosen, **of_sampling)


def _settings(nodes: Nodes, recipe: Recipe) -> Output | None:
    if recipe.noise is None and recipe.cfg is None and recipe.sigma_schedule is None:
        return None
    return nodes.add(
        "ADE_AnimateDiffSamplingSettings",
        noise_type=recipe.noise or "default",
        custom_cfg=recipe.cfg and nodes.add("ADE_CustomCFGSimple", cfg=recipe.cfg),
        sigma_schedule=recipe.sigma_schedule and nodes.add("ADE_SigmaSchedule", beta_schedule=recipe.sigma_schedule),
    )


def _sampled(nodes: Nodes, recipe: Recipe, model: Output, clip: Output) -> Output:
    if recipe.prompt == "scheduled":
        positive = nodes.add("ADE_PromptScheduling", prompts='"0": "a red circle", "16": "a blue circle"', clip=clip)
    else:
        positive = nodes.add("CLIPTextEncode", text="a large red circle", clip=clip)
    negative = nodes.add("CLIPTextEncode", text="blurry", clip=clip)
    empty = "ADE_EmptyLatentImageLarge" if recipe.large_latent else "EmptyLatentImage"
    latent = nodes.add(empty, width=512, height=512, batch_size=recipe.frames)
    conds = {"positive": positive, "negative": negative, "latent_image": latent}
    latent = SAMPLERS[recipe.sampler](nodes, recipe, model, conds)
    if not recipe.second_pass:
        return latent
    larger = nodes.add("LatentUpscaleBy", samples=latent, scale_by=1.5)
    return _k_sampler(nodes, recipe, model, conds | {"latent_image": larger, "denoise": 0.5})


def _k_sampler(nodes: Nodes, recipe: Recipe, model: Output, conds: dict[str, Any]) -> Output:
    chosen = {"seed": 7, "steps": recipe.steps, "cfg": 1.5, "sampler_name": "lcm", "scheduler": "sgm_uniform"}
    return nodes.add("KSampler", model=model, **chosen, **conds)


def _k_sampler_advanced(nodes: Nodes, recipe: Recipe, model: Output, conds: dict[str, Any]) -> Output:
    chosen = {"noise_seed": 7, "steps": recipe.steps, "cfg": 1.5, "sampler_name": "lcm", "scheduler": "normal"}
    return nodes.add("KSamplerAdvanced", model=model, **chosen, **conds)


def _sampler_custom(nodes: Nodes, recipe: Recipe, model: Output, conds: dict[str, Any]) -> Output:
    sampler = nodes.add("KSamplerSelect", sampler_name="lcm")
    sigmas = nodes.add("BasicScheduler", model=model, scheduler="sgm_uniform", steps=recipe.steps)
    return nodes.add("SamplerCustom", model=model, noise_seed=7, cfg=1.5, sampler=sampler, sigmas=sigmas, **conds)


SAMPLERS: dict[str, Callable[[Nodes, Recipe, Output, dict[str, Any]], Output]] = {
    "KSampler": _k_sampler,
    "KSamplerAdvanced": _k_sampler_advanced,
    "SamplerCustom": _sampler_custom,
}
