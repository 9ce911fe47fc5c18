"""How ComfyUI's page knows the nodes that published workflows are made of: inputs and outputs in order.

Facts about AnimateDiff-Evolved (snapshot d8d163c), VideoHelperSuite and ComfyUI, written down again here: a mistake in
the table of `migration/` is none in this one.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Widget:
    """An input that is written in the node."""

    default: Any
    behind: tuple[Any, ...] = ()  # values that the page saves after it: what becomes of a seed


@dataclass(frozen=True)
class Spec:
    """A node's inputs, sockets (their type) and widgets in the page's order, and the types of its outputs."""

    inputs: dict[str, str | Widget]
    outputs: tuple[str, ...] = ()
    after: tuple[Any, ...] = field(default=())  # what the page saves behind all widgets


def W(default: Any) -> Widget:
    return Widget(default)


SEED = Widget(0, ("randomize",))
WARNING = ("",)  # the text of a deprecation, saved as a widget
WHEN = {"use_on_equal_length": W(False), "start_percent": W(0.0), "guarantee_steps": W(1)}
CHAINED = {"prev_context": "CONTEXT_OPTIONS", "view_opts": "VIEW_OPTS"}
ON_LOADERS = {
    "context_options": "CONTEXT_OPTIONS",
    "motion_lora": "MOTION_LORA",
    "ad_settings": "AD_SETTINGS",
}
STRENGTHS = {"motion_lora": "MOTION_LORA", "scale_multival": "MULTIVAL", "effect_multival": "MULTIVAL"}

SPECS = {
    # AnimateDiff-Evolved
    "ADE_AnimateDiffLoaderGen1": Spec(
        {"model": "MODEL", "model_name": W(""), "beta_schedule": W("autoselect"), **ON_LOADERS}
        | {"ad_keyframes": "AD_KEYFRAMES", "sample_settings": "SAMPLE_SETTINGS", "scale_multival": "MULTIVAL"}
        | {"effect_multival": "MULTIVAL", "per_block": "PER_BLOCK"},
        ("MODEL",),
    ),
    "ADE_AnimateDiffLoaderWithContext": Spec(
        {"model": "MODEL", "model_name": W(""), "beta_schedule": W("autoselect"), **ON_LOADERS}
        | {"sample_settings": "SAMPLE_SETTINGS", "motion_scale": W(1.0), "apply_v2_models_properly": W(True)}
        | {"ad_keyframes": "AD_KEYFRAMES"},
        ("MODEL",),
        WARNING,
    ),
    "ADE_AnimateDiffLoaderV1Advanced": Spec(
        {"model": "MODEL", "latents": "LATENT", "model_name": W(""), "unlimited_area_hack": W(False)}
        | {"context_length": W(16), "context_stride": W(1), "context_overlap": W(4), "context_schedule": W("uniform")}
        | {"closed_loop": W(False), "beta_schedule": W("sqrt_linear (AnimateDiff)")},
        ("MODEL", "LATENT"),
        WARNING,
    ),
    "ADE_UseEvolvedSampling": Spec(
        {"model": "MODEL", "beta_schedule": W("autoselect"), "m_models": "M_MODELS"}
        | {"context_options": "CONTEXT_OPTIONS", "sample_settings": "SAMPLE_SETTINGS"},
        ("MODEL",),
    ),
    "ADE_LoadAnimateDiffModel": Spec({"model_name": W(""), "ad_settings": "AD_SETTINGS"}, ("MOTION_MODEL_ADE",)),
    "ADE_ApplyAnimateDiffModelSimple": Spec(
        {"motion_model": "MOTION_MODEL_ADE", **STRENGTHS, "ad_keyframes": "AD_KEYFRAMES", "per_block": "PER_BLOCK"},
        ("M_MODELS",),
        ("",),
    ),
    "ADE_ApplyAnimateDiffModel": Spec(
        {"motion_model": "MOTION_MODEL_ADE", "start_percent": W(0.0), "end_percent": W(1.0), **STRENGTHS}
        | {"ad_keyframes": "AD_KEYFRAMES", "prev_m_models": "M_MODELS", "per_block": "PER_BLOCK"},
        ("M_MODELS",),
    ),
    "ADE_AnimateDiffUniformContextOptions": Spec(
        {"context_length": W(16), "context_stride": W(1), "context_overlap": W(4), "context_schedule": W("uniform")}
        | {"closed_loop": W(False), "fuse_method": W("flat"), **WHEN, **CHAINED},
        ("CONTEXT_OPTIONS",),
        WARNING,
    ),
    "ADE_LoopedUniformContextOptions": Spec(
        {"context_length": W(16), "context_stride": W(1), "context_overlap": W(4), "closed_loop": W(False)}
        | {"fuse_method": W("pyramid"), **WHEN, **CHAINED},
        ("CONTEXT_OPTIONS",),
    ),
    "ADE_StandardUniformContextOptions": Spec(
        {"context_length": W(16), "context_stride": W(1), "context_overlap": W(4), "fuse_method": W("pyramid")}
        | {**WHEN, **CHAINED},
        ("CONTEXT_OPTIONS",),
    ),
    "ADE_StandardStaticContextOptions": Spec(
        {"context_length": W(16), "context_overlap": W(4), "fuse_method": W("pyramid"), **WHEN, **CHAINED},
        ("CONTEXT_OPTIONS",),
    ),
    "ADE_AnimateDiffLoRALoader": Spec(
        {"name": W(""), "strength": W(1.0), "prev_motion_lora": "MOTION_LORA"}, ("MOTION_LORA",)
    ),
    "ADE_MultivalDynamic": Spec({"float_val": W(1.0), "mask_optional": "MASK"}, ("MULTIVAL",)),
    "ADE_AnimateDiffSamplingSettings": Spec(
        {"batch_offset": W(0), "noise_type": W("default"), "seed_gen": W("comfy"), "seed_offset": W(0)}
        | {"noise_layers": "NOISE_LAYERS", "iteration_opts": "ITERATION_OPTS", "seed_override": "INT"}
        | {"adapt_denoise_steps": W(False), "custom_cfg": "CUSTOM_CFG", "sigma_schedule": "SIGMA_SCHEDULE"}
        | {"image_inject": "IMAGE_INJECT", "ancestral_opts": "ANCESTRAL_OPTS"},
        ("SAMPLE_SETTINGS",),
    ),
    "ADE_CustomCFGSimple": Spec({"cfg": W(8.0), "cfg_extras": "CFG_EXTRAS"}, ("CUSTOM_CFG",)),
    "ADE_SigmaSchedule": Spec({"beta_schedule": W("sqrt_linear (AnimateDiff)")}, ("SIGMA_SCHEDULE",)),
    "ADE_AnimateDiffSettings": Spec({"pe_adjust": "PE_ADJUST", "weight_adjust": "WEIGHT_ADJUST"}, ("AD_SETTINGS",)),
    "ADE_AdjustPESweetspotStretch": Spec(
        {"sweetspot": W(16), "new_sweetspot": W(16), "print_adjustment": W(False), "prev_pe_adjust": "PE_ADJUST"},
        ("PE_ADJUST",),
    ),
    "ADE_AnimateDiffKeyframe": Spec(
        {"start_percent": W(0.0), "prev_ad_keyframes": "AD_KEYFRAMES", "scale_multival": "MULTIVAL"}
        | {"effect_multival": "MULTIVAL", "per_block_replace": "PER_BLOCK", "inherit_missing": W(True)}
        | {"guarantee_steps": W(1)},
        ("AD_KEYFRAMES",),
    ),
    "ADE_EmptyLatentImageLarge": Spec({"width": W(512), "height": W(512), "batch_size": W(1)}, ("LATENT",)),
    "CheckpointLoaderSimpleWithNoiseSelect": Spec(
        {"ckpt_name": W(""), "beta_schedule": W("use existing"), "use_custom_scale_factor": W(False)}
        | {"scale_factor": W(0.18215)},
        ("MODEL", "CLIP", "VAE"),
    ),
    "ADE_AnimateDiffCombine": Spec(
        {"images": "IMAGE", "frame_rate": W(8), "loop_count": W(0), "filename_prefix": W("AnimateDiff")}
        | {"format": W("image/gif"), "pingpong": W(False), "save_image": W(True)},
        ("GIF",),
        WARNING,
    ),
    "ADE_PromptScheduling": Spec(
        {"prompts": W(""), "clip": "CLIP", "values_replace": "VALUES_REPLACE", "print_schedule": W(False)}
        | {"max_length": W(0), "tensor_interp": W("lerp")},
        ("CONDITIONING",),
    ),
    # ComfyUI
    "CheckpointLoaderSimple": Spec({"ckpt_name": W("")}, ("MODEL", "CLIP", "VAE")),
    "LoraLoaderModelOnly": Spec({"model": "MODEL", "lora_name": W(""), "strength_model": W(1.0)}, ("MODEL",)),
    "CLIPTextEncode": Spec({"text": W(""), "clip": "CLIP"}, ("CONDITIONING",)),
    "EmptyLatentImage": Spec({"width": W(512), "height": W(512), "batch_size": W(1)}, ("LATENT",)),
    "ModelSamplingDiscrete": Spec({"model": "MODEL", "sampling": W("eps"), "zsnr": W(False)}, ("MODEL",)),
    "KSampler": Spec(
        {"model": "MODEL", "seed": SEED, "steps": W(20), "cfg": W(8.0), "sampler_name": W("euler")}
        | {"scheduler": W("normal"), "positive": "CONDITIONING", "negative": "CONDITIONING", "latent_image": "LATENT"}
        | {"denoise": W(1.0)},
        ("LATENT",),
    ),
    "KSamplerAdvanced": Spec(
        {"model": "MODEL", "add_noise": W("enable"), "noise_seed": SEED, "steps": W(20), "cfg": W(8.0)}
        | {"sampler_name": W("euler"), "scheduler": W("normal"), "positive": "CONDITIONING"}
        | {"negative": "CONDITIONING", "latent_image": "LATENT", "start_at_step": W(0), "end_at_step": W(10000)}
        | {"return_with_leftover_noise": W("disable")},
        ("LATENT",),
    ),
    "SamplerCustom": Spec(
        {"model": "MODEL", "add_noise": W(True), "noise_seed": SEED, "cfg": W(8.0), "positive": "CONDITIONING"}
        | {"negative": "CONDITIONING", "sampler": "SAMPLER", "sigmas": "SIGMAS", "latent_image": "LATENT"},
        ("LATENT", "LATENT"),
    ),
    "KSamplerSelect": Spec({"sampler_name": W("euler")}, ("SAMPLER",)),
    "BasicScheduler": Spec(
        {"model": "MODEL", "scheduler": W("normal"), "steps": W(20), "denoise": W(1.0)}, ("SIGMAS",)
    ),
    "LatentUpscaleBy": Spec(
        {"samples": "LATENT", "upscale_method": W("nearest-exact"), "scale_by": W(1.5)}, ("LATENT",)
    ),
    "VAEDecode": Spec({"samples": "LATENT", "vae": "VAE"}, ("IMAGE",)),
    "SaveAnimatedWEBP": Spec(
        {"images": "IMAGE", "filename_prefix": W("ComfyUI"), "fps": W(6.0), "lossless": W(True), "quality": W(80)}
        | {"method": W("default")},
    ),
    "SolidMask": Spec({"value": W(1.0), "width": W(512), "height": W(512)}, ("MASK",)),
    "PrimitiveNode": Spec({"value": Widget(0, ("fixed",))}, ("*",)),
    # VideoHelperSuite; its widgets are saved by name
    "VHS_VideoCombine": Spec(
        {"images": "IMAGE", "frame_rate": W(8), "loop_count": W(0), "filename_prefix": W("AnimateDiff")}
        | {"format": W("video/h264-mp4"), "pingpong": W(False), "save_output": W(True)},
        ("VHS_FILENAMES",),
    ),
}
