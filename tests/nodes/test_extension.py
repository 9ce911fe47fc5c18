"""What the pack tells ComfyUI: ids, inputs and defaults are fixed for saved workflows; everything is explained."""

import asyncio
import inspect
import re
from pathlib import Path

import pytest
from animatelcm.nodes.extension import AnimateLCMExtension
from comfy_api.latest import io

ROOT = Path(__file__).resolve().parents[2]
HELP = ROOT / "web" / "docs"
NODES = {node.GET_SCHEMA().node_id: node for node in asyncio.run(AnimateLCMExtension().get_node_list())}
EVERY = pytest.mark.parametrize("node", NODES.values(), ids=NODES)

# The order counts: the page saves widgets by position. Append; never reorder or remove.
INPUTS = {
    "AnimateLCMLoadMotionModule": {"motion_module": ...},
    "AnimateLCMMotionLora": {"motion_module": None, "lora": ..., "strength": 1.0},
    "AnimateLCMApply": {
        "model": None,
        "clip": None,
        "motion_module": None,
        "acceleration_lora": ...,
        "style_lora": "none",
        "alpha": 1.0,
        "beta": 0.8,
        "gamma": 1.0,
        "schedule": "automatic (from the motion module)",
        "motion_scale": 1.0,
        "gamma_mask": None,
        "motion_scale_mask": None,
        "group_norm": "automatic (from the motion module)",
    },
    "AnimateLCMEmptyLatent": {"width": 512, "height": 512, "frames": 16},
    "AnimateLCMSampler": {
        "model": None,
        "positive": None,
        "negative": None,
        "latent": None,
        "seed": 0,
        "steps": 4,
        "cfg": 1.0,
        "denoise": 1.0,
    },
    "AnimateLCMSigmas": {"model": None, "steps": 4, "denoise": 1.0},
    "AnimateLCMSamplerSelect": {},
    "AnimateLCMSaveVideo": {
        "images": None,
        "fps": 8.0,
        "filename_prefix": "AnimateLCM/video",
        "format": "MP4 (H.264)",
        "quality": 80,
        "ping_pong": False,
        "audio": None,
    },
    "AnimateLCMImageToVideo": {
        "model": None,
        "vae": None,
        "image": None,
        "width": 512,
        "height": 512,
        "frames": 16,
        "motion_scale": 0.8,
        "strength": 1.0,
        "start": 0.0,
        "end": 1.0,
        "keyframes": "",
        "level_strengths": "1, 1, 1, 1",
    },
    "AnimateLCMLoadVideo": {
        "video": ...,
        "start": 0.0,
        "frames": 16,
        "every_nth": 1,
        "width": 512,
        "height": 512,
    },
    "AnimateLCMMatchColors": {"images": None, "picture": None, "strength": 1.0},
    "AnimateLCMLayout": {"text": ...},
    "AnimateLCMLayoutBox": {
        "layout": None,
        "name": "thing",
        "prompt": "",
        "frame": 0,
        "x": 0.3,
        "y": 0.3,
        "width": 0.4,
        "height": 0.4,
        "easing": "linear",
    },
    "AnimateLCMLayoutPreview": {"layout": None, "width": 512, "height": 512, "frames": 16},
    "AnimateLCMLayoutHints": {
        "layout": None,
        "width": 512,
        "height": 512,
        "frames": 16,
        "kind": "outline",
        "line_width": 2.0,
    },
    "AnimateLCMLayoutConditioning": {
        "clip": None,
        "conditioning": None,
        "layout": None,
        "width": 512,
        "height": 512,
        "frames": 16,
        "strength": 0.7,
        "gligen": None,
    },
    "AnimateLCMPromptSchedule": {
        "clip": None,
        "text": ...,
        "frames": 16,
        "before": "",
        "after": "",
        "mixing": "linear",
    },
    "AnimateLCMLongClip": {
        "model": None,
        "length": 16,
        "overlap": 2,
        "loop": False,
        "repeat_noise": 1.0,
        "windows": "from afar",
        "weights": "pyramid",
        "stride": 1,
    },
    "AnimateLCMDecodeToVideo": {
        "latent": None,
        "vae": None,
        "fps": 8.0,
        "filename_prefix": "AnimateLCM/video",
        "format": "MP4 (H.264)",
        "quality": 80,
        "ping_pong": False,
        "picture": None,
        "audio": None,
    },
    "AnimateLCMCompile": {"model": None, "compiled": "motion module"},
}
OUTPUTS = {
    "AnimateLCMLoadMotionModule": ["motion_module"],
    "AnimateLCMMotionLora": ["motion_module"],
    "AnimateLCMApply": ["model", "clip"],
    "AnimateLCMEmptyLatent": ["latent"],
    "AnimateLCMSampler": ["latent"],
    "AnimateLCMSigmas": ["sigmas"],
    "AnimateLCMSamplerSelect": ["sampler"],
    "AnimateLCMSaveVideo": [],
    "AnimateLCMImageToVideo": ["model", "latent"],
    "AnimateLCMLoadVideo": ["images", "fps", "audio"],
    "AnimateLCMMatchColors": ["images"],
    "AnimateLCMLayout": ["layout"],
    "AnimateLCMLayoutBox": ["layout"],
    "AnimateLCMLayoutPreview": ["image"],
    "AnimateLCMLayoutHints": ["images"],
    "AnimateLCMLayoutConditioning": ["conditioning"],
    "AnimateLCMPromptSchedule": ["conditioning"],
    "AnimateLCMLongClip": ["model"],
    "AnimateLCMDecodeToVideo": [],
    "AnimateLCMCompile": ["model"],
}
OPTIONAL = {
    ("AnimateLCMSaveVideo", "audio"),
    ("AnimateLCMDecodeToVideo", "picture"),
    ("AnimateLCMDecodeToVideo", "audio"),
    *(("AnimateLCMApply", name) for name in ("clip", "motion_scale", "gamma_mask", "motion_scale_mask", "group_norm")),
    ("AnimateLCMSampler", "negative"),
    ("AnimateLCMLayoutBox", "layout"),
    ("AnimateLCMLayoutConditioning", "gligen"),
}


