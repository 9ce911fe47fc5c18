"""Whether the inputs of a node are what its schema promises.

The page asks for nothing else, but a program may post a null, a number or a dictionary in place of a link, other packs'
nodes hand over anything, and ComfyUI checks the range of a number only where it is not linked (and NaN is in every
range). `checked` refuses all of that in one place, before a node's own code runs.

A node's `validate_inputs` should take one input at most: ComfyUI repeats what it returns once for each input that it
takes, under the name of each. What it does not take is checked here, as the node begins, under its own name.
"""

import functools
import inspect
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from comfy.model_base import BaseModel
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from torch import Tensor

from ..layout.boxes import Layout
from ..motion.transformer import MotionModule
from .inputs import FileInput, PerFrameInput

NodeType = TypeVar("NodeType", bound=type)

NAMED = 20  # options in a message
SHOWN = 40  # characters of a text, and digits of a number, in a message


class InputError(ValueError):
    """A node was given something else than its schema promises."""


@dataclass(frozen=True)
class Kind:
    """A type of ComfyUI's links: what it is, as the end of a sentence, and whether a value is one."""

    what: str
    fits: Callable[[Any], bool]


def checked(node: NodeType) -> NodeType:
    """Have a V3 node refuse what its schema does not promise.

    `execute` raises an `InputError`; `validate_inputs`, where the node has one, returns its message.
    """
    _wrap(node, "execute", _raising)
    if "validate_inputs" in vars(node):
        _wrap(node, "validate_inputs", _telling)
    return node


def check_inputs(schema: io.Schema, values: dict[str, Any]) -> None:
    """Refuse values, by the names of the inputs that they are for, that are not what a schema promises.

    Raises:
        InputError: with the input's name, what it was given, and what belongs there.
    """
    for expected in schema.inputs or []:
        left_out = expected.optional and getattr(expected, "default", None) is None
        if expected.id in values and not (left_out and values[expected.id] is None):
            kind, value = kind_of(expected), values[expected.id]
            if not kind.fits(value):
                raise InputError(f"{expected.id} of '{schema.display_name}' is {shown(value)}. Expected {kind.what}.")


def kind_of(expected: io.Input) -> Kind:
    """Return what belongs into an input."""
    if isinstance(expected, io.Int.Input | io.Float.Input):
        number = _number(isinstance(expected, io.Int.Input), expected.min, expected.max)
        return _or_one_per_frame(number) if isinstance(expected, PerFrameInput) else number
    if isinstance(expected, io.Combo.Input) and not isinstance(expected, FileInput):
        return _choice(expected.options)
    return KINDS[expected.io_type]


def shown(value: Any) -> str:
    """Return what a message says of a value, short whatever it is."""
    if value is None:
        return "missing (null)"
    if isinstance(value, str):
        return f"the text {value[:SHOWN]!r}" + "..." * (len(value) > SHOWN)
    if isinstance(value, int) and not -(10**SHOWN) < value < 10**SHOWN:
        return f"a number of more than {SHOWN} digits"
    if isinstance(value, bool | int | float):
        return str(value)
    if isinstance(value, Tensor):
        return f"a tensor of the shape {tuple(value.shape)}"
    return f"a {type(value).__name__}"


def _number(whole: bool, least: float, most: float) -> Kind:
    kind, what = (numbers.Integral, "a whole number") if whole else (numbers.Real, "a number")

    def fits(value: Any) -> bool:
        is_number = isinstance(value, kind) and not isinstance(value, bool)
        return is_number and bool(least <= value <= most)  # NaN is not

    return Kind(f"{what} from {_written(least)} to {_written(most)}", fits)


def _or_one_per_frame(number: Kind) -> Kind:
    def fits(value: Any) -> bool:
        listed = isinstance(value, list | tuple) and len(value) > 0
        return all(map(number.fits, value)) if listed else number.fits(value)

    return Kind(f"{number.what}, or a list of them, one for each frame", fits)


def _written(bound: float) -> str:
    return str(bound) if isinstance(bound, int) else f"{bound:g}"


def _choice(options: Sequence[str]) -> Kind:
    more = f", and {len(options) - NAMED} more" * (len(options) > NAMED)
    return Kind(
        f"one of: {', '.join(options[:NAMED])}{more}", lambda value: isinstance(value, str) and value in options
    )


