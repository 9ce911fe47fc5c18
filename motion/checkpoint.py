"""Reading a motion module from a file: recognise it by its tensors, refuse what it is not, bring it to one grammar.

Names and shapes are judged first, from the file's header; numbers are read only of a module that is whole.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import torch
from torch import Tensor

from ..files.header import TensorHeader
from ..files.kinds import MOTION_MODULE, check_kind, count_blocks, without_wrapper
from ..files.read import ModelFile, open_model
from ..files.refusal import first
from .config import ImageEncoderConfig, MotionConfig, ResidualConfig
from .grammar import is_position, join_projections, name_in_files, our_key, split_projections
from .position import compute_sinusoid
from .transformer import MotionModule

EXPECTED = "a motion module for SD1.5, such as AnimateLCM_sd15_t2v.ckpt"
# AnimateLCM's modules store no position encoding; its code builds one for 64 frames.
ANIMATELCM_FRAMES = 64
V1_FRAMES = 24
SD15_CHANNELS = (320, 640, 1280, 1280)
LONGEST = 4096  # frames of a position encoding; published ones have 24 to 64
DTYPES = (torch.float32, torch.float16, torch.bfloat16)

# By what of AnimateDiff's files has: a mid block, and positions for how many frames
FAMILIES = {(False, V1_FRAMES): "AnimateDiff v1", (True, 32): "AnimateDiff v2", (False, 32): "AnimateDiff v3"}

Headers = Mapping[str, TensorHeader]


@dataclass(frozen=True)
class MotionCheckpoint:
    """What a motion module file holds.

    Attributes:
        config: widths, counts and length.
        state_dict: the weights under `MotionModule`'s names.
        dtype: of the weights in the file.
        family: whose module it is, as its mid block, position encoding and image encoder tell.
    """

    config: MotionConfig
    state_dict: dict[str, Tensor]
    dtype: torch.dtype
    family: str


def read_motion_module(path: str | Path) -> MotionCheckpoint:
    """Read the motion module in `path`: AnimateLCM's, AnimateDiff's for SD1.5, or diffusers' MotionAdapter.

    Raises:
        ModelFileError: if the file is anything else, is damaged, or needs code to be read.
    """
    file = open_model(path, EXPECTED)
    check_kind(file, MOTION_MODULE)
    keys = {without_wrapper(name): name for name in file.headers}
    positions = {key: name for key, name in keys.items() if is_position(key)}
    # A key that is no weight of a motion module keeps its name, so that `check_headers` names it.
    weights = {our_key(key) or key: name for key, name in keys.items() if key not in positions}
    config = read_config(file, weights, positions)
    tensors = file.finite_tensors()
    check_positions(file, {key: tensors.pop(name) for key, name in positions.items()})
    state_dict = {key: tensors.pop(name) for key, name in weights.items()}
    dtype = reduce(torch.promote_types, (weight.dtype for weight in state_dict.values()))
    return MotionCheckpoint(config, join_projections(state_dict), dtype, family_of(config, bool(positions)))


def describe_motion_module(path: str | Path) -> str:
    """Return what a motion module's file is, in a few sentences; raises as `read_motion_module` does."""
    checkpoint = read_motion_module(path)
    config = checkpoint.config
    widths = ", ".join(map(str, config.down_channels))
    mid = "a mid block" if config.mid_channels else "no mid block"
    sentence = f"{checkpoint.family}: up to {config.max_frames} frames, {mid}, down blocks of {widths} channels."
    narrow = (
        () if config.down_channels == SD15_CHANNELS else ("SD1.5 has others: it fits this pack's mini checkpoint.",)
    )
    return " ".join((sentence, *narrow))


def family_of(config: MotionConfig, has_positions: bool) -> str:
    """Return whose module it is; AnimateLCM's are those whose files have no position encoding."""
    if config.image_encoder:
        return "AnimateLCM, image to video"
    if not has_positions:
        return "AnimateLCM, text to video"
    return FAMILIES.get((config.mid_channels is not None, config.max_frames), "AnimateDiff or a relative of it")


# Names and shapes


def read_config(file: ModelFile, weights: Mapping[str, str], positions: Mapping[str, str]) -> MotionConfig:
    """Return the shape of the module in a file from the headers of its tensors, and refuse what does not belong.

    Args:
        file: the file.
        weights: names in the file by names of ours, the projections still apart.
        positions: names in the file of the position encodings, by the same without what training put before them.
    """
    headers = {key: file.headers[name] for key, name in weights.items()}
    try:
        frames = read_length({key: file.headers[name] for key, name in positions.items()})
        config = config_of(headers, frames)
        wanted = wanted_shapes(config)
    except KeyError as error:
        raise file.refusal(f"lacks {name_in_files(error.args[0])}") from error
    except ValueError as error:
        raise file.refusal(f"is not a motion module for SD1.5: {str(error).removesuffix('.')}") from error
    check_headers(file, headers, wanted)
    widths = {*config.down_channels, *config.up_channels, config.mid_channels}
    if odd := [key for key, name in positions.items() if file.headers[name].shape[-1] not in widths]:
        raise file.refusal(f"has position encodings of another width than its blocks: {first(odd)}")
    return config


