"""What image to video does with a picture: whether the clip begins with it, where it goes, and how fast.

The pictures are first frames of rendered clips whose colour, shape and movement were never trained on together. Beside
the mini family's clips: the rendered ones, and videos made from the same prompts alone.

    python dev.py benchmark animating
"""

import argparse
import tempfile
from pathlib import Path

import torch
from _mini import change, from_text, run, shipped
from _pack import import_pack
from torch import Tensor
from tqdm import tqdm

import_pack()

from animatelcm.comfyui_server import Server  # noqa: E402 - needs the name above
from animatelcm.distill import scenes  # noqa: E402 - likewise
from animatelcm.distill.evaluation.metrics import covered, measure  # noqa: E402 - likewise
from animatelcm.video.write import VideoSettings, write_video  # noqa: E402 - likewise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--scales", type=float, nargs="+", default=[0.0, 0.4, 0.8, 1.2])
    arguments = parser.parse_args()
    asked = moving(arguments.clips)
    clips = scenes.render(asked, torch.arange(scenes.FRAMES, dtype=torch.float32))
    print(f"| | colour | shape | IoU of the first frame | direction | pixels per frame |\n|{' --- |' * 6}")
    print(row("the clips as they are", clips, clips, asked), flush=True)
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder), "--disable-api-nodes") as server:
        for scale in arguments.scales:
            made = [
                animated(server, clip, scenes.caption(asked, i), scale)
                for i, clip in enumerate(tqdm(clips, leave=False))
            ]
            print(row(f"motion_scale {scale:g}", torch.stack(made), clips, asked), flush=True)
        made = [from_text(server, scenes.caption(asked, i)) for i in tqdm(range(len(asked)), leave=False)]
        print(row("from the prompt alone", torch.stack(made), clips, asked))


def moving(count: int) -> scenes.Scenes:
    """Scenes in which something moves."""
    drawn = scenes.draw_scenes(2 * count, seed=12, evaluation=True)
    return drawn[drawn.movement < len(scenes.DIRECTIONS)][:count]


def animated(server: Server, clip: Tensor, words: str, scale: float) -> Tensor:
    write_video(server.folder / "input" / "picture.mp4", clip[:1].movedim(1, -1), VideoSettings(quality=100))
    graph = shipped("image_to_video")
    change(graph, "AnimateLCMLoadVideo", video="picture.mp4")
    change(graph, "AnimateLCMImageToVideo", motion_scale=scale)
    change(graph, "CLIPTextEncode", text=words)
    return run(server, graph)


def row(name: str, clips: Tensor, pictured: Tensor, asked: scenes.Scenes) -> str:
    seen, first = measure(clips), measure(clips[:, :1].repeat(1, 2, 1, 1, 1))
    matches = [getattr(first, kind) == getattr(asked, kind) for kind in ("colour", "shape")]
    colour, shape, direction = (f"{100 * m.float().mean():.1f}" for m in (*matches, seen.movement == asked.movement))
    overlap = torch.tensor([intersection_over_union(*pair) for pair in zip(clips, pictured, strict=True)])
    return f"| {name} | {colour} | {shape} | {overlap.mean():.2f} | {direction} | {seen.speed.mean():.2f} |"


def intersection_over_union(one: Tensor, other: Tensor) -> float:
    """Of what the shapes of two clips, (F, 3, H, W), cover in their first frames."""
    here, there = (covered(clip[:1]) > 0.5 for clip in (one, other))
    return float((here & there).sum() / (here | there).sum().clamp(min=1))


if __name__ == "__main__":
    main()
