"""Prompts in regions that move, with the mini family: a mean of what each prompt predicts, weighted by its mask."""

from typing import Any

import comfy.cldm.cldm
import comfy.controlnet
import comfy.gligen
import comfy.ops
import comfy.sample
import comfy.samplers
import pytest
import torch
from animatelcm.layout.boxes import Box, Layout
from animatelcm.layout.draw import masks
from animatelcm.layout.keyframes import Keyframe
from animatelcm.nodes.gligen import GligenError
from animatelcm.nodes.layout_conditioning import AnimateLCMLayoutConditioning, LayoutConditioningError
from animatelcm.windows.frames import FRAMES as FRAMES_KEY
from animatelcm.windows.frames import Frames
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

import nodes

from ..relative_error import relative_error
from .conftest import fill

FRAMES, PIXELS, WIDTH = 4, 64, 64
NOISE = torch.randn(FRAMES, 4, PIXELS // 8, PIXELS // 8, generator=torch.Generator().manual_seed(3))
MOVING = Box("moving", (Keyframe(0, 0.0, 0.0, 0.5, 0.5), Keyframe(3, 0.5, 0.3, 0.5, 0.6)), "a red circle")
STILL = Box("still", (Keyframe(0, 0.3, 0.2, 0.6, 0.5),), "a green square")
SILENT = Box("silent", (Keyframe(0, 0.5, 0.5, 0.5, 0.5),))
TRANSFORMERS = [("input_blocks", i) for i in (1, 2, 4, 5, 7, 8)] + [("middle_block", 1)]
TRANSFORMERS += [("output_blocks", i) for i in range(3, 12)]
Conds = list[list[Any]]


@pytest.fixture
def model(mini: tuple[ModelPatcher, Any]) -> ModelPatcher:
    return mini[0]


def encode(clip: Any, text: str, **values: Any) -> Conds:
    return [[cond, told | values] for cond, told in clip.encode_from_tokens_scheduled(clip.tokenize(text))]


def regional(clip: Any, conditioning: Conds, *boxes: Box, strength: float = 0.7, gligen: Any = None) -> Conds:
    return AnimateLCMLayoutConditioning.execute(
        clip, conditioning, Layout(boxes), PIXELS, PIXELS, FRAMES, strength, gligen
    )[0]


def predict(model: ModelPatcher, conditioning: Conds, noise: Tensor = NOISE, sigma: float = 10.0) -> Tensor:
    """What one Euler step to the end gives: the predicted x0, which is linear in the prompts' predictions."""
    sampler, sigmas = comfy.samplers.sampler_object("euler"), torch.tensor([sigma, 0.0])
    options: dict[str, Any] = {"disable_pbar": True, "seed": 1}
    latent = torch.zeros_like(noise)
    return comfy.sample.sample_custom(model, noise, 1.0, sampler, sigmas, conditioning, conditioning, latent, **options)


def apply_control(model: ModelPatcher, conditioning: Conds) -> Conds:
    """A ControlNet with random weights, as 'Apply ControlNet' puts it, with the same hints each time."""
    sizes = dict(model.model.model_config.unet_config)
    sizes = {name: value for name, value in sizes.items() if name not in ("out_channels", "use_temporal_attention")}
    sizes |= {"hint_channels": 3, "operations": comfy.ops.disable_weight_init, "dtype": torch.float32}
    network = fill(comfy.cldm.cldm.ControlNet(**sizes), seed=7)
    control = comfy.controlnet.ControlNet(network, load_device=torch.device("cpu"))
    hints = torch.rand(FRAMES, PIXELS, PIXELS, 3, generator=torch.Generator().manual_seed(5))
    return nodes.ControlNetApplyAdvanced().apply_controlnet(conditioning, [], control, hints, 1.0, 0.0, 1.0)[0]


def shares(*boxes: Box, strength: float) -> Tensor:
    return strength * masks(Layout(boxes), FRAMES, PIXELS // 8, PIXELS // 8)[:, :, None]


def assert_same(found: Tensor, expected: Tensor) -> None:
    assert relative_error(found, expected) < 1e-4


# Regions


def test_a_box_is_a_weighted_mean_of_its_prompt_and_the_pictures(model: ModelPatcher, clip: Any) -> None:
    whole = encode(clip, "a blue background")
    (share,) = shares(MOVING, strength=0.7)
    expected = torch.lerp(predict(model, whole), predict(model, encode(clip, MOVING.prompt)), share)
    found = predict(model, regional(clip, whole, MOVING))
    assert (found - predict(model, whole)).abs().max() > 0.1
    assert_same(found, expected)


def test_every_frame_has_its_own_region(model: ModelPatcher, clip: Any) -> None:
    """The box walks over the picture pixel by pixel of the latent: what is its own, and what is not, is closed form."""
    keyframes = Keyframe(0, 0.0, 0.25, 0.5, 0.5), Keyframe(3, 0.375, 0.25, 0.5, 0.5)
    whole, own = encode(clip, "a blue background"), encode(clip, "a red circle")
    found = predict(model, regional(clip, whole, Box("walks", keyframes, "a red circle"), strength=1.0))
    expected, inside = predict(model, whole), predict(model, own)
    for i in range(FRAMES):
        expected[i, :, 2:6, i : i + 4] = inside[i, :, 2:6, i : i + 4]
    assert_same(found, expected)


def test_width_and_height_are_the_videos(model: ModelPatcher, clip: Any) -> None:
    wide = Box("wide", (Keyframe(0, 0.1, 0.5, 0.9, 0.25),), "a red circle")
    whole, noise = encode(clip, "a blue background"), NOISE.repeat(1, 1, 1, 2)
    given = AnimateLCMLayoutConditioning.execute(clip, whole, Layout((wide,)), 128, 64, FRAMES, 0.7)[0]
    share = 0.7 * masks(Layout((wide,)), FRAMES, 16, 8)[0, :, None]
    expected = torch.lerp(predict(model, whole, noise), predict(model, encode(clip, wide.prompt), noise), share)
    assert_same(predict(model, given, noise), expected)


def test_boxes_that_overlap_share_a_place(model: ModelPatcher, clip: Any) -> None:
    whole = encode(clip, "a blue background")
    one, other = shares(MOVING, STILL, strength=0.5)
    rest = (1 - one) * (1 - other)
    parts = [(whole, rest), (encode(clip, MOVING.prompt), one), (encode(clip, STILL.prompt), other)]
    weighted = sum(share * predict(model, prompt) for prompt, share in parts)
    assert_same(predict(model, regional(clip, whole, MOVING, STILL, strength=0.5)), weighted / (rest + one + other))


def test_at_full_strength_a_box_is_its_prompts_alone(model: ModelPatcher, clip: Any) -> None:
    everywhere = Box("all", (Keyframe(0, 0.0, 0.0, 1.0, 1.0),), "a red circle")
    found = predict(model, regional(clip, encode(clip, ""), everywhere, strength=1.0))
    assert_same(found, predict(model, encode(clip, "a red circle")))


def test_at_no_strength_nothing_changes(model: ModelPatcher, clip: Any) -> None:
    whole = encode(clip, "a blue background")
    assert_same(predict(model, regional(clip, whole, MOVING, strength=0.0)), predict(model, whole))


def test_a_box_without_a_prompt_is_left_to_the_picture(model: ModelPatcher, clip: Any) -> None:
    whole = encode(clip, "a blue background")
    found = regional(clip, whole, MOVING, SILENT)
    assert len(found) == 2
    assert_same(predict(model, found), predict(model, regional(clip, whole, MOVING)))


def test_boxes_have_the_pictures_control(model: ModelPatcher, clip: Any) -> None:
    controlled = apply_control(model, encode(clip, "a blue background"))
    found = predict(model, regional(clip, controlled, MOVING))
    own = predict(model, apply_control(model, encode(clip, MOVING.prompt)))
    (share,) = shares(MOVING, strength=0.7)
    assert_same(found, torch.lerp(predict(model, controlled), own, share))
    assert (own - predict(model, encode(clip, MOVING.prompt))).abs().max() > 0.1


@pytest.mark.parametrize(("sigma", "now"), [(10.0, 0), (0.5, 1)])
def test_boxes_are_there_at_all_times_of_the_picture(model: ModelPatcher, clip: Any, sigma: float, now: int) -> None:
    """Two prompts take turns; the noise's sigma is 1.6 in between. A box's prompt stays for both."""
    prompts = encode(clip, "a blue background"), encode(clip, "a yellow triangle")
    within = nodes.ConditioningSetTimestepRange().set_range
    whole = within(prompts[0], 0.0, 0.5)[0] + within(prompts[1], 0.5, 1.0)[0]
    current, own = (predict(model, prompt, sigma=sigma) for prompt in (prompts[now], encode(clip, MOVING.prompt)))
    (share,) = shares(MOVING, strength=1.0)
    assert_same(predict(model, regional(clip, whole, MOVING, strength=1.0), sigma=sigma), current.lerp(own, share))


def test_boxes_keep_their_share_beside_combined_prompts(model: ModelPatcher, clip: Any) -> None:
    one, other = encode(clip, "a blue background"), encode(clip, "a yellow triangle")
    (share,) = shares(MOVING, strength=0.7)
    mean = (predict(model, one) + predict(model, other)) / 2
    expected = mean.lerp(predict(model, encode(clip, MOVING.prompt)), share)
    assert_same(predict(model, regional(clip, one + other, MOVING)), expected)


def test_boxes_have_the_pictures_settings_but_their_own_prompt(clip: Any) -> None:
    whole = nodes.ConditioningSetTimestepRange().set_range(encode(clip, "a blue background"), 0.2, 0.9)[0]
    (_, picture), (embedding, box) = regional(clip, whole, MOVING)
    assert (box["start_percent"], box["end_percent"]) == (0.2, 0.9)
    ((expected, values),) = encode(clip, MOVING.prompt)
    assert torch.equal(embedding, expected)
    assert torch.equal(box["pooled_output"], values["pooled_output"])
    assert not torch.equal(box["pooled_output"], picture["pooled_output"])


def test_what_was_given_is_not_changed(clip: Any) -> None:
    whole = encode(clip, "a blue background")
    before = set(whole[0][1])
    regional(clip, whole, MOVING)
    assert set(whole[0][1]) == before


def test_a_layout_without_a_prompt_is_refused(clip: Any) -> None:
    with pytest.raises(LayoutConditioningError, match="No box of this layout has a prompt"):
        regional(clip, encode(clip, ""), SILENT)


@pytest.mark.parametrize("region", [{"mask": torch.ones(1, 8, 8)}, {"area": (4, 4, 0, 0)}])
def test_a_prompt_with_a_region_of_its_own_is_refused(clip: Any, region: dict[str, Any]) -> None:
    with pytest.raises(LayoutConditioningError, match="has a region of its own"):
        regional(clip, encode(clip, "", **region), MOVING)


# GLIGEN


@pytest.fixture(scope="module")
def gligen() -> ModelPatcher:
    """A real GLIGEN of the mini family's width, with random weights, read as ComfyUI's loader reads a file's."""
    generator = torch.Generator().manual_seed(4)

    def filled(module: nn.Module) -> dict[str, Tensor]:
        return {
            name: 0.2 * torch.randn(value.shape, generator=generator) for name, value in module.state_dict().items()
        }

    weights = {f"position_net.{name}": value for name, value in filled(comfy.gligen.PositionNet(WIDTH, WIDTH)).items()}
    for side, index in TRANSFORMERS:
        fuser = comfy.gligen.GatedSelfAttentionDense(WIDTH, WIDTH, 1, WIDTH)
        place = f"{side}.{index}.1.transformer_blocks.0.fuser"
        weights |= {f"{place}.{name}": value for name, value in filled(fuser).items()}
    return ModelPatcher(comfy.gligen.load_gligen(weights), torch.device("cpu"), torch.device("cpu"))


def core(clip: Any, gligen: ModelPatcher, whole: Conds, box: Box, frame: int) -> Conds:
    """ComfyUI's own node, with a box in whole multiples of 8 pixels."""
    x, y, width, height = (round(PIXELS * share) for share in box.at(frame))
    assert not any(side % 8 for side in (x, y, width, height))
    return nodes.GLIGENTextBoxApply().append(whole, clip, gligen, box.prompt, width, height, x, y)[0]


def told(clip: Any, gligen: ModelPatcher, whole: Conds, *boxes: Box) -> Conds:
    return regional(clip, whole, *boxes, strength=0.0, gligen=gligen)


def test_a_still_box_is_told_as_comfyuis_own_node_tells_it(
    model: ModelPatcher, clip: Any, gligen: ModelPatcher
) -> None:
    box, whole = Box("box", (Keyframe(0, 0.25, 0.125, 0.375, 0.25),), "a red circle"), encode(clip, "a picture")
    found = predict(model, told(clip, gligen, whole, box))
    assert (found - predict(model, whole)).abs().max() > 0.05
    assert_same(found, predict(model, core(clip, gligen, whole, box, 0)))


def test_a_moving_box_is_told_at_its_place_in_every_frame(still_mini: ModelPatcher, clip: Any, gligen: Any) -> None:
    keyframes = Keyframe(0, 0.0, 0.0, 0.5, 0.5), Keyframe(3, 0.375, 0.375, 0.5, 0.5)
    box, whole = Box("box", keyframes, "a red circle"), encode(clip, "a picture")
    found = predict(still_mini, told(clip, gligen, whole, box))
    alone = [predict(still_mini, core(clip, gligen, whole, box, i), NOISE[i : i + 1]) for i in range(FRAMES)]
    assert_same(found, torch.cat(alone))
    assert (found - predict(still_mini, core(clip, gligen, whole, box, 0))).abs().max() > 0.003


@pytest.mark.parametrize("frames", [Frames((2, 3), FRAMES), Frames((2, 3), FRAMES, anchor=1), Frames((3, 0), FRAMES)])
def test_a_box_is_told_at_its_place_in_a_window(still_mini: Any, clip: Any, gligen: Any, frames: Frames) -> None:
    conditioning, rows = told(clip, gligen, encode(clip, "a picture"), MOVING), list(frames.numbers)
    windowed = still_mini.clone()
    windowed.model_options["transformer_options"][FRAMES_KEY] = frames
    found = predict(windowed, conditioning, NOISE[rows])
    assert_same(found, predict(still_mini, conditioning)[rows])
    assert (found - predict(still_mini, conditioning, NOISE[rows])).abs().max() > 0.003


def test_a_layout_of_fewer_frames_starts_again_as_masks_do(still_mini: Any, clip: Any, gligen: Any) -> None:
    conditioning = told(clip, gligen, encode(clip, "a picture"), MOVING)
    found = predict(still_mini, conditioning, NOISE.repeat(2, 1, 1, 1))
    assert_same(found, predict(still_mini, conditioning).repeat(2, 1, 1, 1))


def test_several_boxes_are_told_as_a_chain_of_comfyuis_own_nodes(
    model: ModelPatcher, clip: Any, gligen: ModelPatcher
) -> None:
    one = Box("one", (Keyframe(0, 0.25, 0.125, 0.375, 0.25),), "a red circle")
    other = Box("other", (Keyframe(0, 0.0, 0.5, 0.5, 0.375),), "a green square")
    whole = encode(clip, "a picture")
    chained = core(clip, gligen, core(clip, gligen, whole, one, 0), other, 0)
    assert_same(predict(model, told(clip, gligen, whole, one, SILENT, other)), predict(model, chained))


def test_gligen_is_told_the_part_of_a_box_that_is_in_the_picture(
    model: ModelPatcher, clip: Any, gligen: ModelPatcher
) -> None:
    leaving = Box("box", (Keyframe(0, -0.25, 0.75, 0.5, 0.5),), "a red circle")
    seen = Box("box", (Keyframe(0, 0.0, 0.75, 0.25, 0.25),), "a red circle")
    whole = encode(clip, "a picture")
    assert_same(predict(model, told(clip, gligen, whole, leaving)), predict(model, core(clip, gligen, whole, seen, 0)))


def test_the_boxes_prompts_are_told_the_places_too(model: ModelPatcher, clip: Any, gligen: ModelPatcher) -> None:
    """Regions and GLIGEN together: the mean of predictions that all know the places."""
    box, whole = Box("box", (Keyframe(0, 0.25, 0.125, 0.375, 0.25),), "a red circle"), encode(clip, "a picture")
    (share,) = shares(box, strength=0.7)
    parts = [predict(model, core(clip, gligen, prompt, box, 0)) for prompt in (whole, encode(clip, box.prompt))]
    assert_same(predict(model, regional(clip, whole, box, gligen=gligen)), torch.lerp(*parts, share))


def test_as_many_boxes_as_gligen_knows_are_told(clip: Any, gligen: ModelPatcher) -> None:
    many = [Box(str(i), STILL.keyframes, "a thing") for i in range(30)]
    ((_, values), *_) = told(clip, gligen, encode(clip, ""), *many, SILENT)
    assert len(values["gligen"][2]) == 30


def test_more_boxes_than_gligen_knows_are_refused(clip: Any, gligen: ModelPatcher) -> None:
    many = [Box(str(i), STILL.keyframes, "a thing") for i in range(31)]
    with pytest.raises(GligenError, match="31 boxes with a prompt, and GLIGEN takes 30"):
        told(clip, gligen, encode(clip, ""), *many)


def test_boxes_that_another_gligen_node_told_are_refused(clip: Any, gligen: ModelPatcher) -> None:
    before = core(clip, gligen, encode(clip, ""), Box("box", (Keyframe(0, 0.25, 0.125, 0.375, 0.25),), "a thing"), 0)
    with pytest.raises(GligenError, match="boxes from another GLIGEN node"):
        told(clip, gligen, before, MOVING)