def read_length(positions: Headers) -> int:
    """Return the longest clip: the length of the position encodings in the file, or AnimateLCM's where it has none."""
    lengths = set()
    for key, header in positions.items():
        if len(header.shape) not in (2, 3) or header.shape[-1] % 2 or header.shape[:-2] not in ((), (1,)):
            raise ValueError(
                f"it has a position encoding of the shape {header.shape}, which is not the sinusoid ({key})"
            )
        if not 2 <= header.shape[-2] <= LONGEST:
            raise ValueError(f"it has a position encoding for {header.shape[-2]} frames ({key})")
        lengths.add(header.shape[-2])
    return min(lengths, default=ANIMATELCM_FRAMES)


def config_of(weights: Headers, max_frames: int) -> MotionConfig:
    """Return the shape of a module from the names and shapes of its weights."""
    return MotionConfig(
        down_channels=block_widths(weights, "down_blocks"),
        up_channels=block_widths(weights, "up_blocks"),
        mid_channels=rows(weights, "mid_block.0.norm.weight", 1) if has_group(weights, "mid_block") else None,
        down_modules=count_modules(weights, "down_blocks"),
        up_modules=count_modules(weights, "up_blocks"),
        max_frames=max_frames,
        image_encoder=read_image_encoder(weights) if has_group(weights, "image_encoder") else None,
    )


def read_image_encoder(weights: Headers) -> ImageEncoderConfig:
    """Return the shape of the image encoder."""
    body = "image_encoder.body"
    count = len({match[1] for key in weights if (match := re.match(rf"{body}\.([0-9]{{1,2}})\.", key))})
    blocks = (
        ResidualConfig(
            channels=rows(weights, f"{body}.{i}.block1.weight", 4),
            kernel=weights[f"{body}.{i}.block2.weight"].shape[-1],
            in_conv=f"{body}.{i}.in_conv.weight" in weights,
            skep=f"{body}.{i}.skep.weight" in weights,
        )
        for i in range(count)
        if rows(weights, f"{body}.{i}.block2.weight", 4)
    )
    return ImageEncoderConfig(tuple(blocks))


def rows(weights: Headers, key: str, dimensions: int) -> int:
    """Return the first size of a weight that has to have that many dimensions."""
    shape = weights[key].shape
    if len(shape) != dimensions:
        raise ValueError(f"{name_in_files(key)} has the shape {shape}, and {dimensions} dimensions were expected")
    return shape[0]


def has_group(weights: Headers, group: str) -> bool:
    """Whether the module has weights in that group of blocks."""
    return any(key.startswith(f"{group}.") for key in weights)


def block_widths(weights: Headers, group: str) -> tuple[int, ...]:
    """Return the channels of each block of the group."""
    numbers = range(max(1, count_blocks(weights, group)))
    return tuple(rows(weights, f"{group}.{number}.0.norm.weight", 1) for number in numbers)


def count_modules(weights: Headers, group: str) -> int:
    """Return how many temporal transformers a block of the group has."""
    pattern = re.compile(rf"{group}\.[0-9]+\.([0-9]+)\.norm\.weight")
    return len({match[1] for key in weights if (match := pattern.fullmatch(key))})


def wanted_shapes(config: MotionConfig) -> dict[str, torch.Size]:
    """Return the shape of every weight that a module of that config has, the projections apart."""
    with torch.device("meta"):
        module = MotionModule(config)
    return {key: weight.shape for key, weight in split_projections(module.state_dict()).items()}


def check_headers(file: ModelFile, weights: Headers, wanted: Mapping[str, torch.Size]) -> None:
    """Refuse missing, odd, misshapen and quantized weights."""
    problems = {
        "lacks": wanted.keys() - weights.keys(),
        "has what no SD1.5 motion module has:": weights.keys() - wanted.keys(),
        "has weights of another shape:": {k for k, w in weights.items() if wanted.get(k, w.shape) != w.shape},
        "has weights that are not of 16 or 32 bits:": {k for k, w in weights.items() if w.dtype not in DTYPES},
    }
    for problem, keys in problems.items():
        if keys:
            raise file.refusal(f"{problem} {first([name_in_files(key) for key in keys])}")


# Numbers


def check_positions(file: ModelFile, positions: Mapping[str, Tensor]) -> None:
    """Refuse position encodings that are not the fixed one, (frames, channels) or (1, frames, channels)."""
    sinusoids = {shape: compute_sinusoid(*shape) for shape in {encoding.shape[-2:] for encoding in positions.values()}}
    for key, encoding in positions.items():
        # What is left is the rounding of the file's dtype: 2^-9 near 1 in bf16.
        if not torch.allclose(encoding.float(), sinusoids[encoding.shape[-2:]], rtol=0, atol=2**-8):
            raise file.refusal(
                f"has a position encoding that is not the sinusoid ({key})",
                "Learned encodings are not supported: choose another motion module.",
            )