def inputs(node: type[io.ComfyNode]) -> list[io.Input]:
    return node.GET_SCHEMA().inputs or []


def test_the_ids_are_these() -> None:
    assert NODES.keys() == INPUTS.keys()


@EVERY
def test_inputs_and_defaults_are_fixed(node: type[io.ComfyNode]) -> None:
    expected = INPUTS[node.GET_SCHEMA().node_id]
    assert [i.id for i in inputs(node)] == list(expected)
    found = {i.id: getattr(i, "default", None) for i in inputs(node)}
    assert {name: value for name, value in expected.items() if value is not ...}.items() <= found.items()
    optional = {(node.GET_SCHEMA().node_id, i.id) for i in inputs(node) if i.optional}
    assert optional == {pair for pair in OPTIONAL if pair[0] == node.GET_SCHEMA().node_id}


@EVERY
def test_outputs_are_fixed(node: type[io.ComfyNode]) -> None:
    assert [output.display_name for output in node.GET_SCHEMA().outputs or []] == OUTPUTS[node.GET_SCHEMA().node_id]


@EVERY
def test_everything_is_explained(node: type[io.ComfyNode]) -> None:
    schema = node.GET_SCHEMA()
    assert schema.category == "AnimateLCM"
    assert schema.display_name and schema.description
    assert all(i.tooltip for i in [*inputs(node), *(schema.outputs or [])])


@EVERY
def test_a_help_page_names_every_input(node: type[io.ComfyNode]) -> None:
    page = (HELP / f"{node.GET_SCHEMA().node_id}.md").read_text(encoding="utf-8")
    assert page.startswith(f"# {node.GET_SCHEMA().display_name}\n")
    assert "**Pitfall" in page
    assert not [i.id for i in inputs(node) if i.id not in page]


@EVERY
def test_a_help_page_shows_a_picture_and_says_what_is_on_it(node: type[io.ComfyNode]) -> None:
    page = (HELP / f"{node.GET_SCHEMA().node_id}.md").read_text(encoding="utf-8")
    ((words, file),) = re.findall(r"^!\[(.+)\]\((.+)\)$", page, re.MULTILINE)
    assert len(words.split()) > 5
    assert (HELP / file).read_bytes().startswith(b"\x89PNG")


def test_no_picture_is_left_over() -> None:
    pages = "".join(path.read_text(encoding="utf-8") for path in HELP.glob("*.md"))
    assert not [path.name for path in HELP.glob("*.png") if f"({path.name})" not in pages]


@EVERY
def test_execute_takes_what_the_schema_promises(node: type[io.ComfyNode]) -> None:
    assert set(inspect.signature(node.execute).parameters) == {i.id for i in inputs(node)}


def test_numbers_name_their_range() -> None:
    numbers = [i for node in NODES.values() for i in inputs(node) if isinstance(i, io.Int.Input | io.Float.Input)]
    assert len(numbers) == 52
    for number in numbers:
        assert number.min is not None and number.max is not None
        assert number.min <= number.default <= number.max


def test_residuals_are_sliders_with_their_greek_letters() -> None:
    sliders = [i for i in inputs(NODES["AnimateLCMApply"]) if i.id in ("alpha", "beta", "gamma")]
    assert [i.display_name for i in sliders] == ["α alpha", "β beta", "γ gamma"]
    assert all(i.as_dict()["display"] == "slider" for i in sliders)
