"""Naming files that are no motion module for SD1.5: what they are, and where they belong."""

import re
from collections.abc import Collection, Iterable
from pathlib import Path

EXPECTED = "Expected a motion module for SD1.5, such as AnimateLCM_sd15_t2v.ckpt"
NAMED = 3  # keys named in a message

PICKLES = (b"PK", b"\x80")  # what PyTorch writes: a zip archive of a pickle, and before 1.6 a bare one

LORA = r"lora[._](up|down|mid|A|B)\b|_lora\.|\.(hada|lokr)_|\.alpha$"

# What only some key of such a file matches, what the file is, and the folder of models/ that it belongs in
OTHER_MODELS = (
    (r"motion_modules\..*lora", "a LoRA for motion modules", None),
    (LORA, "a LoRA", "loras"),
    (r"\.temporal_attentions\.", "a HotshotXL motion module, made for SDXL", None),
    (r"^(control_model|controlnet_\w+|input_hint_block)\.", "a ControlNet", "controlnet"),
    (
        r"^(model\.diffusion_model|first_stage_model|cond_stage_model|conditioner)\.",
        "a whole checkpoint",
        "checkpoints",
    ),
    (r"^(encoder|decoder|quant_conv|post_quant_conv)\.", "a VAE", "vae"),
    (r"^(conv_in|input_blocks\.0\.0)\.", "a UNet", "diffusion_models"),
    (r"(^|\.)text_model\.", "a text encoder", "text_encoders"),
)


class MotionFileError(ValueError):
    """A file cannot be used as a motion module; the message says what it is, what was expected and what to do."""


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
    if not is_safetensors(path) and not start.startswith(PICKLES):
        raise MotionFileError(f"{path.name} is neither a .safetensors nor a .ckpt file inside. Download it again.")


def is_safetensors(path: Path) -> bool:
    """Whether the file begins as safetensors do: eight bytes of length, then a JSON object."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def refuse_other_models(name: str, keys: Collection[str]) -> None:
    """Refuse checkpoints of other kinds, by the names of their tensors."""
    for pattern, what, folder in OTHER_MODELS:
        if any(re.search(pattern, key) for key in keys):
            belongs = f" It belongs in models/{folder}." if folder else ""
            raise MotionFileError(f"{name} is {what}, not a motion module for SD1.5.{belongs} {EXPECTED}.")
    motion = [key for key in keys if ".motion_modules." in key]
    if not motion:
        raise MotionFileError(f"{name} is no motion module. {EXPECTED}. It holds {first(keys)}.")
    if count_blocks(motion, "down_blocks") == 3:
        raise MotionFileError(f"{name} is a motion module for SDXL, which has 3 down blocks. {EXPECTED}.")


def count_blocks(keys: Iterable[str], group: str) -> int:
    """Return how many blocks of a group the keys speak of."""
    return 1 + max((int(key.split(".")[1]) for key in keys if key.startswith(f"{group}.")), default=-1)


def first(keys: Collection[str]) -> str:
    """Return the first few of `keys`, in words."""
    named = ", ".join(sorted(keys)[:NAMED]) or "no tensors"
    return f"{named} and {len(keys) - NAMED} more" if len(keys) > NAMED else named
