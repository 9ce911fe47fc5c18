"""The one table of AnimateDiff-Evolved's nodes ("ADE"): how their widgets are saved, and what becomes of each.

Facts of its snapshot d8d163c and of the published files. Whether a node of ours exists is asked of `ours.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from .report import Verdict


class Fate(Enum):
    """What a move does with a node."""

    LOADER = "moved, with all that is connected to it"
    READ = "read into the nodes that it is connected to"
    REPLACED = "replaced by one node"
    LEFT = "has no counterpart"


@dataclass(frozen=True)
class Row:
    """One node of ADE.

    Attributes:
        fate: what a move does with it.
        widgets: in the order in which the page saves them, with the page's defaults.
        absent: what an input means that an API file does not have, where that is not the page's default.
        becomes: types of our nodes in its place.
        inputs: of a replaced node: our inputs, and which of its inputs they come from.
        verdict: of a replaced node: how well.
        differs: what is not as it was, or why there is no counterpart.
        advice: what to do about it.
        plain: of a replaced node: whether its values are ours as they are.
    """

    fate: Fate
    widgets: Mapping[str, Any] = field(default_factory=dict)
    absent: Mapping[str, Any] = field(default_factory=dict)
    becomes: tuple[str, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)
    verdict: Verdict = Verdict.EXACT
    differs: str = ""
    advice: str = ""
    plain: bool = False


LOADED = ("AnimateLCMLoadMotionModule", "AnimateLCMApply")
CLOSED_LOOP = {"closed_loop": False}
_LENGTH = {"context_length": 16}
_TIMES = {"use_on_equal_length": False, "start_percent": 0.0, "guarantee_steps": 1}
_PERCENTS = {"start_percent": 0.0, "end_percent": 1.0}
_SCALES = {"min_motion_scale": 1.0, "max_motion_scale": 1.0}
_PE = {
    "motion_pe_stretch": 0,
    "cap_initial_pe_length": 0,
    "interpolate_pe_to_length": 0,
    "initial_pe_idx_offset": 0,
    "final_pe_idx_offset": 0,
}
_ADJUST_PE = {name: value for name, value in _PE.items() if name != "motion_pe_stretch"}


def _loader(widgets: Mapping[str, Any], **more: Any) -> Row:
    return Row(Fate.LOADER, widgets, becomes=LOADED, **more)


def _read(widgets: Mapping[str, Any] | None = None, **more: Any) -> Row:
    return Row(Fate.READ, widgets or {}, **more)


def _left(differs: str, advice: str = "", widgets: Mapping[str, Any] | None = None) -> Row:
    return Row(Fate.LEFT, widgets or {}, verdict=Verdict.LEFT, differs=differs, advice=advice)


def _context(widgets: Mapping[str, Any], fuse: str = "pyramid", absent: str = "pyramid") -> Row:
    widgets = _LENGTH | dict(widgets) | {"fuse_method": fuse} | _TIMES
    return _read(widgets, absent={"fuse_method": absent}, becomes=("AnimateLCMLongClip",))


_HOOKS = _left(
    "ComfyUI has hooks of its own, which took over from these nodes.",
    "Rebuild this part with 'Create Hook LoRA' and 'Cond Set Props'.",
)
_KEYFRAMES = _left(
    "There is nothing that changes the motion module's strength from step to step.",
    "'Apply AnimateLCM' has one γ for all steps.",
)
_PER_BLOCK = _left("There is no strength for single blocks of the motion module.", "γ weighs all of it.")
_WEIGHT = _left("The motion module's weights are used as they are in the file.")
_STRETCH = _left(
    "Position encodings are not stretched.", "Slow the video down when it is saved, or interpolate frames."
)
_CFG_STEPS = _left("There is no guidance that changes from step to step.", "Set the sampler's cfg.")
_CFG_EXTRAS = _left(
    "Extras of guidance are not taken over.", "ComfyUI has them as nodes on the model: PAG, RescaleCFG."
)
_NOISE = _left("The starting noise is not made of layers.", "The sampler's seed alone chooses it.")
_CONTEXT_EXTRA = _left("There are no extras of windows.", "Joins are smoother with windows that move.")
_VIEWS = _left("There are no views within windows.", "The windows alone decide which frames see each other.")
_VISUALIZE = _left("There is no picture of the windows.", "Delete it with its preview: nothing else needs it.")
_I2V = _left(
    "A picture is animated by 'AnimateLCM Image to Video', which takes it as a picture, not as a latent.",
    "Open the template image_to_video and put your models and picture in.",
)
_CAMERA = _left("CameraCtrl is not part of this pack.", "A motion LoRA pans or zooms.")
_PIA = _left("PIA is not part of this pack.", "'AnimateLCM Image to Video' animates a picture.")
_SCHEDULED = _left("Values over time are not moved.", "Prompts over time: 'AnimateLCM Prompt Schedule'.")
_SIGMAS = _left("Schedules that are computed from others are not moved.", "Choose a schedule in 'Apply AnimateLCM'.")
_INJECT = _left("Pictures are not put in between steps.")

ADE: Mapping[str, Row] = {
    # Loaders
    "ADE_AnimateDiffLoaderGen1": _loader({"model_name": "", "beta_schedule": "autoselect"}),
    "ADE_AnimateDiffLoaderWithContext": _loader(
        {"model_name": "", "beta_schedule": "autoselect", "motion_scale": 1.0, "apply_v2_models_properly": True},
        absent={"apply_v2_models_properly": False},
    ),
    "AnimateDiffLoaderV1": _loader(
        {"model_name": "", "unlimited_area_hack": False, "beta_schedule": "sqrt_linear (AnimateDiff)"}
    ),
    "ADE_AnimateDiffLoaderV1Advanced": _loader(
        {"model_name": "", "unlimited_area_hack": False, "context_length": 16, "context_stride": 1}
        | {"context_overlap": 4, "context_schedule": "uniform", "closed_loop": False}
        | {"beta_schedule": "sqrt_linear (AnimateDiff)"}
    ),
    "ADE_UseEvolvedSampling": Row(Fate.LOADER, {"beta_schedule": "autoselect"}, becomes=("AnimateLCMApply",)),
    # What loaders are made of
    "ADE_LoadAnimateDiffModel": _read({"model_name": ""}, becomes=("AnimateLCMLoadMotionModule",)),
    "ADE_ApplyAnimateDiffModel": _read(_PERCENTS),
    "ADE_ApplyAnimateDiffModelSimple": _read(),
    "ADE_AnimateDiffLoRALoader": _read({"name": "", "strength": 1.0}, becomes=("AnimateLCMMotionLora",)),
    "ADE_MultivalDynamic": _read({"float_val": 1.0}),
    "ADE_MultivalDynamicFloatInput": _read(),
    "ADE_MultivalDynamicFloats": _read(),
    "ADE_MultivalScaledMask": _left(
        "Strengths that differ from place to place are not moved.",
        "γ weighs every place alike.",
        {"min_float_val": 0.0, "max_float_val": 1.0, "scaling": "absolute"},
    ),
    "ADE_MultivalConvertToMask": _left("There are no multivals to make masks of.", "Use ComfyUI's mask nodes."),
    # Windows
    "ADE_AnimateDiffUniformContextOptions": _context(
        {"context_stride": 1, "context_overlap": 4, "context_schedule": "uniform"} | CLOSED_LOOP, "flat", "flat"
    ),
    "ADE_LoopedUniformContextOptions": _context(
        {"context_stride": 1, "context_overlap": 4} | CLOSED_LOOP, absent="flat"
    ),
    "ADE_StandardUniformContextOptions": _context({"context_stride": 1, "context_overlap": 4}),
    "ADE_StandardStaticContextOptions": _context({"context_overlap": 4}),
    "ADE_BatchedContextOptions": _read(
        _LENGTH | {"start_percent": 0.0, "guarantee_steps": 1}, becomes=("AnimateLCMLongClip",)
    ),
    "ADE_ViewsOnlyContextOptions": _VIEWS,
    "ADE_StandardStaticViewOptions": _VIEWS,
    "ADE_StandardUniformViewOptions": _VIEWS,
    "ADE_LoopedUniformViewOptions": _VIEWS,
    "ADE_VisualizeContextOptionsK": _VISUALIZE,
    "ADE_VisualizeContextOptionsKAdv": _VISUALIZE,
    "ADE_VisualizeContextOptionsSCustom": _VISUALIZE,
    "ADE_ContextExtras_Set": _read(),
    "ADE_ContextExtras_ContextRef": _CONTEXT_EXTRA,
    "ADE_ContextExtras_ContextRef_ModeFirst": _CONTEXT_EXTRA,
    "ADE_ContextExtras_ContextRef_ModeSliding": _CONTEXT_EXTRA,
    "ADE_ContextExtras_ContextRef_ModeIndexes": _CONTEXT_EXTRA,
    "ADE_ContextExtras_ContextRef_TuneAttn": _CONTEXT_EXTRA,
    "ADE_ContextExtras_ContextRef_TuneAttnAdain": _CONTEXT_EXTRA,
    "ADE_ContextExtras_ContextRef_Keyframe": _CONTEXT_EXTRA,
    "ADE_ContextExtras_ContextRef_KeyframeInterpolation": _CONTEXT_EXTRA,
    "ADE_ContextExtras_ContextRef_KeyframeFromList": _CONTEXT_EXTRA,
    "ADE_ContextExtras_NaiveReuse": _CONTEXT_EXTRA,
    "ADE_ContextExtras_NaiveReuse_Keyframe": _CONTEXT_EXTRA,
    "ADE_ContextExtras_NaiveReuse_KeyframeInterpolation": _CONTEXT_EXTRA,
    "ADE_ContextExtras_NaiveReuse_KeyframeFromList": _CONTEXT_EXTRA,
    # Sampling
    "ADE_AnimateDiffSamplingSettings": _read(
        {"batch_offset": 0, "noise_type": "default", "seed_gen": "comfy", "seed_offset": 0}
        | {"adapt_denoise_steps": False}
    ),
    "ADE_CustomCFGSimple": _read({"cfg": 8.0}),
    "ADE_CustomCFG": _read(),
    "ADE_CustomCFGKeyframeSimple": _CFG_STEPS,
    "ADE_CustomCFGKeyframe": _CFG_STEPS,
    "ADE_CustomCFGKeyframeInterpolation": _CFG_STEPS,
    "ADE_CustomCFGKeyframeFromList": _CFG_STEPS,
    "ADE_CFGExtrasPAGSimple": _CFG_EXTRAS,
    "ADE_CFGExtrasPAG": _CFG_EXTRAS,
    "ADE_CFGExtrasRescaleCFGSimple": _CFG_EXTRAS,
    "ADE_CFGExtrasRescaleCFG": _CFG_EXTRAS,
    "ADE_SigmaSchedule": _read({"beta_schedule": "sqrt_linear (AnimateDiff)"}),
    "ADE_RawSigmaSchedule": _SIGMAS,
    "ADE_SigmaScheduleWeightedAverage": _SIGMAS,
    "ADE_SigmaScheduleWeightedAverageInterp": _SIGMAS,
    "ADE_SigmaScheduleSplitAndCombine": _SIGMAS,
    "ADE_SigmaScheduleToSigmas": _left(
        "There is no node that makes sigmas of a schedule alone.", "Use 'AnimateLCM Sigmas', which asks the model."
    ),
    "ADE_IterationOptsDefault": _left("A sample is not repeated.", "Sample the result again with a second sampler."),
    "ADE_IterationOptsFreeInit": _left(
        "FreeInit is not part of this pack.", "It samples several times; use more steps instead."
    ),
    "ADE_NoiseLayerAdd": _NOISE,
    "ADE_NoiseLayerAddWeighted": _NOISE,
    "ADE_NoiseLayerNormalizedSum": _NOISE,
    "ADE_NoiseLayerReplace": _NOISE,
    "ADE_NoisedImageInjection": _INJECT,
    "ADE_NoisedImageInjectOptions": _INJECT,
    "ADE_AncestralOptions": _left("The steps' noise is the sampler's own."),
    # Settings of the motion module
    "ADE_AnimateDiffSettings": _read(),
    "ADE_AnimateDiffModelSettings_Release": _read(_SCALES),
    "ADE_AnimateDiffModelSettingsSimple": _read({"motion_pe_stretch": 0} | _SCALES),
    "ADE_AnimateDiffModelSettings": _read(
        {"pe_strength": 1.0, "attn_strength": 1.0, "other_strength": 1.0} | _PE | _SCALES
    ),
    "ADE_AnimateDiffModelSettingsAdvancedAttnStrengths": _read(
        {"pe_strength": 1.0, "attn_strength": 1.0, "attn_q_strength": 1.0, "attn_k_strength": 1.0}
        | {"attn_v_strength": 1.0, "attn_out_weight_strength": 1.0, "attn_out_bias_strength": 1.0}
        | {"other_strength": 1.0}
        | _PE
        | _SCALES
    ),
    "ADE_AdjustPESweetspotStretch": _STRETCH,
    "ADE_AdjustPEFullStretch": _STRETCH,
    "ADE_AdjustPEManual": _STRETCH,
    "ADE_AdjustWeightAllAdd": _WEIGHT,
    "ADE_AdjustWeightAllMult": _WEIGHT,
    "ADE_AdjustWeightIndivAdd": _WEIGHT,
    "ADE_AdjustWeightIndivMult": _WEIGHT,
    "ADE_AdjustWeightIndivAttnAdd": _WEIGHT,
    "ADE_AdjustWeightIndivAttnMult": _WEIGHT,
    "ADE_AnimateDiffKeyframe": _KEYFRAMES,
    "ADE_ADBlockCombo": _PER_BLOCK,
    "ADE_ADBlockIndiv": _PER_BLOCK,
    "ADE_PerBlockHighLevel": _PER_BLOCK,
    "ADE_PerBlock_SD15_MidLevel": _PER_BLOCK,
    "ADE_PerBlock_SD15_LowLevel": _PER_BLOCK,
    "ADE_PerBlock_SD15_FromFloats": _PER_BLOCK,
    "ADE_PerBlock_SDXL_MidLevel": _PER_BLOCK,
    "ADE_PerBlock_SDXL_LowLevel": _PER_BLOCK,
    "ADE_PerBlock_SDXL_FromFloats": _PER_BLOCK,
    # One for one
    "ADE_EmptyLatentImageLarge": Row(
        Fate.REPLACED,
        {"width": 512, "height": 512, "batch_size": 1},
        becomes=("AnimateLCMEmptyLatent",),
        inputs={"width": "width", "height": "height", "frames": "batch_size"},
        plain=True,
    ),
    "CheckpointLoaderSimpleWithNoiseSelect": Row(
        Fate.REPLACED,
        {"ckpt_name": "", "beta_schedule": "use existing", "use_custom_scale_factor": False, "scale_factor": 0.18215},
        becomes=("CheckpointLoaderSimple",),
        inputs={"ckpt_name": "ckpt_name"},
    ),
    "ADE_AnimateDiffCombine": Row(
        Fate.REPLACED,
        {"frame_rate": 8, "loop_count": 0, "filename_prefix": "AnimateDiff", "format": "image/gif"}
        | {"pingpong": False, "save_image": True},
        becomes=("AnimateLCMSaveVideo",),
        inputs={
            "images": "images",
            "fps": "frame_rate",
            "filename_prefix": "filename_prefix",
            "format": "format",
            "ping_pong": "pingpong",
        },
    ),
    # Other methods
    "ADE_LoadAnimateLCMI2VModel": _I2V,
    "ADE_ApplyAnimateLCMI2VModel": _I2V,
    "ADE_UpscaleAndVAEEncode": _I2V,
    "ADE_InjectI2VIntoAnimateDiffModel": _I2V,
    "ADE_ApplyAnimateDiffModelWithCameraCtrl": _CAMERA,
    "ADE_LoadAnimateDiffModelWithCameraCtrl": _CAMERA,
    "ADE_CameraCtrlAnimateDiffKeyframe": _CAMERA,
    "ADE_LoadCameraPoses": _CAMERA,
    "ADE_LoadCameraPosesFromPath": _CAMERA,
    "ADE_CameraPoseBasic": _CAMERA,
    "ADE_CameraPoseCombo": _CAMERA,
    "ADE_CameraPoseAdvanced": _CAMERA,
    "ADE_CameraManualPoseAppend": _CAMERA,
    "ADE_ReplaceCameraParameters": _CAMERA,
    "ADE_ReplaceOriginalPoseAspectRatio": _CAMERA,
    "ADE_ApplyAnimateDiffModelWithPIA": _PIA,
    "ADE_InputPIA_Multival": _PIA,
    "ADE_InputPIA_PaperPresets": _PIA,
    "ADE_PIA_AnimateDiffKeyframe": _PIA,
    "ADE_InjectPIAIntoAnimateDiffModel": _PIA,
    # Prompts and values over time
    "ADE_PromptScheduling": _SCHEDULED,
    "ADE_PromptSchedulingLatents": _SCHEDULED,
    "ADE_ValueScheduling": _SCHEDULED,
    "ADE_ValueSchedulingLatents": _SCHEDULED,
    "ADE_ConditionExtraction": _SCHEDULED,
    "ADE_ValuesReplace": _SCHEDULED,
    "ADE_FloatToFloats": _SCHEDULED,
    # Others
    "ADE_AnimateDiffUnload": _left(
        "Nothing has to be unloaded: other uses of the checkpoint never see the motion module.",
        "Connect what follows to the model before 'Apply AnimateLCM'.",
    ),
    "ADE_PerturbedAttentionGuidanceMultival": _CFG_EXTRAS,
    "ADE_RescaleCFGMultival": _CFG_EXTRAS,
    "ADE_RegisterLoraHook": _HOOKS,
    "ADE_RegisterLoraHookModelOnly": _HOOKS,
    "ADE_RegisterModelAsLoraHook": _HOOKS,
    "ADE_RegisterModelAsLoraHookModelOnly": _HOOKS,
    "ADE_CombineLoraHooks": _HOOKS,
    "ADE_CombineLoraHooksFour": _HOOKS,
    "ADE_CombineLoraHooksEight": _HOOKS,
    "ADE_SetLoraHookKeyframe": _HOOKS,
    "ADE_AttachLoraHookToCLIP": _HOOKS,
    "ADE_LoraHookKeyframe": _HOOKS,
    "ADE_LoraHookKeyframeInterpolation": _HOOKS,
    "ADE_LoraHookKeyframeFromStrengthList": _HOOKS,
    "ADE_AttachLoraHookToConditioning": _HOOKS,
    "ADE_PairedConditioningSetMask": _HOOKS,
    "ADE_ConditioningSetMask": _HOOKS,
    "ADE_PairedConditioningSetMaskAndCombine": _HOOKS,
    "ADE_ConditioningSetMaskAndCombine": _HOOKS,
    "ADE_PairedConditioningSetUnmaskedAndCombine": _HOOKS,
    "ADE_ConditioningSetUnmaskedAndCombine": _HOOKS,
    "ADE_PairedConditioningCombine": _HOOKS,
    "ADE_ConditioningCombine": _HOOKS,
    "ADE_TimestepsConditioning": _HOOKS,
}
_UNKNOWN = _left("This node of AnimateDiff-Evolved is newer than what is known here.")


def drop_in(type: str) -> bool:
    """Whether one node of ours does exactly what a node of ADE does, with the values that stand in it."""
    row = ADE[type]
    return row.fate is Fate.REPLACED and row.verdict is Verdict.EXACT and row.plain


def row_of(type: str) -> Row | None:
    """Return what becomes of a node, or None where it is none of ADE's."""
    return ADE.get(type) or (_UNKNOWN if type.startswith("ADE_") else None)


