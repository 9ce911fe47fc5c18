"""The folders that model files are looked for in."""

import re
from collections.abc import Collection
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path

import folder_paths

from ..files.identity import identity
from ..files.refusal import NAMED, readable

MOTION_MODULES = "animatediff_models"
MOTION_LORAS = "animatediff_motion_lora"
LORAS = "loras"
NONE = "none"
DEFAULT_MODULE = "AnimateLCM_sd15_t2v.ckpt"

PACK_MODELS = Path(__file__).resolve().parents[1] / "models"


class MissingFileError(ValueError):
    """A file that was chosen is not there."""


def register_folders() -> None:
    """Add the folders of motion modules and their LoRAs to ComfyUI's, and the pack's own models to its lists.

    Other packs and `extra_model_paths.yaml` name the two folders too, before or after us: whatever they added stays.
    May be called again.
    """
    for folder in (MOTION_MODULES, MOTION_LORAS):
        folder_paths.add_model_folder_path(folder, str(Path(folder_paths.models_dir) / folder))
    for folder in (MOTION_MODULES, "checkpoints", LORAS, "controlnet"):
        folder_paths.add_model_folder_path(folder, str(PACK_MODELS / folder))
    # A folder that is new to ComfyUI has no extensions, which means: list every file.
    for folder in (MOTION_MODULES, MOTION_LORAS):
        paths, extensions = folder_paths.folder_names_and_paths[folder]
        known = {*extensions, *folder_paths.supported_pt_extensions}  # another pack may have made a list of them
        folder_paths.folder_names_and_paths[folder] = (paths, known)


def motion_modules() -> list[str]:
    """Return the names of all motion module files; AnimateLCM's own come first, so that they are the default."""
    return sorted(folder_paths.get_filename_list(MOTION_MODULES), key=_motion_preference)


def loras(folder: str = LORAS) -> list[str]:
    """Return "none" and the names of all LoRA files of a folder."""
    return [NONE, *folder_paths.get_filename_list(folder)]


def default_acceleration_lora() -> str:
    """Return AnimateLCM's LoRA that belongs to the default motion module, else another of AnimateLCM's, else "none"."""
    found = [name for name in folder_paths.get_filename_list(LORAS) if re.search("animatelcm.*lora", name.lower())]
    module = next(iter(motion_modules()), "")
    return min(found, key=lambda name: (*_differences(name, module), name), default=NONE)


def path_of(folder: str, name: str, slot: str) -> Path:
    """Return the file `name` of a model folder, chosen in the input `slot` of a node.

    Raises:
        MissingFileError: if there is none.
    """
    if message := missing(folder, name):
        raise MissingFileError(f"{slot}: {message}")
    return Path(folder_paths.get_full_path(folder, name))


def missing(folder: str, name: str) -> str | None:
    """Return None where `folder` has a file `name`, else a message with where it belongs and names that are like it."""
    if folder_paths.get_full_path(folder, name):
        return None
    there = folder_paths.get_filename_list(folder)
    alike = nearest(name, there)
    hint = f"Like it: {', '.join(alike)}" if alike else f"None of the {len(there)} files there has a name like it"
    return f"There is no file '{readable(name)}' in {_places(folder)}. {hint}."


def nearest(name: str, names: Collection[str]) -> list[str]:
    """Return the few of `names` that are most like `name`, whatever subfolders they are in."""
    by_file: dict[str, str] = {_file(other): other for other in names}
    return [by_file[file] for file in get_close_matches(_file(name), by_file, NAMED, cutoff=0.5)]


def fingerprint(folder: str, name: str | None) -> str:
    """Return what tells a file from one that replaced it, so that ComfyUI runs the node again; "" where there is none.

    It goes into the prompt that is saved with a video: nothing of the machine can be read from it.
    """
    path = folder_paths.get_full_path(folder, name) if name else None
    return fingerprint_of(path) if path else ""


def fingerprint_of(path: str | Path) -> str:
    """Return the same of a file that exists."""
    return sha256(repr(identity(path)).encode()).hexdigest()[:16]


def _places(folder: str) -> str:
    """Return the paths of a model folder as far as they are anybody's business."""
    return " or ".join(dict.fromkeys(_short(Path(path)) for path in folder_paths.get_folder_paths(folder)))


def _short(path: Path) -> str:
    """Return a path from ComfyUI's folder on, or from the pack's, else its end."""
    if path.is_relative_to(PACK_MODELS):
        return f"this pack's {path.relative_to(PACK_MODELS.parent).as_posix()}"
    if path.is_relative_to(folder_paths.base_path):
        return path.relative_to(folder_paths.base_path).as_posix()
    return f".../{'/'.join(path.parts[-2:])}"


def _file(name: str) -> str:
    """Return the last part of a name, on any system, in small letters."""
    return re.split(r"[/\\]", name)[-1].lower()


def _motion_preference(name: str) -> tuple[bool, bool, bool, str]:
    """Sort AnimateLCM's modules before others, published ones before the mini family's, and T2V before I2V."""
    other = "animatelcm" not in name.lower() or "teacher" in name.lower()
    return other, *_differences(name, DEFAULT_MODULE), name


def _differences(name: str, other: str) -> tuple[bool, bool]:
    """Return whether one file alone is the mini family's, and whether one alone is for I2V."""
    mini, i2v = ((sign in name.lower()) != (sign in other.lower()) for sign in ("mini_synthetic", "i2v"))
    return mini, i2v
