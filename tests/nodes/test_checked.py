"""What a program may post in place of an input: every node, every input, every kind of wrong value."""

import asyncio
import inspect
import json
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import execution
import pytest
import torch
from animatelcm.layout.boxes import Layout
from animatelcm.nodes.checked import KINDS, InputError, check_inputs, shown
from animatelcm.nodes.extension import AnimateLCMExtension
from animatelcm.nodes.inputs import FileInput, PerFrameInput
from animatelcm.nodes.load_motion_module import AnimateLCMLoadMotionModule
from animatelcm.nodes.mini import register_mini
from comfy_api.internal import make_locked_method_func
from comfy_api.latest import io

import nodes

MINI = "animatelcm_mini_synthetic.safetensors"
MINI_MOTION = "animatelcm_mini_synthetic_t2v.safetensors"
NODES = {node.GET_SCHEMA().node_id: node for node in asyncio.run(AnimateLCMExtension().get_node_list())}
INPUTS = [(node, expected) for node in NODES.values() for expected in node.GET_SCHEMA().inputs or []]
EVERY = pytest.mark.parametrize("node", NODES.values(), ids=NODES)

WRONG = {
    "null": None,
    "number": 7,
    "fraction": 0.5,
    "truth": True,
    "text": "no such thing",
    "empty dictionary": {},
    "dictionary": {"samples": None},
    "empty list": [],
    "list": [[1, 2]],
    "short list": [[torch.zeros(1)]],
    "nan": math.nan,
    "infinity": math.inf,
    "huge": 10**5000,
    "below all": -(10**400),
    "tensor": torch.zeros(2),
    "empty image": torch.zeros(0, 8, 8, 3),
    "class": dict,
}
# What is right in some input, by what the input is
FITS = {
    io.Int.Input: {"number"},
    io.Float.Input: {"number", "fraction"},
    PerFrameInput: {"number", "fraction"},
    io.String.Input: {"text"},
    FileInput: {"text"},  # told by the node's own code, which looks for the file
    io.Boolean.Input: {"truth"},
}


def wrong_values(expected: io.Input) -> dict[str, Any]:
    fits = FITS.get(type(expected), set()) | (
        {"null"} if expected.optional and getattr(expected, "default", None) is None else set()
    )
    return {name: value for name, value in WRONG.items() if name not in fits or out_of_range(expected, value)}


def out_of_range(expected: io.Input, value: Any) -> bool:
    is_number = isinstance(expected, io.Int.Input | io.Float.Input) and value is not None
    return is_number and not expected.min <= value <= expected.max


CASES = [
    pytest.param(node, expected.id, value, id=f"{node.GET_SCHEMA().node_id}-{expected.id}-{name}")
    for node, expected in INPUTS
    for name, value in wrong_values(expected).items()
]


def default(expected: io.Input) -> Any:
    """What the page puts in."""
    if isinstance(expected, io.Combo.Input) and expected.default is None:
        return expected.options[0]
    return getattr(expected, "default", None)


@pytest.fixture(scope="module")
def right() -> dict[str, Any]:
    """One value of each of ComfyUI's types, but for those that are never needed."""
    register_mini()
    model, clip, vae = nodes.CheckpointLoaderSimple().load_checkpoint(MINI)
    motion = AnimateLCMLoadMotionModule.execute(MINI_MOTION)[0]
    return {
        "ANIMATELCM_MOTION_MODULE": motion,
        "MODEL": model,
        "CLIP": clip,
        "VAE": vae,
        "CONDITIONING": [[torch.zeros(1, 77, 64), {}]],
        "LATENT": {"samples": torch.zeros(2, 4, 8, 8)},
        "IMAGE": torch.zeros(2, 64, 64, 3),
        "MASK": torch.zeros(2, 64, 64),
        "LAYOUT": Layout(),
        "GLIGEN": None,
        "STRING": "a text",
    }


def given(node: type[io.ComfyNode], right: dict[str, Any]) -> dict[str, Any]:
    """What a node gets from a right graph."""
    return {i.id: right.get(i.io_type, default(i)) for i in node.GET_SCHEMA().inputs or []}


def test_there_are_enough_cases() -> None:
    assert len(CASES) > 1000


def test_the_types_of_all_inputs_are_known() -> None:
    """A node that brings a type of its own says in `KINDS` what it is."""
    numbers = io.Int.Input | io.Float.Input
    assert {i.io_type for _, i in INPUTS if not isinstance(i, numbers)} == KINDS.keys()


