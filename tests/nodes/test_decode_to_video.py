"""AnimateLCM Decode to Video: what VAE Decode, Match Colors and Save would have made, frame by frame."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import comfy.model_management
import comfy.sd
import comfy.utils
import folder_paths
import pytest
import torch
from animatelcm.nodes.decode_to_video import AnimateLCMDecodeToVideo
from animatelcm.nodes.save_video import AnimateLCMSaveVideo
from animatelcm.video.colours import match_colours
from animatelcm.video.frames import VideoError
from animatelcm.video.read import Excerpt, read_video
from torch import Tensor

CHECKPOINT = Path(__file__).resolve().parents[2] / "models" / "checkpoints" / "animatelcm_mini_synthetic.safetensors"
FRAMES = 10  # of which a few are decoded together, the last ones alone
HIDDEN = SimpleNamespace(prompt={"1": {"class_type": "X"}}, extra_pnginfo={"workflow": {"nodes": []}})
SETTINGS = {"fps": 8.0, "filename_prefix": "clips/video", "format": "MP4 (H.264)", "quality": 100, "ping_pong": False}


@pytest.fixture(scope="module")
def vae() -> comfy.sd.VAE:
    tensors = comfy.utils.load_torch_file(str(CHECKPOINT))
    tensors = comfy.utils.state_dict_prefix_replace(tensors, {"first_stage_model.": ""}, filter_keys=True)
    return comfy.sd.VAE(sd=tensors)


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    monkeypatch.setattr(folder_paths, "get_output_directory", lambda: str(tmp_path))
    yield tmp_path


def latent(frames: int = FRAMES) -> dict[str, Tensor]:
    return {"samples": torch.randn(frames, 4, 8, 8, generator=torch.Generator().manual_seed(1))}


def save(node: Any, **inputs: Any) -> Any:
    return type("Node", (node,), {"hidden": HIDDEN}).execute(**{**SETTINGS, **inputs})


def saved(output: Path, number: int = 1) -> Tensor:
    excerpt = Excerpt(0.0, 64, 1, 64, 64)
    return read_video(output / "clips" / f"video_{number:05}_.mp4", excerpt)[0]


@pytest.mark.parametrize("ping_pong", [False, True])
@pytest.mark.parametrize("matched", [False, True])
def test_the_file_is_that_of_the_nodes_it_replaces(
    output: Path, vae: comfy.sd.VAE, matched: bool, ping_pong: bool
) -> None:
    images = torch.cat([vae.decode(part) for part in latent()["samples"].split(4)])
    picture = torch.rand(2, 16, 16, 3, generator=torch.Generator().manual_seed(2)) if matched else None
    expected = images if picture is None else match_colours(images, picture[0])
    save(AnimateLCMSaveVideo, images=expected, ping_pong=ping_pong)
    save(AnimateLCMDecodeToVideo, latent=latent(), vae=vae, picture=picture, ping_pong=ping_pong)
    assert len(saved(output, 2)) == (2 * FRAMES - 2 if ping_pong else FRAMES)
    assert torch.equal(saved(output, 2), saved(output, 1))


def test_the_page_is_shown_the_file_which_remembers_the_graph(output: Path, vae: comfy.sd.VAE) -> None:
    shown = save(AnimateLCMDecodeToVideo, latent=latent(2), vae=vae).ui.as_dict()
    assert shown["images"] == [{"filename": "video_00001_.mp4", "subfolder": "clips", "type": "output"}]
    assert b'{"1":{"class_type":"X"}}' in (output / "clips" / "video_00001_.mp4").read_bytes()


def test_an_interrupt_stops_it_and_leaves_nothing(output: Path, vae: comfy.sd.VAE) -> None:
    comfy.model_management.interrupt_current_processing()
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        save(AnimateLCMDecodeToVideo, latent=latent(), vae=vae)
    assert not list(output.rglob("*.mp4"))


def test_latents_that_give_no_numbers_are_refused(output: Path, vae: comfy.sd.VAE) -> None:
    broken = latent()
    broken["samples"][7] = torch.nan
    with pytest.raises(VideoError, match="Frame 7 has values that are not numbers"):
        save(AnimateLCMDecodeToVideo, latent=broken, vae=vae)
    assert not list((output / "clips").iterdir())


def test_an_unknown_format_is_said_before_the_run() -> None:
    assert AnimateLCMDecodeToVideo.validate_inputs("GIF") is True
    assert "format of 'AnimateLCM Decode to Video' is the text 'AVI'" in str(
        AnimateLCMDecodeToVideo.validate_inputs("AVI")
    )
