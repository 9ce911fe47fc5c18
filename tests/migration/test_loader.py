"""What becomes of single inputs, and the traps that published workflows have in store."""

from typing import Any

import pytest
from animatelcm.migration.families import Family, family_of
from animatelcm.migration.move import Moved, move
from animatelcm.migration.report import Verdict

from .build import Json, Nodes, Output
from .workflows import CHECKPOINT, LCM_AVERAGE, LCM_MODULE, SQRT_LINEAR, V1_MODULE, V2_MODULE, V3_MODULE, Recipe, built

LOADERS = pytest.mark.parametrize("loader", ["context", "gen1", "gen2"])
COMMUNITY, OWN, ANIMATEDIFF = "LCM (community)", "keep the model's own", "AnimateDiff (1000 steps)"


def moved(recipe: Recipe, **changes: Any) -> Moved:
    """The API form of a recipe after the move; `changes` are inputs of its loader, None for one that is not there."""
    document = built(recipe).api()
    for node in document.values():
        if changes and node["class_type"] in ("ADE_AnimateDiffLoaderWithContext", "ADE_AnimateDiffLoaderGen1"):
            node["inputs"] |= changes
            node["inputs"] = {name: value for name, value in node["inputs"].items() if value is not None}
    return move(document)


def inputs(result: Moved, type: str) -> Json:
    (found,) = [node["inputs"] for node in result.document.values() if node["class_type"] == type]
    return found


def said(result: Moved, type: str) -> str:
    """All that is said of the nodes of a type."""
    remarks = [remark for f in result.report.findings if f.type.startswith(type) for remark in f.remarks]
    return " ".join(f"{remark.differs} {remark.advice}" for remark in remarks)


def verdict(result: Moved, type: str) -> Verdict:
    (found,) = [finding.verdict for finding in result.report.findings if finding.type.startswith(type)]
    return found


PLAIN = Recipe(context=None)


# Motion LoRAs


@LOADERS
def test_a_motion_lora_goes_between_the_module_and_the_model(loader: str) -> None:
    result = moved(Recipe(loader=loader, context=None, motion_lora=0.8))
    lora, apply = inputs(result, "AnimateLCMMotionLora"), inputs(result, "AnimateLCMApply")
    assert (lora["lora"], lora["strength"]) == ("v2_lora_ZoomIn.ckpt", 0.8)
    assert result.document[lora["motion_module"][0]]["class_type"] == "AnimateLCMLoadMotionModule"
    assert result.document[apply["motion_module"][0]]["class_type"] == "AnimateLCMMotionLora"
    assert verdict(result, "ADE_AnimateDiffLoRALoader") is Verdict.EXACT


def test_a_strength_that_ours_does_not_go_to_is_said() -> None:
    result = moved(Recipe(context=None, motion_lora=3.0))
    assert inputs(result, "AnimateLCMMotionLora")["strength"] == 2.0
    assert "strength was 3, and is 2 now" in said(result, "ADE_AnimateDiffLoRALoader")


# Schedules


@LOADERS
@pytest.mark.parametrize(
    ("module", "option"), [(LCM_MODULE, COMMUNITY), (V3_MODULE, ANIMATEDIFF), (V2_MODULE, ANIMATEDIFF)]
)
def test_autoselect_is_lcm_for_animatelcm_alone(loader: str, module: str, option: str) -> None:
    result = moved(Recipe(loader=loader, context=None, module=module, schedule="autoselect"))
    assert inputs(result, "AnimateLCMApply")["schedule"] == option


def test_autoselect_of_an_unknown_file_says_what_was_guessed() -> None:
    result = moved(Recipe(context=None, module="my_favourite.ckpt", schedule="autoselect"))
    assert "If this is an AnimateLCM module, choose 'LCM (community)'." in said(result, "ADE_AnimateDiffLoader")


@LOADERS
@pytest.mark.parametrize("schedule", [SQRT_LINEAR, "lcm", "autoselect", "use existing"])
def test_a_schedule_that_is_set_behind_the_loader_still_is(loader: str, schedule: str) -> None:
    result = moved(Recipe(loader=loader, context=None, discrete="after", schedule=schedule))
    assert inputs(result, "AnimateLCMApply")["schedule"] == OWN
    assert inputs(result, "ModelSamplingDiscrete")["sampling"] == "lcm"
    assert result.report.verdict is Verdict.EXACT


@LOADERS
def test_a_schedule_that_is_set_before_the_loader_is_overridden_as_it_was(loader: str) -> None:
    result = moved(Recipe(loader=loader, context=None, discrete="before", schedule="lcm"))
    assert inputs(result, "AnimateLCMApply")["schedule"] == COMMUNITY
    assert result.report.verdict is Verdict.EXACT