# Schedules

# ADE's beta_schedule: our option that samples on the same noise levels
SCHEDULES: Mapping[str, str] = {
    "lcm": "LCM (community)",
    "lcm[100_ots]": "LCM (community, 100 steps)",
    "lcm >> sqrt_linear": "LCM (community, on AnimateDiff's noise)",
    "lcm avg(sqrt_linear,linear)": "LCM (community, average)",
    "sqrt_linear (AnimateDiff)": "AnimateDiff (1000 steps)",
    "avg(sqrt_linear,linear)": "AnimateDiff (1000 steps, average)",
    "use existing": "keep the model's own",
    "linear (HotshotXL/default)": "keep the model's own",
}

# Windows

LONG_CLIP = "AnimateLCMLongClip"
_SHORTER = "The last window is as long as the others, and was shorter."

# ADE's context options: our layout of windows, and what differs
WINDOWS: Mapping[str, tuple[str, str]] = {
    "ADE_AnimateDiffUniformContextOptions": ("looped uniform", ""),
    "ADE_LoopedUniformContextOptions": ("looped uniform", ""),
    "ADE_AnimateDiffLoaderV1Advanced": ("looped uniform", ""),
    "ADE_StandardUniformContextOptions": ("uniform", ""),
    "ADE_StandardStaticContextOptions": ("fixed", ""),
    "ADE_BatchedContextOptions": ("fixed", _SHORTER),
}
