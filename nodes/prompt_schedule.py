"""The node that tells each frame its own prompt."""

from typing import Any

import torch
from comfy_api.latest import io, ui

from ..prompts.mixing import MIXINGS, Mix, as_long_as_each_other, mixed, mixes, stretches
from ..prompts.parse import PromptError, at_frames, read_prompts
from ..prompts.preview import preview
from .checked import checked
from .compatibility import known
from .inputs import frames_input
from .progress import on_frame

START = "0: a red circle moving right\n16: a blue circle moving left"


@checked
class AnimateLCMPromptSchedule(io.ComfyNode):
    """Prompts that change over time, as a conditioning with a row per frame."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AnimateLCMPromptSchedule",
            display_name="AnimateLCM Prompt Schedule",
            category="AnimateLCM",
            description="Prompts that change over time: one per keyframe, mixed in between. Shows what each stretch of "
            "frames is told.",
            inputs=[
                io.Clip.Input("clip", tooltip="Encodes the prompts: from 'Apply AnimateLCM'."),
                io.String.Input(
                    "text",
                    multiline=True,
                    default=START,
                    dynamic_prompts=True,
                    tooltip="A keyframe per line: its frame, counted from 0, a colon and the prompt. Negative frames "
                    'count from the end. BatchPromptSchedule\'s form, "0": "...", "16": "...", is read as well.',
                ),
                frames_input("as the video's"),
                _everywhere("before"),
                _everywhere("after"),
                io.Combo.Input(
                    "mixing",
                    options=list(MIXINGS),
                    default="linear",
                    tooltip="How one prompt turns into the next: evenly; slowly at both ends; or not at all until the "
                    "next keyframe.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(
                    display_name="conditioning", tooltip="A row per frame, for a positive or a negative input."
                )
            ],
            **known(io.Schema, search_aliases=["prompt travel", "batch prompt schedule", "prompts over time"]),
        )

    @classmethod
    def validate_inputs(cls, text: str | None = None) -> bool | str:
        """Check what is written here; what another node hands over is None at this time."""
        try:
            if text is not None:
                read_prompts(text)
        except PromptError as error:
            return str(error)
        return True

    @classmethod
    def execute(cls, clip: Any, text: str, frames: int, before: str, after: str, mixing: str) -> io.NodeOutput:
        told = mixes(at_frames(read_prompts(text), frames), frames, mixing)
        shown = ui.PreviewImage(preview(told), cls=cls).as_dict()
        words = "\n".join(map(str, stretches(told)))
        return io.NodeOutput(encoded(clip, told, before, after), ui={**shown, "text": (words,)})


def encoded(clip: Any, told: list[Mix], before: str = "", after: str = "") -> list[list[Any]]:
    """Return a conditioning with a row per frame; of several (a CLIP whose LoRAs change over time), if the CLIP's are.

    `before` and `after` are words that are added to every prompt.
    """
    prompts = dict.fromkeys(prompt for mix in told for prompt in (mix.one, mix.other))
    whole = {prompt: " ".join(filter(None, (before, prompt, after))) for prompt in prompts}
    show, encodings = on_frame(), []
    for number, words in enumerate(whole.values()):
        show(number, len(whole))
        encodings.append(clip.encode_from_tokens_scheduled(clip.tokenize(words)))
    return [_row_per_frame(dict(zip(prompts, turn, strict=True)), told) for turn in zip(*encodings, strict=True)]


def _row_per_frame(encodings: dict[str, list[Any]], told: list[Mix]) -> list[Any]:
    """Mix pairs of an embedding, (1, tokens, channels), and values such as "pooled_output", (1, channels)."""
    embeddings = as_long_as_each_other({prompt: embedding for prompt, (embedding, _) in encodings.items()})
    values = dict(next(iter(encodings.values()))[1])
    pooled = {prompt: values.get("pooled_output") for prompt, (_, values) in encodings.items()}
    if all(isinstance(one, torch.Tensor) for one in pooled.values()):
        values["pooled_output"] = mixed(pooled, told)
    return [mixed(embeddings, told), values]


def _everywhere(name: str) -> io.String.Input:
    tooltip = f"Words that every prompt has {name} it, such as a style."
    return io.String.Input(name, default="", multiline=True, tooltip=tooltip)
