"""The table of our nodes says what the nodes themselves say."""

import asyncio

import pytest
from animatelcm.migration.ours import CFG_WIDGETS, KINDS
from animatelcm.nodes.extension import AnimateLCMExtension
from comfy_api.latest import io

import nodes as comfy_nodes

OURS = {node.GET_SCHEMA().node_id: node for node in asyncio.run(AnimateLCMExtension().get_node_list())}
SHARED = [type for type in KINDS if type in OURS]


def page_order(inputs: list[io.Input]) -> list[io.Input]:
    return [i for i in inputs if not i.optional] + [i for i in inputs if i.optional]


def test_all_nodes_are_ours_or_comfyuis() -> None:
    assert {type for type in KINDS if type not in OURS} == {"CheckpointLoaderSimple", "ModelSamplingDiscrete"}


@pytest.mark.parametrize("type", SHARED)
def test_inputs_are_the_nodes_own(type: str) -> None:
    schema, kind = OURS[type].GET_SCHEMA(), KINDS[type]
    inputs = page_order(schema.inputs)
    assert list(kind.inputs) == [i.id for i in inputs]
    assert kind.name == schema.display_name
    for i in inputs:
        ours = kind.inputs[i.id]
        assert ours.type == i.io_type
        assert ours.optional == bool(i.optional)
        assert ours.widget == isinstance(i, io.WidgetInput)


@pytest.mark.parametrize("type", SHARED)
def test_defaults_options_and_ranges_are_the_nodes_own(type: str) -> None:
    for i in OURS[type].GET_SCHEMA().inputs:
        ours = KINDS[type].inputs[i.id]
        if isinstance(i, io.Int.Input | io.Float.Input):
            assert ours.range == (i.min, i.max)
        if ours.options:
            assert list(ours.options) == i.options
        if isinstance(i, io.WidgetInput) and (ours.options or not isinstance(i, io.Combo.Input)):
            assert ours.default == i.default


@pytest.mark.parametrize("type", SHARED)
def test_outputs_are_the_nodes_own(type: str) -> None:
    outputs = OURS[type].GET_SCHEMA().outputs or []
    assert list(KINDS[type].outputs.items()) == [(o.display_name, o.io_type) for o in outputs]


@pytest.mark.parametrize("type", ["KSampler", "KSamplerAdvanced"])
def test_guidance_stands_where_comfyui_has_it(type: str) -> None:
    position, length = CFG_WIDGETS[type]
    required = comfy_nodes.NODE_CLASS_MAPPINGS[type].INPUT_TYPES()["required"]
    widgets = [name for name, (kind, *_) in required.items() if isinstance(kind, list) or kind in ("INT", "FLOAT")]
    seed = next(index for index, name in enumerate(widgets) if name.endswith("seed"))
    widgets.insert(seed + 1, "control_after_generate")
    assert (widgets.index("cfg"), len(widgets)) == (position, length)
