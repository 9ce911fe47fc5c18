"""Reading a motion module from a file: recognise it by its tensors, refuse what it is not, bring it to one grammar."""

import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from .config import MotionConfig
from .grammar import is_position, join_projections, our_key, without_wrapper
from .position import sinusoid
from .transformer import MotionModule

# AnimateLCM's modules store no position encoding; its code builds one for 64 frames.
ANIMATELCM_FRAMES = 64
NAMED = 3  # keys named in a message
IMAGE_ENCODER = "img_encoder."

EXPECTED = "Expected a motion module for SD1.5, such as AnimateLCM_sd15_t2v.ckpt"
V1_NOTE = (
    "{name} is a motion module of AnimateDiff's first version ({frames} positions, no mid block). It expects group "
    "normalization over all frames, which is not emulated: videos may flicker. Later modules do without."
)
IMAGE_NOTE = (
    "{name} has AnimateLCM's image encoder. It is left aside: without an image, the module makes video from text."
)


class MotionFileError(ValueError):
    """A file cannot be used as a motion module; the message says what it is, what was expected and what to do."""


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
    refuse_others(path.name, tensors)
    image_encoder = any(key.startswith(IMAGE_ENCODER) for key in tensors)
    published = {key: value for key, value in tensors.items() if not key.startswith(IMAGE_ENCODER)}
    # A key that is no weight of a motion module keeps its name, so that `check_weights` names it.
    weights = {our_key(key) or key: value for key, value in published.items() if not is_position(key)}
    state_dict = join_projections(weights)
    config = read_config(path.name, published, state_dict, image_encoder)
    check_weights(path.name, state_dict, config)
    dtype = next(iter(state_dict.values())).dtype
    return MotionCheckpoint(config, state_dict, dtype, notes(path.name, config, published, image_encoder))


# Files


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file or a PyTorch pickle by name. Nothing in the file is executed."""
    refuse_non_models(path)
    try:
        content = load_file(path) if is_safetensors(path) else torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise MotionFileError(
            f"{path.name} is a pickle that wants to run code when it is opened, or is damaged; it was not opened. "
            "Download it again, or a .safetensors version of it."
        ) from error
    except (SafetensorError, RuntimeError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise MotionFileError(f"{path.name} is damaged or was not downloaded completely. Download it again.") from error
    return unwrap(content)


def refuse_non_models(path: Path) -> None:
    """Refuse files that are no checkpoint at all, by their first bytes."""
    with path.open("rb") as file:
        start = file.read(256).lstrip()
    if not start:
        raise MotionFileError(f"{path.name} is empty. Download it again.")
    if start.startswith(b"<"):
        raise MotionFileError(f"{path.name} is a saved web page, not a model. Use the page's download button instead.")
    if start.startswith(b"version https://git-lfs"):
        raise MotionFileError(
            f"{path.name} is a Git-LFS pointer, not the model itself. Run `git lfs pull`, or download it."
        )


def is_safetensors(path: Path) -> bool:
    """Whether the file begins as safetensors do: eight bytes of length, then a JSON object."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


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


# What a file is


def refuse_others(name: str, tensors: Mapping[str, Tensor]) -> None:
    """Refuse checkpoints of other kinds by name."""
    keys = tensors.keys()
    if any(".temporal_attentions." in key for key in keys):
        raise MotionFileError(f"{name} is a HotshotXL motion module, made for SDXL. {EXPECTED}.")
    motion = [key for key in keys if ".motion_modules." in key]
    if any(re.search(r"lora[._](up|down|A|B)|_lora\.|processor\..*lora|\.alpha$", key) for key in keys):
        what = "a LoRA for motion modules" if motion else "a LoRA"
        raise MotionFileError(f"{name} is {what}, not a motion module. {EXPECTED}; LoRAs belong in models/loras.")
    if not motion:
        what = "a Stable Diffusion checkpoint" if any("diffusion_model." in key for key in keys) else "no motion module"
        raise MotionFileError(f"{name} is {what}. {EXPECTED}. {first(keys, 'It holds')}")
    if len(block_numbers(motion, "down_blocks")) == 3:
        raise MotionFileError(f"{name} is a motion module for SDXL (3 down blocks). {EXPECTED}.")