@EVERY
def test_what_belongs_there_is_taken(node: type[io.ComfyNode], right: dict[str, Any]) -> None:
    check_inputs(node.GET_SCHEMA(), given(node, right))


@EVERY
def test_both_ends_of_a_range_belong_to_it(node: type[io.ComfyNode], right: dict[str, Any]) -> None:
    for end in ("min", "max"):
        ends = {i.id: getattr(i, end) for i in node.GET_SCHEMA().inputs or [] if hasattr(i, end)}
        check_inputs(node.GET_SCHEMA(), given(node, right) | {name: value for name, value in ends.items() if value})


PER_FRAME = pytest.mark.parametrize(
    ("node", "name"), [(node, i.id) for node, i in INPUTS if isinstance(i, PerFrameInput)]
)


@PER_FRAME
def test_one_number_per_frame_is_taken(node: type[io.ComfyNode], name: str, right: dict[str, Any]) -> None:
    check_inputs(node.GET_SCHEMA(), given(node, right) | {name: [0.0, 1, 0.5]})


@PER_FRAME
@pytest.mark.parametrize("odd", [math.nan, -1.0, None, "1", [1.0]], ids=str)
def test_of_one_number_per_frame_each_is_looked_at(
    node: type[io.ComfyNode], name: str, odd: Any, right: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match=f"{name} of .* is a list. Expected a number from 0 to .*, or a list of them"):
        check_inputs(node.GET_SCHEMA(), given(node, right) | {name: [0.5, odd]})


@pytest.mark.parametrize(("node", "name", "value"), CASES)
def test_anything_else_is_refused_by_the_inputs_name(
    node: type[io.ComfyNode], name: str, value: Any, right: dict[str, Any]
) -> None:
    with pytest.raises(InputError) as refused:
        node.execute(**given(node, right) | {name: value})
    message = str(refused.value)
    assert message.startswith(f"{name} of '{node.GET_SCHEMA().display_name}' is ")
    assert ". Expected " in message
    assert len(message) < 400


@EVERY
def test_a_null_in_place_of_everything_is_refused_as_comfyui_calls_nodes(node: type[io.ComfyNode]) -> None:
    names = [expected.id for expected in node.GET_SCHEMA().inputs or []]
    run = make_locked_method_func(node, "EXECUTE_NORMALIZED", node.PREPARE_CLASS_CLONE({}))
    if names:
        with pytest.raises(InputError, match="Expected"):
            run(**dict.fromkeys(names))


def validation(node: type[io.ComfyNode], inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What ComfyUI says of a posted node whose links are nulls."""
    node_id = node.GET_SCHEMA().node_id
    monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, node_id, node)
    posted = {"1": {"class_type": node_id, "inputs": json.loads(json.dumps(inputs))}}
    with ThreadPoolExecutor(1) as thread:  # in this one, a browser of other tests may have a loop running
        _, errors, _ = thread.submit(asyncio.run, execution.validate_inputs("prompt", posted, "1", {})).result()
    return [error["details"] for error in errors]


CHOICES = [(node, i.id) for node, i in INPUTS if isinstance(i, io.Combo.Input)]


@pytest.mark.parametrize("value", ["no such thing", 7, {}, {"a": 1}], ids=str)
@pytest.mark.parametrize(("node", "name"), CHOICES, ids=lambda part: getattr(part, "__name__", part))
def test_a_wrong_choice_is_told_at_most_once_before_the_queue_and_under_its_name(
    node: type[io.ComfyNode], name: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = {i.id: default(i) for i in node.GET_SCHEMA().inputs or []}
    details = validation(node, inputs | {name: value}, monkeypatch)
    assert all(detail.startswith(name) for detail in details)
    checked_here = name in inspect.signature(getattr(node, "validate_inputs", lambda: None)).parameters
    assert len(details) == 1 if checked_here else len(details) <= 1


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "missing (null)"),
        ("x" * 100, f"the text '{'x' * 40}'..."),
        (math.nan, "nan"),
        (-(10**4999), "a number of more than 40 digits"),
        (torch.zeros(2, 3), "a tensor of the shape (2, 3)"),
        ({"a": 1}, "a dict"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_message_shows_a_value_in_few_words(value: Any, words: str) -> None:
    assert shown(value) == words
