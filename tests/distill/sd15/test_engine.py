"""A training run: what it leaves, and that a killed one ends where an undisturbed one does."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from animatelcm.distill.sd15 import engine
from animatelcm.distill.sd15.config import Config, ConfigError
from animatelcm.distill.sd15.engine import train
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from .conftest import FRAMES, SIZE

ROOT = Path(__file__).resolve().parents[3]


def written(config: Config, path: Path) -> Path:
    """The configuration as a file; TOML takes JSON's strings, numbers and lists, and has an infinity."""
    lines = []
    for name, value in sorted(config.model_dump(mode="json").items(), key=lambda item: isinstance(item[1], dict)):
        section = {name: value} if not isinstance(value, dict) else value
        lines += [f"[{name}]"] if isinstance(value, dict) else []
        lines += [f"{key} = {'inf' if value == math.inf else json.dumps(value)}" for key, value in section.items()]
    path.write_text("\n".join(lines))
    return path


def command(config: Config, tmp_path: Path) -> list[str]:
    return [sys.executable, "-m", "distill", config.stage, "--config", str(written(config, tmp_path / "config.toml"))]


def test_a_run_leaves_result_logs_grids_and_the_newest_checkpoints(configured: Callable[..., Config]) -> None:
    config = configured("lcm_video", steps=4, save_every=1, keep=2, sample_every=2)
    result = train(config)
    assert result == config.run / "lcm_video.safetensors"
    assert sorted(path.name for path in config.run.iterdir()) == [
        "lcm_video.safetensors",
        "samples",
        "step-00000003",
        "step-00000004",
        "tensorboard",
    ]
    grids = sorted((config.run / "samples").iterdir())
    assert [grid.name for grid in grids] == ["step-00000002.png", "step-00000004.png"]
    assert Image.open(grids[0]).size == (FRAMES * SIZE, 4 * SIZE)
    logs = EventAccumulator(str(config.run / "tensorboard")).Reload()
    assert [event.step for event in logs.Scalars("loss")] == [1, 2, 3, 4]
    assert all(0 < event.value < 10 for event in logs.Scalars("loss"))


def test_accumulated_batches_are_one_large_step(configured: Callable[..., Config], tmp_path: Path) -> None:
    """Two batches of one row leave the optimizer once, after both."""
    runs = [
        train(configured("style", run=tmp_path / f"{i}", steps=2, accumulate=i + 1, ema=0.0)).parent for i in range(2)
    ]
    taken = [torch.load(run / "step-00000002" / "custom_checkpoint_0.pkl")["taken"] for run in runs]
    assert taken == [[2], [4]]


def test_what_trained_has_moved(configured: Callable[..., Config], lora_file: Path) -> None:
    trained = load_file(train(configured("style", steps=3, ema=0.5)))
    assert trained.keys() == load_file(lora_file).keys()
    assert any(value.any() for key, value in trained.items() if "lora_up" in key)


def test_a_killed_run_goes_on_and_ends_bit_for_bit_as_an_undisturbed_one(
    configured: Callable[..., Config], tmp_path: Path
) -> None:
    settings = {"steps": 8, "save_every": 2, "sample_every": 3, "keep": 8}
    whole = train(configured("lcm_video", run=tmp_path / "whole", **settings))
    config = configured("lcm_video", run=tmp_path / "killed", **settings)
    process = subprocess.Popen(command(config, tmp_path), cwd=ROOT, stderr=subprocess.DEVNULL)
    while not (config.run / "step-00000004").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (config.run / whole.name).exists()
    subprocess.run(command(config, tmp_path), cwd=ROOT, check=True)
    assert (config.run / whole.name).read_bytes() == whole.read_bytes()


def test_two_processes_share_the_data_and_have_one_result(configured: Callable[..., Config], tmp_path: Path) -> None:
    config = configured("style", steps=2)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m"]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    subprocess.run([*launch, *command(config, tmp_path)[2:]], cwd=ROOT, check=True, timeout=300, env=environment)
    assert torch.load(config.run / "step-00000002" / "custom_checkpoint_0.pkl")["taken"] == [2, 2]
    assert load_file(config.run / "style.safetensors")


def test_a_finished_run_is_only_written_again(configured: Callable[..., Config]) -> None:
    config = configured("lcm_image")
    first = train(config).read_bytes()
    assert train(config).read_bytes() == first


@pytest.mark.parametrize(
    ("stage", "changes", "message"),
    [
        ("style", [], "is of the stage lcm_video, and style was asked for"),
        ("lcm_video", [("fps = 4.0", "fps = 0.1")], "None of the files can be read"),
    ],
)
def test_what_cannot_be_trained_is_said_in_one_line(
    configured: Callable[..., Config], tmp_path: Path, stage: str, changes: list[tuple[str, str]], message: str
) -> None:
    line = command(configured("lcm_video"), tmp_path)
    path = tmp_path / "config.toml"
    for old, new in changes:
        path.write_text(path.read_text().replace(old, new))
    line[3] = stage
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]


def skip(monkeypatch: pytest.MonkeyPatch, skipped: Callable[[int], bool]) -> list[bool]:
    """Have the optimizer say of each of its steps that it left it out, or did not; what it said."""
    said: list[bool] = []

    def was_skipped(_accelerator: Accelerator) -> bool:
        said.append(skipped(len(said)))
        return said[-1]

    monkeypatch.setattr(Accelerator, "optimizer_step_was_skipped", property(was_skipped))
    return said


def test_steps_that_overflow_are_not_counted(
    configured: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[int] = []
    monkeypatch.setattr(engine, "move_average", lambda *_: moved.append(1))
    said = skip(monkeypatch, lambda step: step in (0, 2, 3))
    train(configured("lcm_image", steps=3))
    assert said == [True, False, True, True, False, False]
    assert len(moved) == 3


def test_a_run_that_only_overflows_ends(configured: Callable[..., Config], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "MOST_OVERFLOWS", 2)
    skip(monkeypatch, lambda step: True)
    with pytest.raises(ConfigError, match="gradients of 3 steps in a row are no numbers"):
        train(configured("lcm_image", steps=3))


def test_a_precision_that_the_machine_has_not_is_named(configured: Callable[..., Config]) -> None:
    if torch.cuda.is_available():
        pytest.skip("This machine has a GPU, which computes in 16 bits.")
    with pytest.raises(ConfigError, match="training.precision is fp16, which this machine cannot do"):
        train(configured("lcm_image", precision="fp16"))


def test_training_imports_nothing_beyond_its_own_requirements() -> None:
    for_other_things = ("comfy", "scipy", "matplotlib", "einops", "av", "aiohttp", "websocket", "torchsde")
    code = f"""
import sys, types
sys.modules.update(dict.fromkeys({for_other_things}))
sys.modules["animatelcm"] = types.ModuleType("animatelcm")
sys.modules["animatelcm"].__path__ = [{str(ROOT)!r}]
import animatelcm.distill.command, animatelcm.distill.sd15.engine
"""
    subprocess.run([sys.executable, "-c", code], check=True)