def _is_conditioning(value: Any) -> bool:
    """Whether a value is a list, and no empty one, of pairs of a tensor and a dictionary."""
    return (
        isinstance(value, list | tuple)
        and len(value) > 0
        and all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in value)
        and all(isinstance(tensor, Tensor) and isinstance(settings, dict) for tensor, settings in value)
    )


def _is_latent(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("samples"), Tensor)


def _is_image(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 4 and math.prod(value.shape) > 0


def _is_audio(value: Any) -> bool:
    """Whether a value is a dictionary, or what other packs read when it is asked, of (batch, channels, samples)."""
    waveform = value.get("waveform") if isinstance(value, Mapping) else None
    is_sound = isinstance(waveform, Tensor) and waveform.ndim == 3 and len(waveform) > 0
    return is_sound and isinstance(value.get("sample_rate"), numbers.Integral)


def _is_mask(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 3 and math.prod(value.shape) > 0 and bool(value.isfinite().all())


def _is_patcher_of(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, ModelPatcher) and isinstance(value.model, kind)


def _has(*methods: str) -> Callable[[Any], bool]:
    """Whether a value can do that: other packs have CLIPs and VAEs of their own classes."""
    return lambda value: all(callable(getattr(value, method, None)) for method in methods)


KINDS = {
    "MODEL": Kind("a MODEL, such as 'Load Checkpoint' gives", _is_patcher_of(BaseModel)),
    "CLIP": Kind("a CLIP, such as 'Load Checkpoint' gives", _has("tokenize", "encode_from_tokens_scheduled")),
    "VAE": Kind("a VAE, such as 'Load Checkpoint' gives", _has("encode", "decode")),
    "CONDITIONING": Kind("a CONDITIONING, such as 'CLIP Text Encode' gives", _is_conditioning),
    "LATENT": Kind("a LATENT, such as 'Empty AnimateLCM Latent' gives", _is_latent),
    "IMAGE": Kind("an IMAGE, (frames, height, width, channels), such as 'VAE Decode' gives", _is_image),
    "AUDIO": Kind("an AUDIO, such as 'Load AnimateLCM Video' or 'Load Audio' gives", _is_audio),
    "MASK": Kind("a MASK, (frames, height, width), such as 'LoadImageMask' gives", _is_mask),
    "GLIGEN": Kind("a GLIGEN model, such as 'GLIGENLoader' gives", lambda value: isinstance(value, ModelPatcher)),
    "LAYOUT": Kind("a LAYOUT, such as 'AnimateLCM Layout' gives", lambda value: isinstance(value, Layout)),
    "ANIMATELCM_MOTION_MODULE": Kind(
        "a motion module, such as 'Load AnimateLCM Motion Module' gives", _is_patcher_of(MotionModule)
    ),
    "STRING": Kind("a text", lambda value: isinstance(value, str)),
    "COMBO": Kind("a file's name", lambda value: isinstance(value, str)),
    "BOOLEAN": Kind("true or false", lambda value: isinstance(value, bool)),
}


def _wrap(node: type, method: str, around: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    inner = vars(node)[method].__func__
    outer = functools.wraps(inner)(around(inner))
    outer.__signature__ = inspect.signature(inner)  # type: ignore[attr-defined] # ComfyUI looks at the outermost only
    setattr(node, method, classmethod(outer))


def _raising(execute: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(execute)

    def checking(cls: type[io.ComfyNode], *args: Any, **kwargs: Any) -> Any:
        check_inputs(cls.define_schema(), signature.bind(cls, *args, **kwargs).arguments)
        return execute(cls, *args, **kwargs)

    return checking


def _telling(validate: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(validate)

    def checking(cls: type[io.ComfyNode], *args: Any, **kwargs: Any) -> Any:
        given = signature.bind(cls, *args, **kwargs).arguments
        if any(isinstance(value, list) for value in given.values()):  # a link is one, and is None here:
            return True  # this one is no link either, as ComfyUI has said
        try:  # what another node hands over is None at this time
            check_inputs(cls.define_schema(), {name: value for name, value in given.items() if value is not None})
        except InputError as error:
            return str(error)
        return validate(cls, *args, **kwargs)

    return checking
