"""Model folders: found whatever else registers them, and named when a file is missing."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import folder_paths
import pytest
import torch
from animatelcm.nodes import folders
from animatelcm.nodes.load_motion_module import AnimateLCMLoadMotionModule

from .conftest import replace_with_same_time

MINI = "animatelcm_mini_synthetic"
T2V, I2V, MINI_T2V = "AnimateLCM_sd15_t2v.ckpt", "AnimateLCM_sd15_i2v.ckpt", f"{MINI}_t2v.safetensors"
T2V_LORA, I2V_LORA = "AnimateLCM_sd15_t2v_lora.safetensors", "AnimateLCM_sd15_i2v_lora.safetensors"
MINI_LORA = f"{MINI}_lcm_lora.safetensors"


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


Files = Callable[..., None]


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> Files:
    """Let the model folders have just the files that are named, by folder."""

    def put(**names: list[str]) -> None:
        monkeypatch.setattr(folder_paths, "get_filename_list", lambda folder: names.get(folder, []))

    return put


@pytest.mark.parametrize(
    ("names", "default"),
    [
        (["mm_sd_v15_v2.ckpt", f"{MINI}_t2v.safetensors"], f"{MINI}_t2v.safetensors"),
        ([f"{MINI}_teacher.safetensors", f"{MINI}_t2v.safetensors"], f"{MINI}_t2v.safetensors"),
        ([f"{MINI}_i2v.safetensors", f"{MINI}_t2v.safetensors"], f"{MINI}_t2v.safetensors"),
        ([f"{MINI}_t2v.safetensors", "AnimateLCM_sd15_t2v.ckpt"], "AnimateLCM_sd15_t2v.ckpt"),
        ([f"{MINI}_t2v.safetensors", "AnimateLCM_sd15_i2v.ckpt"], "AnimateLCM_sd15_i2v.ckpt"),
        (["AnimateLCM_sd15_i2v.ckpt", "AnimateLCM_sd15_t2v.ckpt"], "AnimateLCM_sd15_t2v.ckpt"),
    ],
    ids=["mini before others", "before its teacher", "T2V before I2V", "published before mini", "or I2V", "T2V first"],
)
def test_the_default_motion_module_works_first_time(files: Files, names: list[str], default: str) -> None:
    files(animatediff_models=names)
    assert folders.motion_modules()[0] == default


@pytest.mark.parametrize(
    ("modules", "loras", "default"),
    [
        ([T2V], ["film_grain_lora.safetensors"], "none"),
        ([MINI_T2V], ["a.safetensors", MINI_LORA], MINI_LORA),
        ([MINI_T2V, T2V], [MINI_LORA, T2V_LORA], T2V_LORA),
        ([MINI_T2V, I2V, T2V], [MINI_LORA, I2V_LORA, T2V_LORA], T2V_LORA),
        ([MINI_T2V, I2V], [MINI_LORA, I2V_LORA, T2V_LORA], I2V_LORA),
        ([MINI_T2V, T2V], [MINI_LORA, I2V_LORA], I2V_LORA),
        ([MINI_T2V], [MINI_LORA, I2V_LORA, T2V_LORA], MINI_LORA),
        ([], [I2V_LORA, T2V_LORA], T2V_LORA),
    ],
    ids=["none", "mini", "published", "both sets", "I2V module", "T2V without its own", "mini alone", "no module"],
)
def test_the_default_acceleration_lora_belongs_to_the_default_module(
    files: Files, modules: list[str], loras: list[str], default: str
) -> None:
    files(animatediff_models=modules, loras=loras)
    assert folders.default_acceleration_lora() == default


# What is not there


def test_a_missing_file_is_said_with_where_it_belongs_and_names_like_it(motion_file: str) -> None:
    assert AnimateLCMLoadMotionModule.validate_inputs(motion_file) is True
    message = AnimateLCMLoadMotionModule.validate_inputs("tiny_motoin.ckpt")
    assert message == (
        "There is no file 'tiny_motoin.ckpt' in models/animatediff_models or this pack's models/animatediff_models. "
        f"Like it: {motion_file}."
    )
    with pytest.raises(folders.MissingFileError, match="motion_module: There is no file 'tiny_motoin.ckpt'"):
        AnimateLCMLoadMotionModule.execute("tiny_motoin.ckpt")


@pytest.mark.parametrize(
    ("name", "like_it"),
    [
        ("AnimateLCM_sd15_t2v_Lora.safetensors", "Like it: sd15/AnimateLCM_sd15_t2v_lora.safetensors"),
        ("elsewhere\\AnimateLCM_sd15_t2v_lora.safetensors", "Like it: sd15/AnimateLCM_sd15_t2v_lora.safetensors"),
        ("zzzzzz", "None of the 301 files there has a name like it"),
    ],
)
def test_a_full_folder_is_not_listed(files: Files, name: str, like_it: str) -> None:
    files(loras=[*(f"{number:03}_x.pt" for number in range(300)), f"sd15/{T2V_LORA}"])
    message = folders.missing("loras", name)
    assert f"{like_it}." in message
    assert len(message) < 300


@pytest.mark.parametrize("paths", [["{base}/models/loras", "/srv/shared/models/loras"], ["/srv/x/models/loras"] * 2])
def test_the_servers_paths_are_its_own(monkeypatch: pytest.MonkeyPatch, paths: list[str]) -> None:
    base = folder_paths.base_path
    there = [path.format(base=base) for path in paths]
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "loras", (there, {".safetensors"}))
    message = folders.missing("loras", "gone.safetensors")
    assert base not in message and "/srv" not in message
    assert message.count("models/loras") == len(set(paths))


@pytest.mark.parametrize("name", ["x" * 10_000, "\0", "\ud800", "../../etc/passwd", ""])
def test_what_is_no_name_is_said_in_one_line(name: str) -> None:
    message = folders.missing("loras", name)
    assert message and message.isprintable()
    assert len(message) < 400


# What was replaced


@pytest.mark.parametrize("change", ["time", "size", "same time and size", "another file"])
def test_a_replaced_file_is_read_again(motion_file: str, motion_tensors: dict[str, torch.Tensor], change: str) -> None:
    first = AnimateLCMLoadMotionModule.fingerprint_inputs(motion_file)
    assert AnimateLCMLoadMotionModule.fingerprint_inputs(motion_file) == first
    path = Path(folder_paths.get_full_path_or_raise("animatediff_models", motion_file))
    stamp = path.stat().st_mtime_ns
    if change == "time":
        os.utime(path, ns=(stamp + 10**9, stamp + 10**9))
    elif change == "size":
        with path.open("ab") as file:
            file.write(b" ")
        os.utime(path, ns=(stamp, stamp))
    elif change == "same time and size":
        replace_with_same_time(path, {key: 2 * value for key, value in motion_tensors.items()})
    else:
        copy = Path(shutil.copy2(path, path.with_name("copy.safetensors")))
        copy.replace(path)
    assert AnimateLCMLoadMotionModule.fingerprint_inputs(motion_file) != first


def test_a_fingerprint_says_nothing_of_the_machine(motion_file: str) -> None:
    """ComfyUI puts it into the prompt that is saved with a video."""
    assert re.fullmatch("[0-9a-f]{16}", AnimateLCMLoadMotionModule.fingerprint_inputs(motion_file))
    assert AnimateLCMLoadMotionModule.fingerprint_inputs("gone.ckpt") == ""