def test_use_existing_keeps_what_is_set_before_the_loader() -> None:
    result = moved(Recipe(context=None, discrete="before", schedule="use existing"))
    assert inputs(result, "AnimateLCMApply")["schedule"] == OWN
    assert result.report.verdict is Verdict.EXACT


def test_use_existing_takes_over_what_the_checkpoint_loader_chose() -> None:
    result = moved(Recipe(context=None, checkpoint="lcm", schedule="use existing"))
    assert inputs(result, "AnimateLCMApply")["schedule"] == COMMUNITY
    assert inputs(result, "CheckpointLoaderSimple") == {"ckpt_name": CHECKPOINT}
    assert result.report.verdict is Verdict.EXACT


def test_the_checkpoint_loaders_schedule_has_no_say_before_a_loader() -> None:
    result = moved(Recipe(context=None, checkpoint=LCM_AVERAGE, schedule="lcm"))
    assert verdict(result, "CheckpointLoaderSimpleWithNoiseSelect") is Verdict.EXACT


def test_the_checkpoint_loaders_schedule_is_missed_where_no_loader_follows() -> None:
    nodes = Nodes()
    model = nodes.add("CheckpointLoaderSimpleWithNoiseSelect", ckpt_name=CHECKPOINT, beta_schedule="lcm")
    nodes.add("KSampler", model=model, latent_image=nodes.add("ADE_EmptyLatentImageLarge", batch_size=24))
    result = move(nodes.api())
    assert verdict(result, "Checkpoint") is Verdict.CLOSE
    assert "had 'lcm'" in said(result, "Checkpoint")
    assert inputs(result, "AnimateLCMEmptyLatent") == {"width": 512, "height": 512, "frames": 24}


def test_a_sigma_schedule_overrides_the_loaders() -> None:
    result = moved(Recipe(loader="gen2", context=None, schedule=SQRT_LINEAR, sigma_schedule="lcm"))
    assert inputs(result, "AnimateLCMApply")["schedule"] == COMMUNITY
    assert result.report.verdict is Verdict.EXACT


def test_evolved_sampling_without_a_motion_module_sets_the_schedule_alone() -> None:
    nodes = Nodes()
    model = nodes.add("CheckpointLoaderSimple", ckpt_name=CHECKPOINT)
    nodes.add("KSampler", model=nodes.add("ADE_UseEvolvedSampling", model=model, beta_schedule="lcm"))
    result = move(nodes.api())
    assert inputs(result, "ModelSamplingDiscrete") == {"model": ["1", 0], "sampling": "lcm", "zsnr": False}
    assert result.report.verdict is Verdict.EXACT


def test_evolved_sampling_without_anything_is_taken_out() -> None:
    nodes = Nodes()
    model = nodes.add("CheckpointLoaderSimple", ckpt_name=CHECKPOINT)
    nodes.add("KSampler", model=nodes.add("ADE_UseEvolvedSampling", model=model))
    result = move(nodes.api())
    assert [node["class_type"] for node in result.document.values()] == ["CheckpointLoaderSimple", "KSampler"]
    assert inputs(result, "KSampler")["model"] == ["1", 0]


# Motion modules


@pytest.mark.parametrize(
    ("file", "family"),
    [
        ("AnimateLCM_sd15_t2v.ckpt", Family.ANIMATELCM),
        ("animatelcm/AnimateLCM_sd15_t2v.safetensors", Family.ANIMATELCM),
        ("sd15_t2v_beta.ckpt", Family.ANIMATELCM),
        ("mm_sd_v14.ckpt", Family.V1),
        ("mm_sd_v15.ckpt", Family.V1),
        ("mm-Stabilized_mid.pth", Family.V1),
        ("temporaldiff-v1-animatediff.ckpt", Family.V1),
        ("mm_sd_v15_v2.ckpt", Family.V2),
        ("mm_sd_v15_v2.fp16.safetensors", Family.V2),
        ("v3_sd15_mm.ckpt", Family.V3),
        ("mm_sdxl_v10_beta.ckpt", Family.OTHER_BASE),
        ("hsxl_temporal_layers.f16.safetensors", Family.OTHER_BASE),
        ("pia.ckpt", Family.PIA),
        ("my_favourite.ckpt", Family.UNKNOWN),
    ],
)
def test_families_are_told_by_published_names(file: str, family: Family) -> None:
    assert family_of(file) is family


@pytest.mark.parametrize("module", [V1_MODULE, LCM_MODULE, "my_favourite.ckpt"])
def test_group_norm_is_left_to_the_file(module: str) -> None:
    result = moved(Recipe(context=None, module=module, schedule=SQRT_LINEAR))
    assert verdict(result, "ADE_AnimateDiffLoader") is Verdict.EXACT
    assert inputs(result, "AnimateLCMApply")["group_norm"] == "automatic (from the motion module)"


