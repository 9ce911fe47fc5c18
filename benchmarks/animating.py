"""What image to video does with a picture: whether the clip begins with it, where it goes, and how fast.

The pictures are first frames of rendered clips whose colour, shape and movement were never trained on together. Beside
the mini family's clips: the rendered ones, and videos made from the same prompts alone. Then with one picture and with
two, the first and the last of the rendered clip, in clips of one window and in long ones.

    python dev.py benchmark animating
"""

import argparse
import itertools
import tempfile
from pathlib import Path

import torch
from _mini import change, from_text, in_windows, run, shipped
from _pack import import_pack
from torch import Tensor
from tqdm import tqdm

import_pack()

from animatelcm.comfyui_server import Server  # noqa: E402 - needs the name above
from animatelcm.distill.mini import scenes  # noqa: E402 - likewise
from animatelcm.distill.mini.evaluation.metrics import covered, measure  # noqa: E402 - likewise
from animatelcm.video.write import VideoSettings, write_video  # noqa: E402 - likewise

LENGTHS = (scenes.FRAMES, 64)
USUAL_SCALE = 0.8  # of 'AnimateLCM Image to Video'


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
            made = animated(server, clips[:, :1], asked, scale)
            print(row(f"motion_scale {scale:g}", made, clips, asked), flush=True)
        told = [from_text(server, scenes.caption(asked, i)) for i in tqdm(range(len(asked)), leave=False)]
        print(row("from the prompt alone", torch.stack(told), clips, asked), flush=True)
        print("\n| pictures | frames | IoU of the first frame | of the last |\n| --- | --- | --- | --- |")
        for pictures, frames in itertools.product((1, 2), LENGTHS):
            made = animated(server, clips[:, [0, -1][:pictures]], asked, USUAL_SCALE, frames)
            overlaps = [f"{overlap(made[:, at], clips[:, at]):.2f}" for at in (0, -1)][:pictures]
            print(f"| {pictures} | {frames} | {' | '.join(overlaps)} |{' |' * (2 - pictures)}", flush=True)


def moving(count: int) -> scenes.Scenes:
    """Scenes in which something moves."""
    drawn = scenes.draw_scenes(2 * count, seed=12, evaluation=True)
    return drawn[drawn.movement < len(scenes.DIRECTIONS)][:count]


def animated(
    server: Server, pictures: Tensor, asked: scenes.Scenes, scale: float, frames: int = scenes.FRAMES
) -> Tensor:
    """Clips (N, frames, 3, H, W) that go through pictures (N, pictures, 3, H, W), from the first frame to the last."""
    made = []
    for i, shown in enumerate(tqdm(pictures, leave=False)):
        write_video(server.folder / "input" / "pictures.mp4", shown.movedim(1, -1), VideoSettings(quality=100))
        graph = shipped("image_to_video")
        change(graph, "AnimateLCMLoadVideo", video="pictures.mp4", frames=len(shown))
        change(graph, "AnimateLCMImageToVideo", motion_scale=scale, frames=frames)
        change(graph, "CLIPTextEncode", text=scenes.caption(asked, i))
        in_windows(graph)
        made.append(run(server, graph))
    return torch.stack(made)


def row(name: str, clips: Tensor, pictured: Tensor, asked: scenes.Scenes) -> str:
    seen, first = measure(clips), measure(clips[:, :1].repeat(1, 2, 1, 1, 1))
    matches = [getattr(first, kind) == getattr(asked, kind) for kind in ("colour", "shape")]
    colour, shape, direction = (f"{100 * m.float().mean():.1f}" for m in (*matches, seen.movement == asked.movement))
    begun = overlap(clips[:, 0], pictured[:, 0])
    return f"| {name} | {colour} | {shape} | {begun:.2f} | {direction} | {seen.speed.mean():.2f} |"


def overlap(shown: Tensor, pictured: Tensor) -> float:
    """The mean IoU of what the shapes cover in two lists of pictures, (N, 3, H, W)."""
    here, there = covered(shown) > 0.5, covered(pictured) > 0.5
    return float(((here & there).sum((1, 2)) / (here | there).sum((1, 2)).clamp(min=1)).mean())


if __name__ == "__main__":
    main()
