"""Prompts over time with the mini family, through ComfyUI's own sampling."""

import re
from typing import Any

import comfy.sample
import comfy.samplers
import pytest
import torch
from animatelcm.layout.boxes import Box
from animatelcm.layout.keyframes import Keyframe
from animatelcm.nodes.preflight import with_mask_check
from animatelcm.nodes.prompt_schedule import AnimateLCMPromptSchedule
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from .test_layout_conditioning import FRAMES, NOISE, apply_control, assert_same, encode, predict, regional

RED, BLUE = "a large red circle", "a small blue square on a white background"
TURN = f"0: {RED}\n{FRAMES - 1}: {BLUE}"
LONG = " ".join([RED] * 30)


def schedule(clip: Any, text: str, frames: int = FRAMES, mixing: str = "linear", **words: str) -> list[list[Any]]:
    return AnimateLCMPromptSchedule.execute(
        clip, text, frames, words.get("before", ""), words.get("after", ""), mixing
    )[0]


def one_by_one(model: ModelPatcher, prompts: list[list[list[Any]]]) -> Tensor:
    return torch.cat([predict(model, prompt, NOISE[i : i + 1]) for i, prompt in enumerate(prompts)])


def test_every_frame_is_told_its_own_prompt(still_mini: ModelPatcher, clip: Any) -> None:
    found = predict(still_mini, schedule(clip, f"0: {RED}\n2: {BLUE}", mixing="hold"))
    prompts = [encode(clip, words) for words in (RED, RED, BLUE, BLUE)]
    assert_same(found, one_by_one(still_mini, prompts))


def test_between_keyframes_the_encodings_are_mixed(still_mini: ModelPatcher, clip: Any) -> None:
    ((red, _),), ((blue, _),) = encode(clip, RED), encode(clip, BLUE)
    rows = [[[torch.lerp(red, blue, i / (FRAMES - 1)), {}]] for i in range(FRAMES)]
    assert_same(predict(still_mini, schedule(clip, TURN)), one_by_one(still_mini, rows))


def test_pooled_outputs_are_mixed_as_the_encodings_are(clip: Any) -> None:
    (_, values), (_, red), (_, blue) = (
        cond[0] for cond in (schedule(clip, TURN), encode(clip, RED), encode(clip, BLUE))
    )
    rows = [torch.lerp(red["pooled_output"], blue["pooled_output"], i / (FRAMES - 1)) for i in range(FRAMES)]
    torch.testing.assert_close(values["pooled_output"], torch.cat(rows))


def test_prompts_of_other_token_counts_mix(still_mini: ModelPatcher, clip: Any) -> None:
    ((tokens, _),) = encode(clip, LONG)
    assert tokens.shape[1] > 77
    found = predict(still_mini, schedule(clip, f"0: {RED}\n-1: {LONG}", mixing="hold"))
    prompts = [encode(clip, words) for words in (RED, RED, RED, LONG)]
    assert_same(found, one_by_one(still_mini, prompts))


def test_words_before_and_after_are_in_every_prompt(clip: Any) -> None:
    found = schedule(clip, "0: red\n1: blue", before="a large", after="circle", mixing="hold")[0][0]
    assert_same(found[:2], torch.cat([encode(clip, f"a large {c} circle")[0][0] for c in ("red", "blue")]))


def test_a_negative_schedule_is_compared_frame_by_frame(still_mini: ModelPatcher, clip: Any) -> None:
    positive = encode(clip, "a green triangle")
    negative = schedule(clip, TURN, mixing="hold")
    found = guided(still_mini, positive, negative, NOISE)
    prompts = [encode(clip, words) for words in (RED, RED, RED, BLUE)]
    alone = [guided(still_mini, positive, prompt, NOISE[i : i + 1]) for i, prompt in enumerate(prompts)]
    assert_same(found, torch.cat(alone))


def guided(model: ModelPatcher, positive: Any, negative: Any, noise: Tensor) -> Tensor:
    sampler, sigmas = comfy.samplers.sampler_object("euler"), torch.tensor([10.0, 0.0])
    options: dict[str, Any] = {"disable_pbar": True, "seed": 1}
    latent = torch.zeros_like(noise)
    return comfy.sample.sample_custom(model, noise, 2.0, sampler, sigmas, positive, negative, latent, **options)


def test_a_controlnet_reads_each_frames_prompt(mini: tuple[ModelPatcher, Any]) -> None:
    """The same prompt in every row is the prompt itself, also for what reads it before the UNet."""
    model, clip = mini
    same = schedule(clip, f"0: {RED}\n2: {RED}")
    assert same[0][0].shape[0] == FRAMES
    expected = predict(model, apply_control(model, encode(clip, RED)))
    assert_same(predict(model, apply_control(model, same)), expected)
    other = predict(model, apply_control(model, schedule(clip, TURN)))
    assert (other - expected).abs().max() > 0.05


def test_a_layouts_prompts_go_beside_a_schedule(still_mini: ModelPatcher, clip: Any) -> None:
    box = Box("box", (Keyframe(0, 0.0, 0.0, 0.5, 0.5), Keyframe(3, 0.5, 0.3, 0.5, 0.6)), "a green square")
    found = predict(still_mini, regional(clip, schedule(clip, TURN, mixing="hold"), box))
    prompts = [regional(clip, encode(clip, words), box) for words in (RED, RED, RED, BLUE)]
    expected = [predict(still_mini, prompt)[i] for i, prompt in enumerate(prompts)]
    assert_same(found, torch.stack(expected))


def test_the_node_says_and_shows_what_each_stretch_is_told(clip: Any) -> None:
    shown = AnimateLCMPromptSchedule.execute(clip, TURN, FRAMES, "", "", "linear").ui
    assert shown["text"] == (f"0: {RED}\n1 to 2: 33 % to 67 % of the way from '{RED}' to '{BLUE}'\n3: {BLUE}",)
    (picture,) = shown["images"]
    assert picture["type"] == "temp"


@pytest.mark.parametrize(("frames", "said"), [(2, "begun again"), (6, "cut")])
def test_a_schedule_of_another_length_is_said(
    mini: tuple[ModelPatcher, Any], caplog: pytest.LogCaptureFixture, frames: int, said: str
) -> None:
    model, clip = mini
    predict(with_mask_check(model), schedule(clip, TURN))
    assert not caplog.records
    predict(with_mask_check(model), schedule(clip, f"0: {RED}\n1: {BLUE}", frames))
    assert f"a prompt has {frames} frames, and the video 4: it is {said}" in caplog.text


@pytest.mark.parametrize("text", ["a red circle", '"0": "a', ""])
def test_what_cannot_be_read_is_refused_before_anything_runs(text: str) -> None:
    assert re.match(r"Line 1, column \d+: ", str(AnimateLCMPromptSchedule.validate_inputs(text)))
    assert AnimateLCMPromptSchedule.validate_inputs(TURN) is True
    assert AnimateLCMPromptSchedule.validate_inputs(None) is True
