"""The folders that model files are looked for in."""

import re
from pathlib import Path

import folder_paths

MOTION_MODULES = "animatediff_models"
LORAS = "loras"
NONE = "none"

PACK_MODELS = Path(__file__).resolve().parents[1] / "models"


def register_folders() -> None:
    """Add the folder of motion modules to ComfyUI's, and the pack's own models to its lists. May be called again.

    Other packs and `extra_model_paths.yaml` name the folder of motion modules too, before or after us: whatever they
    added stays.
    """
    folder_paths.add_model_folder_path(MOTION_MODULES, str(Path(folder_paths.models_dir) / MOTION_MODULES))
    for folder in (MOTION_MODULES, "checkpoints", LORAS, "controlnet"):
        folder_paths.add_model_folder_path(folder, str(PACK_MODELS / folder))
    # A folder that is new to ComfyUI has no extensions, which means: list every file.
    folders, extensions = folder_paths.folder_names_and_paths[MOTION_MODULES]
    known = {*extensions, *folder_paths.supported_pt_extensions}  # another pack may have made a list of them
    folder_paths.folder_names_and_paths[MOTION_MODULES] = (folders, known)


def motion_modules() -> list[str]:
    """Return the names of all motion module files; AnimateLCM's own come first, so that they are the default."""
    return sorted(folder_paths.get_filename_list(MOTION_MODULES), key=_motion_preference)


def loras() -> list[str]:
    """Return "none" and the names of all LoRA files."""
    return [NONE, *folder_paths.get_filename_list(LORAS)]


def default_acceleration_lora() -> str:
    """Return the published AnimateLCM LoRA where there is one, else the mini family's, else "none"."""
    found = [name for name in folder_paths.get_filename_list(LORAS) if re.search("animatelcm.*lora", name.lower())]
    return min(found, key=_is_mini, default=NONE)


def missing(folder: str, name: str) -> str | None:
    """Return None where `folder` has a file `name`, else a message that says what it has and where it was searched."""
    if folder_paths.get_full_path(folder, name):
        return None
    places = "\n".join(folder_paths.get_folder_paths(folder))
    names = ", ".join(folder_paths.get_filename_list(folder)) or "none"
    return f"There is no file '{name}' in the {folder} folders. They have: {names}. Folders searched:\n{places}"


def modified(folder: str, name: str | None) -> float:
    """Return when the file was last written, so that ComfyUI reads a replaced one again; 0 for none."""
    path = folder_paths.get_full_path(folder, name) if name else None
    return Path(path).stat().st_mtime if path else 0.0


def _motion_preference(name: str) -> tuple[bool, bool, str]:
    """Sort AnimateLCM's modules before others, and published ones before the mini family's."""
    return "animatelcm" not in name.lower() or "teacher" in name.lower(), _is_mini(name), name


def _is_mini(name: str) -> bool:
    return "mini_synthetic" in name
