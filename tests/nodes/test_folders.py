"""Model folders: found whatever else registers them, and named when a file is missing."""

import os
from collections.abc import Callable
from pathlib import Path

import folder_paths
import pytest
import torch
from animatelcm.nodes import folders
from animatelcm.nodes.load_motion_module import AnimateLCMLoadMotionModule

MINI = "animatelcm_mini_synthetic"
PUBLISHED_LORA = "AnimateLCM_sd15_t2v_lora.safetensors"


def test_registering_again_changes_nothing() -> None:
    before = {name: list(paths) for name, (paths, _) in folder_paths.folder_names_and_paths.items()}
    folders.register_folders()
    assert {name: list(paths) for name, (paths, _) in folder_paths.folder_names_and_paths.items()} == before


@pytest.mark.parametrize("kind", [set, list])
def test_folders_that_others_registered_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: type) -> None:
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "animatediff_models", ([str(tmp_path)], kind()))
    folders.register_folders()
    paths, extensions = folder_paths.folder_names_and_paths["animatediff_models"]
    assert paths[0] == str(tmp_path)
    ours = {str(parent / "animatediff_models") for parent in (Path(folder_paths.models_dir), folders.PACK_MODELS)}
    assert ours < set(paths)
    assert {".safetensors", ".ckpt"} <= set(extensions)


@pytest.mark.parametrize("folder", ["checkpoints", "controlnet", "loras", "animatediff_models"])
def test_the_packs_own_models_are_searched(folder: str) -> None:
    assert str(folders.PACK_MODELS / folder) in folder_paths.get_folder_paths(folder)


def test_only_models_are_listed(save_model: Callable[..., str]) -> None:
    save_model("animatediff_models", "AnimateLCM_sd15_t2v.safetensors", {"x": torch.ones(1)})
    save_model("animatediff_models", "notes.txt", {"x": torch.ones(1)})
    assert "AnimateLCM_sd15_t2v.safetensors" in folders.motion_modules()
    assert "notes.txt" not in folders.motion_modules()


@pytest.mark.parametrize(
    ("names", "default"),
    [
        (["mm_sd_v15_v2.ckpt", f"{MINI}_t2v.safetensors"], f"{MINI}_t2v.safetensors"),
        ([f"{MINI}_teacher.safetensors", f"{MINI}_t2v.safetensors"], f"{MINI}_t2v.safetensors"),
        ([f"{MINI}_t2v.safetensors", "AnimateLCM_sd15_t2v.ckpt"], "AnimateLCM_sd15_t2v.ckpt"),
    ],
    ids=["mini before others", "mini before its teacher", "published before mini"],
)
def test_the_default_motion_module_works_first_time(
    monkeypatch: pytest.MonkeyPatch, names: list[str], default: str
) -> None:
    monkeypatch.setattr(folder_paths, "get_filename_list", lambda folder: names)
    assert folders.motion_modules()[0] == default


@pytest.mark.parametrize(
    ("names", "default"),
    [
        (["film_grain_lora.safetensors"], "none"),
        (["a.safetensors", f"{MINI}_lcm_lora.safetensors"], f"{MINI}_lcm_lora.safetensors"),
        ([f"{MINI}_lcm_lora.safetensors", PUBLISHED_LORA], PUBLISHED_LORA),
    ],
    ids=["none", "mini", "published"],
)
def test_the_default_acceleration_lora(monkeypatch: pytest.MonkeyPatch, names: list[str], default: str) -> None:
    monkeypatch.setattr(folder_paths, "get_filename_list", lambda folder: names)
    assert folders.default_acceleration_lora() == default


def test_a_missing_file_is_said_with_the_folders_searched(motion_file: str) -> None:
    assert AnimateLCMLoadMotionModule.validate_inputs(motion_file) is True
    message = AnimateLCMLoadMotionModule.validate_inputs("gone.ckpt")
    assert isinstance(message, str)
    assert "no file 'gone.ckpt'" in message
    assert motion_file in message
    assert str(folders.PACK_MODELS / "animatediff_models") in message


def test_a_replaced_file_is_read_again(motion_file: str) -> None:
    first = AnimateLCMLoadMotionModule.fingerprint_inputs(motion_file)
    path = Path(folder_paths.get_full_path_or_raise("animatediff_models", motion_file))
    stamp = path.stat().st_mtime_ns + 10**9
    os.utime(path, ns=(stamp, stamp))
    assert AnimateLCMLoadMotionModule.fingerprint_inputs(motion_file) != first
