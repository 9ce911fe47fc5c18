"""Whether what is shown follows the drawn box: the overlap of the two, frame by frame, on three kinds of paths.

The prompts say colour, shape, size and background that were never trained on together, and no movement. Beside the mini
family's clips with a layout: videos from the same prompts alone.

    python dev.py benchmark following
    python dev.py benchmark following --frames 64    the same paths in four times the time, in windows
"""

import argparse
import tempfile
from pathlib import Path

import torch
from _mini import change, from_text, in_windows, run, shipped
from _pack import import_pack
from torch import Tensor
from tqdm import tqdm

import_pack()

from animatelcm.comfyui_server import Server, prompt_of  # noqa: E402 - needs the name above
from animatelcm.distill.mini import scenes  # noqa: E402 - likewise
from animatelcm.distill.mini.evaluation.metrics import covered, measure  # noqa: E402 - likewise
from animatelcm.layout.boxes import Box, Layout  # noqa: E402 - likewise
from animatelcm.layout.keyframes import Keyframe  # noqa: E402 - likewise
from animatelcm.layout.parse import write_layout  # noqa: E402 - likewise

LAST = scenes.FRAMES - 1
MARGIN = 0.02  # between the path and the picture's edge
# Keyframes of each path: the frame, where the box is between the left and the right, the top and the bottom, the easing
PATHS = {
    "straight": ((0, 0.0, 0.2, "linear"), (LAST, 1.0, 0.8, "linear")),
    "curved": ((0, 0.0, 1.0, "ease out"), (8, 0.5, 0.0, "ease in"), (LAST, 1.0, 1.0, "linear")),
    "stop and go": ((0, 0.0, 0.5, "ease"), (5, 0.5, 0.5, "linear"), (10, 0.5, 0.5, "ease"), (LAST, 1.0, 0.5, "linear")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--frames", type=int, default=scenes.FRAMES)
    arguments = parser.parse_args()
    asked = scenes.draw_scenes(arguments.clips, seed=13, evaluation=True)
    print("| | mean IoU | clips of 0.6 and more | colour | shape |\n| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder), "--disable-api-nodes") as server:
        for name in PATHS:
            layouts = [along(name, asked[i : i + 1], arguments.frames) for i in range(len(asked))]
            ways = {name: led} | (
                {f"{name}, from the prompt alone": alone} if arguments.frames == scenes.FRAMES else {}
            )
            for what, make in ways.items():
                made = [make(server, words(asked, i), layouts[i]) for i in tqdm(range(len(asked)), leave=False)]
                print(row(what, made, layouts, asked), flush=True)


def along(path: str, scene: scenes.Scenes, frames: int) -> Layout:
    """A path for a box of the scene's shape and size, wherever there is room, that takes so many frames."""
    left, top, right, bottom = scenes.boxes(scene, torch.zeros(1))[0, 0].tolist()
    width, height = right - left, bottom - top
    room_x, room_y = 1 - width - 2 * MARGIN, 1 - height - 2 * MARGIN
    keyframes = [
        Keyframe(round(frame * (frames - 1) / LAST), MARGIN + x * room_x, MARGIN + y * room_y, width, height, easing)
        for frame, x, y, easing in PATHS[path]
    ]
    return Layout((Box("shape", tuple(keyframes)),))


def words(asked: scenes.Scenes, index: int) -> str:
    movement = scenes.MOVEMENTS[asked.movement[index]]
    return scenes.caption(asked, index).replace(f" moving {movement}", "").replace(f" {movement}", "")


def led(server: Server, prompt: str, layout: Layout) -> Tensor:
    graph = shipped("layout_to_video")
    change(graph, "AnimateLCMLayout", text=write_layout(layout))
    for kind in ("AnimateLCMLayoutHints", "AnimateLCMEmptyLatent"):
        change(graph, kind, frames=1 + layout.boxes[0].keyframes[-1].frame)
    in_windows(graph)
    prompt_of(graph)["text"] = prompt
    return run(server, graph)


def alone(server: Server, prompt: str, layout: Layout) -> Tensor:
    return from_text(server, prompt)


def row(name: str, made: list[Tensor], layouts: list[Layout], asked: scenes.Scenes) -> str:
    overlaps = torch.stack([overlap(*pair) for pair in zip(made, layouts, strict=True)])
    seen = measure(torch.stack(made))
    shares = [
        (overlaps >= 0.6).float(),
        *((getattr(seen, k) == getattr(asked, k)).float() for k in ("colour", "shape")),
    ]
    return f"| {name} | {overlaps.mean():.2f} | {' | '.join(f'{100 * share.mean():.1f}' for share in shares)} |"


def overlap(clip: Tensor, layout: Layout) -> Tensor:
    """The mean over frames of the IoU of the drawn box and the box around what a clip (F, 3, H, W) shows."""
    drawn = layout.rectangles(len(clip))[0]
    shown = torch.stack([bounds(mask) for mask in covered(clip) > 0.5])
    low, high = torch.maximum(drawn[:, :2], shown[:, :2]), torch.minimum(drawn[:, 2:], shown[:, 2:])
    both = (high - low).clamp(min=0).prod(1)
    return (both / (area(drawn) + area(shown) - both)).mean()


def area(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).prod(1)


def bounds(mask: Tensor) -> Tensor:
    """Left, top, right and bottom of what is set in (H, W), as shares; nought where nothing is."""
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    if not len(rows):
        return torch.zeros(4)
    height, width = mask.shape
    edges = [columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height]
    return torch.stack(edges)


if __name__ == "__main__":
    main()
