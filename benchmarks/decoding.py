"""The memory that a long video takes, by the number of its frames: to be sampled, and from latents to the file.

Each row is a process of its own. "sampled": the mini family through 'AnimateLCM Long Clip'. The others run 'AnimateLCM
Decode to Video': with the mini family's VAE, and, for large frames, with one that costs nothing, so that what is
measured is all but the VAE. Beside the peak: what the frames alone would take as IMAGE.

    python dev.py benchmark decoding
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable
from typing import Any

import torch
from _pack import ROOT, import_pack
from torch import Tensor

import_pack()

import comfy.sd  # noqa: E402 - needs what the pack sets
import comfy.utils  # noqa: E402 - likewise
import folder_paths  # noqa: E402 - likewise
from _family import Family  # noqa: E402 - likewise
from animatelcm.nodes.decode_to_video import AnimateLCMDecodeToVideo  # noqa: E402 - likewise

CHECKPOINT = ROOT / "models" / "checkpoints" / "animatelcm_mini_synthetic.safetensors"
WINDOWS = 24  # frames: more than one window
ROWS = [
    ("sampled", 64, 64),
    ("sampled", 64, 256),
    ("sampled", 64, 1024),
    ("mini", 64, 32),
    ("mini", 64, 1000),
    ("still", 512, 32),
    ("still", 512, 1000),
]
MB = 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--row", nargs=3, metavar=("WHAT", "SIZE", "FRAMES"), help="measure this in this process")
    arguments = parser.parse_args()
    if arguments.row:
        print(row(arguments.row[0], int(arguments.row[1]), int(arguments.row[2])), flush=True)
        return
    print("| | pixels | frames | MB above the start | MB of the frames as IMAGE | s |\n| --- |" + " --- |" * 5)
    for asked in ROWS:
        subprocess.run([sys.executable, __file__, "--row", *map(str, asked)], check=True)


def row(kind: str, size: int, frames: int) -> str:
    """Sample or save one video, and say what it took."""
    run = sampling(size) if kind == "sampled" else saving(size, VAES[kind]())
    run(WINDOWS if kind == "sampled" else 1)  # what is loaded once
    start, begin = peak(), time.perf_counter()
    run(frames)
    seconds, image = time.perf_counter() - begin, frames * size * size * 3 * 4 / MB
    return f"| {kind} | {size} | {frames} | {(peak() - start) / MB:.0f} | {image:.0f} | {seconds:.0f} |"


def sampling(size: int) -> Callable[[int], object]:
    """Samples so many frames of a clip."""
    family = Family()
    model = family.in_windows()
    words = family.encode("a large red circle moving right on a blue background")
    return lambda frames: family.sampled(model, words, frames, 0, size // 8)


def saving(size: int, vae: object) -> Callable[[int], object]:
    """Saves a video of so many frames."""
    return lambda frames: save(torch.randn(frames, 4, size // 8, size // 8), vae)


def save(latents: Tensor, vae: object) -> None:
    hidden = types.SimpleNamespace(prompt={}, extra_pnginfo=None)
    node: Any = type("Node", (AnimateLCMDecodeToVideo,), {"hidden": hidden})
    with tempfile.TemporaryDirectory() as folder:
        folder_paths.set_output_directory(folder)
        settings = {"fps": 8.0, "filename_prefix": "video", "format": "MP4 (H.264)", "quality": 80, "ping_pong": False}
        node.execute(latent={"samples": latents}, vae=vae, **settings)


def peak() -> int:
    """The most memory that this process ever held, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def mini() -> comfy.sd.VAE:
    tensors = comfy.utils.load_torch_file(str(CHECKPOINT))
    return comfy.sd.VAE(sd=comfy.utils.state_dict_prefix_replace(tensors, {"first_stage_model.": ""}, filter_keys=True))


class Still:
    """A VAE whose frames are all one picture."""

    def decode(self, some: Tensor) -> Tensor:
        frames, _, height, width = some.shape
        return torch.linspace(0, 1, 8 * width)[:, None].repeat(frames, 8 * height, 1, 3)

    def encode(self, pixels: Tensor) -> Tensor:
        raise NotImplementedError


VAES: dict[str, Callable[[], object]] = {"mini": mini, "still": Still}


if __name__ == "__main__":
    main()
