"""Reading a motion module from a file: recognise it by its tensors, refuse what it is not, bring it to one grammar."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from .config import ImageEncoderConfig, MotionConfig, ResidualConfig
from .grammar import is_position, join_projections, name_in_files, our_key, split_projections, without_wrapper
from .position import sinusoid
from .refusal import (
    EXPECTED,
    MotionFileError,
    count_blocks,
    first,
    is_safetensors,
    refuse_non_models,
    refuse_other_models,
)
from .transformer import MotionModule

# AnimateLCM's modules store no position encoding; its code builds one for 64 frames.
ANIMATELCM_FRAMES = 64
V1_FRAMES = 24
DTYPES = (torch.float32, torch.float16, torch.bfloat16)

V1_NOTE = (
    "{name} is a motion module of AnimateDiff's first version ({frames} positions, no mid block). It expects group "
    "normalization over all frames, which is not emulated: videos may flicker. Later modules do without."
)


@dataclass(frozen=True)
class MotionCheckpoint:
    """What a motion module file holds.

    Attributes:
        config: widths, counts and length.
        state_dict: the weights under `MotionModule`'s names.
        dtype: of the weights in the file.
        notes: what people should know about this file.
    """

    config: MotionConfig
    state_dict: dict[str, Tensor]
    dtype: torch.dtype
    notes: tuple[str, ...] = ()


def read_motion_module(path: str | Path) -> MotionCheckpoint:
    """Read the motion module in `path`: AnimateLCM's, AnimateDiff's for SD1.5, or diffusers' MotionAdapter.

    Raises:
        MotionFileError: if the file is anything else, is damaged, or needs code to be read.
    """
    path = Path(path)
    tensors = {without_wrapper(key): value for key, value in read_tensors(path).items()}
    refuse_other_models(path.name, tensors)
    positions = {key: value for key, value in tensors.items() if is_position(key)}
    # A key that is no weight of a motion module keeps its name, so that `check_weights` names it.
    weights = {our_key(key) or key: value for key, value in tensors.items() if key not in positions}
    config = read_config(path.name, weights, read_length(path.name, positions))
    check_weights(path.name, weights, config)
    dtype = reduce(torch.promote_types, (weight.dtype for weight in weights.values()))
    return MotionCheckpoint(config, join_projections(weights), dtype, notes(path.name, config, positions))


# Files


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file or a PyTorch pickle by name. Nothing in the file is executed."""
    refuse_non_models(path)
    try:
        with path.open("rb") as file:  # an open file has no extension for torch to go by
            content = load_file(path) if is_safetensors(path) else torch.load(file, "cpu", weights_only=True)
    except UnpicklingError as error:
        raise MotionFileError(
            f"{path.name} is a pickle that wants to run code when it is opened, or is damaged; it was not opened. "
            "Download it again, or a .safetensors version of it."
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # what damage makes the parsers raise is not documented
        raise MotionFileError(f"{path.name} is damaged or was not downloaded completely. Download it again.") from error
    return unwrap(content)


def unwrap(content: Any) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint that training may have wrapped in `state_dict` or the like."""
    while isinstance(content, Mapping):
        inner = [content[key] for key in ("state_dict", "model_state_dict", "module") if key in content]
        if not inner:
            break
        content = inner[0]
    if not isinstance(content, Mapping):
        return {}
    return {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}


def notes(name: str, config: MotionConfig, positions: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return what people should know about a module that is read, but not used as its makers do."""
    if positions and config.mid_channels is None and config.max_frames == V1_FRAMES:
        return (V1_NOTE.format(name=name, frames=config.max_frames),)
    return ()


# Shapes and weights


def read_length(name: str, positions: Mapping[str, Tensor]) -> int:
    """Return the longest clip: the length of the position encodings in the file, or AnimateLCM's where it has none."""
    lengths = set()
    for key, encoding in positions.items():
        if not is_sinusoid(encoding):
            raise MotionFileError(
                f"{name} has a position encoding that is not the sinusoid ({key}). Learned encodings are not "
                f"supported. {EXPECTED}."
            )
        lengths.add(encoding.shape[-2])
    return min(lengths, default=ANIMATELCM_FRAMES)


def is_sinusoid(encoding: Tensor) -> bool:
    """Return whether a position encoding, (..., frames, channels), is the fixed one."""
    if encoding.ndim < 2 or encoding.shape[-1] % 2:
        return False
    # What is left is the rounding of the file's dtype: 2^-9 near 1 in bf16.
    return torch.allclose(encoding.float(), sinusoid(*encoding.shape[-2:]), rtol=0, atol=2**-8)


def read_config(name: str, weights: Mapping[str, Tensor], max_frames: int) -> MotionConfig:
    """Return the shape of the module from the names and shapes of its weights."""
    try:
        return MotionConfig(
            down_channels=block_widths(weights, "down_blocks"),
            up_channels=block_widths(weights, "up_blocks"),
            mid_channels=len(weights["mid_block.0.norm.weight"]) if has_group(weights, "mid_block") else None,
            down_modules=count_modules(weights, "down_blocks"),
            up_modules=count_modules(weights, "up_blocks"),
            max_frames=max_frames,
            image_encoder=read_image_encoder(weights) if has_group(weights, "image_encoder") else None,
        )
    except KeyError as error:
        raise MotionFileError(f"{name} lacks {name_in_files(error.args[0])}. {EXPECTED}. Download it again.") from error
    except ValueError as error:
        raise MotionFileError(f"{name} is not a motion module for SD1.5: {error} {EXPECTED}.") from error


def read_image_encoder(weights: Mapping[str, Tensor]) -> ImageEncoderConfig:
    """Return the shape of the image encoder."""
    body = "image_encoder.body"
    count = len({match[1] for key in weights if (match := re.match(rf"{body}\.(\d+)\.", key))})
    blocks = (
        ResidualConfig(
            channels=len(weights[f"{body}.{i}.block1.weight"]),
            kernel=weights[f"{body}.{i}.block2.weight"].shape[-1:].numel(),
            in_conv=f"{body}.{i}.in_conv.weight" in weights,
            skep=f"{body}.{i}.skep.weight" in weights,
        )
        for i in range(count)
    )
    return ImageEncoderConfig(tuple(blocks))


def has_group(weights: Mapping[str, Tensor], group: str) -> bool:
    """Whether the module has weights in that group of blocks."""
    return any(key.startswith(f"{group}.") for key in weights)


def block_widths(weights: Mapping[str, Tensor], group: str) -> tuple[int, ...]:
    """Return the channels of each block of the group."""
    numbers = range(max(1, count_blocks(weights, group)))
    return tuple(len(weights[f"{group}.{number}.0.norm.weight"]) for number in numbers)


def count_modules(weights: Mapping[str, Tensor], group: str) -> int:
    """Return how many temporal transformers a block of the group has."""
    pattern = re.compile(rf"{group}\.\d+\.(\d+)\.norm\.weight")
    return len({match[1] for key in weights if (match := pattern.fullmatch(key))})


def check_weights(name: str, weights: Mapping[str, Tensor], config: MotionConfig) -> None:
    """Refuse missing, odd, misshapen, quantized and non-finite weights."""
    wanted = wanted_shapes(name, config)
    problems = {
        "lacks": wanted.keys() - weights.keys(),
        "has what no SD1.5 motion module has:": weights.keys() - wanted.keys(),
        "has weights of another shape:": {k for k, w in weights.items() if wanted.get(k, w.shape) != w.shape},
        "has weights that are not of 16 or 32 bits:": {k for k, w in weights.items() if w.dtype not in DTYPES},
    }
    problem = next(filter(problems.get, problems), None)
    if problem is None:  # only then can weights be looked at
        problem = "has weights that are not finite (NaN or infinity):"
        problems[problem] = {key for key, weight in weights.items() if not weight.isfinite().all()}
    if problems[problem]:
        keys = first([name_in_files(key) for key in problems[problem]])
        raise MotionFileError(f"{name} {problem} {keys}. {EXPECTED}. Download it again.")


def wanted_shapes(name: str, config: MotionConfig) -> dict[str, torch.Size]:
    """Return the shape of every weight that a module of that config has, the projections apart."""
    try:
        with torch.device("meta"):
            module = MotionModule(config)
    except ValueError as error:
        raise MotionFileError(f"{name} is not a motion module for SD1.5: {error}. {EXPECTED}.") from error
    return {key: weight.shape for key, weight in split_projections(module.state_dict()).items()}
