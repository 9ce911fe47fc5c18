"""The workflows of the test set, and how well each is to be moved."""

from dataclasses import dataclass

from .workflows import LCM_AVERAGE, LCM_MODULE, V1_MODULE, V2_MODULE, V3_MODULE, Recipe


@dataclass(frozen=True)
class Case:
    """A workflow, its verdict, and words of what its report has to say."""

    recipe: Recipe
    verdict: str = "exact"
    says: tuple[str, ...] = ()


CASES = {
    # The loader with context
    "context_legacy": Case(Recipe()),
    "context_legacy_v3": Case(Recipe(module=V3_MODULE, steps=20, lora=None)),
    "context_legacy_v2": Case(Recipe(module=V2_MODULE, steps=20, lora=None, motion_lora=0.8)),
    "context_autoselect": Case(Recipe(schedule="autoselect")),
    "context_lcm": Case(Recipe(schedule="lcm")),
    "context_lcm_100": Case(Recipe(schedule="lcm[100_ots]")),
    "context_lcm_average": Case(Recipe(schedule=LCM_AVERAGE)),
    "context_lcm_sqrt_linear": Case(Recipe(schedule="lcm >> sqrt_linear")),
    "context_discrete_after": Case(Recipe(discrete="after", schedule="autoselect")),
    "context_discrete_before": Case(Recipe(discrete="before", schedule="lcm")),
    "context_noise_select": Case(Recipe(checkpoint=LCM_AVERAGE, schedule="autoselect")),
    "context_static": Case(Recipe(context="static", schedule="autoselect")),
    "context_two_passes": Case(Recipe(second_pass=True, schedule="lcm", discrete="after")),
    "context_scale": Case(Recipe(loader_options=(("motion_scale", 1.14),), discrete="after")),
    "context_scale_lcm": Case(Recipe(loader_options=(("motion_scale", 1.14),), schedule="lcm")),
    "context_short": Case(Recipe(context=None, frames=16, schedule="autoselect", saver="ADE_AnimateDiffCombine")),
    # Generation 2
    "gen2_legacy": Case(Recipe(loader="gen2", schedule="autoselect")),
    "gen2_looped": Case(Recipe(loader="gen2", context="looped", schedule="autoselect")),
    "gen2_looped_loop": Case(Recipe(loader="gen2", context="looped", context_options=(("closed_loop", True),))),
    "gen2_uniform": Case(Recipe(loader="gen2", context="uniform", schedule="lcm")),
    "gen2_static": Case(Recipe(loader="gen2", context="static", schedule="lcm", discrete="after")),
    "gen2_effect": Case(Recipe(loader="gen2", context="static", effect=1.1, schedule="autoselect")),
    "gen2_scale": Case(Recipe(loader="gen2", context="static", scale=1.2, schedule="autoselect")),
    "gen2_custom_cfg": Case(Recipe(loader="gen2", context="static", cfg=1.8, schedule="autoselect")),
    "gen2_sigma_schedule": Case(Recipe(loader="gen2", context="static", sigma_schedule="lcm")),
    "gen2_motion_lora": Case(Recipe(loader="gen2", context="static", motion_lora=0.5, schedule="autoselect")),
    "gen2_free_noise": Case(
        Recipe(loader="gen2", context="static", noise="FreeNoise", schedule="autoselect"), "close", ("FreeNoise",)
    ),
    "gen2_stretched": Case(
        Recipe(loader="gen2", context="static", pe_stretch=20, schedule="autoselect"), "close", ("Position encodings",)
    ),
    "gen2_part_of_the_steps": Case(
        Recipe(loader="gen2 advanced", context="static", schedule="lcm", loader_options=(("end_percent", 0.8),)),
        "close",
        ("all steps",),
    ),
    # Generation 1
    "gen1_legacy": Case(Recipe(loader="gen1", schedule="autoselect")),
    "gen1_custom_sampler": Case(Recipe(loader="gen1", context="static", sampler="SamplerCustom", schedule="lcm")),
    "gen1_advanced_sampler": Case(Recipe(loader="gen1", context="looped", sampler="KSamplerAdvanced", schedule="lcm")),
    "gen1_motion_lora": Case(Recipe(loader="gen1", module=V3_MODULE, lora=None, motion_lora=0.6, steps=20)),
    "gen1_scale": Case(Recipe(loader="gen1", scale=1.14, schedule="autoselect")),
    "gen1_large_latent": Case(Recipe(loader="gen1", large_latent=True, frames=120, schedule="autoselect")),
    "gen1_keyframe": Case(Recipe(loader="gen1", keyframe=True, schedule="autoselect"), "close", ("step to step",)),
    "gen1_v1_module": Case(Recipe(loader="gen1", module=V1_MODULE, context="static", steps=20)),
    "gen1_video_helper": Case(Recipe(loader="gen1", context="static", schedule="lcm", saver="VHS_VideoCombine")),
    "gen1_prompt_schedule": Case(
        Recipe(loader="gen1", schedule="autoselect", prompt="scheduled", module=LCM_MODULE), "left", ("over time",)
    ),
}