@pytest.mark.parametrize(("module", "grouped"), [(V2_MODULE, True), (LCM_MODULE, True), (V3_MODULE, False)])
def test_an_api_file_without_the_switch_means_group_norm_over_all_frames(module: str, grouped: bool) -> None:
    result = moved(Recipe(context=None, module=module, discrete="after"), apply_v2_models_properly=None)
    assert verdict(result, "ADE_AnimateDiffLoader") is Verdict.EXACT
    assert (inputs(result, "AnimateLCMApply")["group_norm"] == "over all frames") == grouped


def test_an_unknown_module_may_be_one_whose_frames_are_normed_apart() -> None:
    result = moved(Recipe(context=None, module="my_favourite.ckpt", discrete="after"), apply_v2_models_properly=None)
    assert "whether the file is a v3 module" in said(result, "ADE_AnimateDiffLoader")


def test_a_page_file_without_the_switch_means_group_norm_frame_by_frame() -> None:
    document = built(Recipe(context=None, discrete="after")).page()
    (loader,) = [node for node in document["nodes"] if node["type"] == "ADE_AnimateDiffLoaderWithContext"]
    loader["widgets_values"] = loader["widgets_values"][:2]
    assert move(document).report.verdict is Verdict.EXACT


@pytest.mark.parametrize("module", ["mm_sdxl_v10_beta.ckpt", "pia.ckpt"])
@LOADERS
def test_a_module_of_another_kind_stays_with_a_reason(loader: str, module: str) -> None:
    given = built(Recipe(loader=loader, module=module))
    result = move(given.api())
    assert result.document == given.api()
    assert result.report.verdict is Verdict.LEFT
    assert "SDXL" in said(result, "ADE_") or "PIA" in said(result, "ADE_")


def test_two_motion_modules_at_once_stay_with_a_reason() -> None:
    nodes = Nodes()
    model = nodes.add("CheckpointLoaderSimple", ckpt_name=CHECKPOINT)
    module = nodes.add("ADE_LoadAnimateDiffModel", model_name=V3_MODULE)
    first = nodes.add("ADE_ApplyAnimateDiffModel", motion_model=module)
    second = nodes.add("ADE_ApplyAnimateDiffModel", motion_model=module, prev_m_models=first)
    nodes.add("KSampler", model=nodes.add("ADE_UseEvolvedSampling", model=model, m_models=second))
    result = move(nodes.api())
    assert result.document == nodes.api()
    assert "two motion modules at once" in said(result, "ADE_UseEvolvedSampling")


def test_loaders_of_one_file_share_what_reads_it() -> None:
    nodes = Nodes()
    model = nodes.add("CheckpointLoaderSimple", ckpt_name=CHECKPOINT)
    for strength in (0.5, 1.5):
        effect = nodes.add("ADE_MultivalDynamic", float_val=strength)
        loader = "ADE_AnimateDiffLoaderGen1"
        given = {"model": model, "model_name": LCM_MODULE, "beta_schedule": "lcm", "effect_multival": effect}
        nodes.add("KSampler", model=nodes.add(loader, **given))
    result = move(nodes.api())
    assert inputs(result, "AnimateLCMLoadMotionModule") == {"motion_module": LCM_MODULE}
    applied = [node["inputs"] for node in result.document.values() if node["class_type"] == "AnimateLCMApply"]
    assert [node["gamma"] for node in applied] == [0.5, 1.5]
    assert result.report.verdict is Verdict.EXACT


def test_latents_that_an_old_loader_hands_on_come_from_where_they_came() -> None:
    nodes = Nodes()
    model = nodes.add("CheckpointLoaderSimple", ckpt_name=CHECKPOINT)
    latent = nodes.add("ADE_EmptyLatentImageLarge", batch_size=16)
    loader = nodes.add("ADE_AnimateDiffLoaderV1Advanced", model=model, latents=latent, model_name=V3_MODULE)
    nodes.add("KSampler", model=loader, latent_image=Output(loader.node, 1))
    result = move(nodes.api())
    assert inputs(result, "KSampler")["latent_image"] == ["2", 0]
    assert result.document["2"]["class_type"] == "AnimateLCMEmptyLatent"


# Strengths and guidance


def test_an_effect_is_gamma() -> None:
    result = moved(Recipe(loader="gen2", context=None, effect=1.3, schedule="lcm"))
    assert inputs(result, "AnimateLCMApply")["gamma"] == 1.3
    assert result.report.verdict is Verdict.EXACT


