"""The shipped graphs with the published files' names, grammars and sizes, and random weights: do real formats pass?"""

import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from animatelcm.benchmarks import _full_size as full_size
from animatelcm.comfyui_server import Server, outputs
from safetensors.torch import save_file

pytestmark = pytest.mark.full_size

GRAPHS = sorted((Path(__file__).resolve().parents[2] / "workflows" / "api").glob("*.json"))
MINI = "animatelcm_mini_synthetic"
# As a user puts them in place of the mini family's
PUBLISHED = {
    f"{MINI}.safetensors": "v1-5-pruned-emaonly-fp16.safetensors",
    f"{MINI}_t2v.safetensors": "AnimateLCM_sd15_t2v.ckpt",
    f"{MINI}_i2v.safetensors": "AnimateLCM_sd15_i2v.ckpt",
    f"{MINI}_lcm_lora.safetensors": "AnimateLCM_sd15_t2v_lora.safetensors",
    f"{MINI}_style_outlined.safetensors": "some_style.safetensors",
    f"{MINI}_layout.safetensors": "control_v11p_sd15_canny.pth",
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server with files of the published sizes, which are gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        write_models(Path(folder) / "models")
        with Server(Path(folder), "--disable-api-nodes") as running:
            yield running


def write_models(models: Path) -> None:
    for name in ("checkpoints", "animatediff_models", "loras", "controlnet"):
        (models / name).mkdir(parents=True)
    half = torch.float16
    unet = full_size.comfyui_model(half)
    save_file(full_size.checkpoint_file(unet, half), models / "checkpoints" / "v1-5-pruned-emaonly-fp16.safetensors")
    for name in ("AnimateLCM_sd15_t2v_lora", "some_style"):
        save_file(full_size.lora_file(unet), models / "loras" / f"{name}.safetensors")
    torch.save(full_size.controlnet_file(half), models / "controlnet" / "control_v11p_sd15_canny.pth")
    for kind in ("t2v", "i2v"):
        weights = full_size.motion_file(half, pictures=kind == "i2v")
        training = {"state_dict": {f"module.{key}": weight for key, weight in weights.items()}, "global_step": 1}
        torch.save(training, models / "animatediff_models" / f"AnimateLCM_sd15_{kind}.ckpt")


def published(path: Path) -> dict[str, Any]:
    text = path.read_text()
    for mini, name in PUBLISHED.items():
        text = text.replace(mini, name)
    assert MINI not in text
    return json.loads(text.replace('"frames": 64', '"frames": 24'))  # a long clip in windows, in less time


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
def test_a_shipped_graph_runs_with_files_of_the_published_sizes(server: Server, path: Path) -> None:
    entry = server.run(published(path))
    assert entry["status"]["status_str"] == "success", entry["status"]
    (video,) = outputs(entry)
    with av.open(io.BytesIO(server.view(video))) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert frames.shape == (24 if path.stem == "long_video" else 16, 256, 256, 3)
    assert frames.std() > 1  # what is not finite comes out black