def block_numbers(keys: list[str], group: str) -> list[int]:
    """Return the numbers of the blocks of a group that have temporal transformers."""
    return sorted({int(key.split(".")[1]) for key in keys if key.startswith(f"{group}.")})


def first(keys: Any, start: str) -> str:
    """Return a sentence with the first few of `keys`."""
    named = sorted(keys)[:NAMED]
    return f"{start} {', '.join(named)}{' and more' if len(keys) > NAMED else ''}." if named else f"{start} no tensors."


def notes(name: str, config: MotionConfig, published: Mapping[str, Tensor], image_encoder: bool) -> tuple[str, ...]:
    """Return what people should know about a module that is read, but not used as its makers do."""
    found = []
    if any(map(is_position, published)) and config.mid_channels is None and config.max_frames == 24:
        found.append(V1_NOTE.format(name=name, frames=config.max_frames))
    if image_encoder:
        found.append(IMAGE_NOTE.format(name=name))
    return tuple(found)


# Shapes and weights


def read_config(
    name: str, published: Mapping[str, Tensor], state_dict: Mapping[str, Tensor], image_encoder: bool
) -> MotionConfig:
    """Return the shape of the module from the names and shapes of its tensors."""
    counts = {group: count_modules(state_dict, group) for group in ("down_blocks", "up_blocks", "mid_block")}
    try:
        return MotionConfig(
            down_channels=block_widths(state_dict, "down_blocks"),
            up_channels=block_widths(state_dict, "up_blocks"),
            mid_channels=len(state_dict["mid_block.0.norm.weight"]) if counts["mid_block"] else None,
            down_modules=counts["down_blocks"],
            up_modules=counts["up_blocks"],
            max_frames=read_length(name, published),
            image_encoder=image_encoder,
        )
    except KeyError as error:
        raise MotionFileError(f"{name} lacks {error.args[0]}. {EXPECTED}. Download it again.") from error


def count_modules(state_dict: Mapping[str, Tensor], group: str) -> int:
    """Return how many temporal transformers a block of the group has."""
    pattern = re.compile(rf"{group}\.(?:\d+\.)?(\d+)\.norm\.weight")
    return len({match[1] for key in state_dict if (match := pattern.fullmatch(key))})


def block_widths(state_dict: Mapping[str, Tensor], group: str) -> tuple[int, ...]:
    """Return the channels of each block of the group."""
    numbers = block_numbers(list(state_dict), group)
    return tuple(len(state_dict[f"{group}.{number}.0.norm.weight"]) for number in numbers)


def read_length(name: str, published: Mapping[str, Tensor]) -> int:
    """Return the number of positions, from the encodings in the file if it has any."""
    encodings = {key: value.reshape(-1, value.shape[-1]) for key, value in published.items() if is_position(key)}
    for key, encoding in encodings.items():
        # What is left is the rounding of the file's dtype: 2^-9 near 1 in bf16.
        if not torch.allclose(encoding.float(), sinusoid(*encoding.shape), rtol=0, atol=2**-8):
            raise MotionFileError(
                f"{name} has a position encoding that is not the sinusoid ({key}). Learned encodings are not "
                f"supported. {EXPECTED}."
            )
    return min((len(encoding) for encoding in encodings.values()), default=ANIMATELCM_FRAMES)


def check_weights(name: str, state_dict: Mapping[str, Tensor], config: MotionConfig) -> None:
    """Refuse missing, odd, misshapen and non-finite weights."""
    with torch.device("meta"):
        wanted = {key: value.shape for key, value in MotionModule(config).state_dict().items()}
    infinite = {key for key, value in state_dict.items() if not value.isfinite().all()}
    problems = {
        "lacks": wanted.keys() - state_dict.keys(),
        "has what no SD1.5 motion module has:": state_dict.keys() - wanted.keys(),
        "has weights of another shape:": {k for k, v in state_dict.items() if wanted.get(k, v.shape) != v.shape},
        "has weights that are not finite (NaN or infinity):": infinite,
    }
    for problem, keys in problems.items():
        if keys:
            raise MotionFileError(f"{first(keys, f'{name} {problem}')} {EXPECTED}. Download it again.")