def test_an_effect_beyond_gammas_range_is_said() -> None:
    result = moved(Recipe(loader="gen1", context=None, effect=3.5, schedule="lcm"))
    assert inputs(result, "AnimateLCMApply")["gamma"] == 2.0
    assert "gamma was 3.5, and is 2 now" in said(result, "ADE_AnimateDiffLoader")


@LOADERS
def test_a_scale_is_the_motion_scale(loader: str) -> None:
    options = (("motion_scale", 1.14),) if loader == "context" else ()
    result = moved(Recipe(loader=loader, context=None, scale=1.14, schedule="lcm", loader_options=options))
    assert inputs(result, "AnimateLCMApply")["motion_scale"] == 1.14
    assert result.report.verdict is Verdict.EXACT


def test_a_multivals_mask_weighs_gamma() -> None:
    nodes = Nodes()
    model = nodes.add("CheckpointLoaderSimple", ckpt_name=CHECKPOINT)
    mask = nodes.add("SolidMask", value=0.5)
    effect = nodes.add("ADE_MultivalDynamic", float_val=1.2, mask_optional=mask)
    chosen = {"model_name": LCM_MODULE, "beta_schedule": "lcm", "effect_multival": effect}
    nodes.add("KSampler", model=nodes.add("ADE_AnimateDiffLoaderGen1", model=model, **chosen))
    result = move(nodes.api())
    apply = inputs(result, "AnimateLCMApply")
    assert (apply["gamma"], apply["gamma_mask"]) == (1.2, ["2", 0])
    assert result.report.verdict is Verdict.EXACT


def test_nothing_is_added_by_loras_that_are_in_the_graph_already() -> None:
    apply = inputs(moved(PLAIN), "AnimateLCMApply")
    assert (apply["acceleration_lora"], apply["style_lora"]) == ("none", "none")


@pytest.mark.parametrize("sampler", ["KSampler", "KSamplerAdvanced", "SamplerCustom"])
@pytest.mark.parametrize("form", ["page", "api"])
def test_custom_guidance_is_written_in_the_samplers(sampler: str, form: str) -> None:
    recipe = Recipe(loader="gen2", context=None, cfg=1.8, sampler=sampler, schedule="lcm", second_pass=True)
    result = move(getattr(built(recipe), form)())
    assert result.report.verdict is Verdict.EXACT
    document = result.document if form == "api" else {str(node["id"]): node for node in result.document["nodes"]}
    for node in document.values():
        if form == "api" and "cfg" in node["inputs"]:
            assert node["inputs"]["cfg"] == 1.8
        if form == "page" and "Sampler" in node["type"] and len(node["widgets_values"]) > 1:
            assert 1.8 in node["widgets_values"] and 1.5 not in node["widgets_values"]


# Sampling settings


@pytest.mark.parametrize(
    ("input", "value", "words"),
    [
        ("batch_offset", 3, "The noise starts with the first frame's"),
        ("seed_gen", "auto1111", "as another program does"),
        ("seed_offset", 4, "The seed was raised by 4. Add that to the sampler's seed."),
        ("adapt_denoise_steps", True, "does not take fewer steps"),
        ("noise_type", "constant", "was 'constant'"),
    ],
)
def test_settings_without_counterpart_are_named(input: str, value: Any, words: str) -> None:
    document = built(Recipe(loader="gen2", context=None, noise="default", schedule="lcm")).api()
    (settings,) = [node for node in document.values() if node["class_type"] == "ADE_AnimateDiffSamplingSettings"]
    assert move(document).report.verdict is Verdict.EXACT
    settings["inputs"][input] = value
    result = move(document)
    assert result.report.verdict is Verdict.CLOSE
    assert words in said(result, "ADE_AnimateDiffSamplingSettings")


# Saving


@pytest.mark.parametrize(
    ("theirs", "ours"), [("image/gif", "GIF"), ("video/h264-mp4", "MP4 (H.264)"), ("video/webm", "WebM (VP9)")]
)
def test_formats_of_the_old_combine_node(theirs: str, ours: str) -> None:
    nodes = Nodes()
    images = nodes.add("VAEDecode")
    nodes.add("ADE_AnimateDiffCombine", images=images, frame_rate=12, format=theirs, pingpong=True)
    result = move(nodes.api())
    saved = {"images": ["1", 0], "fps": 12, "filename_prefix": "AnimateDiff", "format": ours}
    assert inputs(result, "AnimateLCMSaveVideo") == saved | {"quality": 80, "ping_pong": True}
    assert result.report.verdict is Verdict.EXACT


def test_a_saver_of_another_pack_stays() -> None:
    result = moved(Recipe(context=None, schedule="lcm", saver="VHS_VideoCombine"))
    assert inputs(result, "VHS_VideoCombine")["format"] == "video/h264-mp4"
    assert result.report.verdict is Verdict.EXACT
