"""Prompts over time: whether each half of a long clip shows what its own prompt asks for.

The mini family through the nodes, in this process: clips of 64 frames whose prompt turns, over 8 frames in the middle,
from one direction to another, or from one colour to another. A direction is that of the bright side, which the shapes
have where they go, in the mean of a half's frames, and that of the way which the centre takes through the half.

    python dev.py benchmark turning --clips 8
"""

import argparse
import math

import torch
from _pack import import_pack
from torch import Tensor
from tqdm import tqdm

import_pack()

from _family import Family  # noqa: E402 - ComfyUI has to know by now whether there is a GPU
from animatelcm.distill.mini import scenes  # noqa: E402 - likewise
from animatelcm.distill.mini.evaluation.metrics import covered, measure  # noqa: E402 - likewise
from animatelcm.nodes.prompt_schedule import AnimateLCMPromptSchedule  # noqa: E402 - likewise

FRAMES, HALVES = 64, (slice(0, 28), slice(36, 64))
WAYS = ("right", "up", "left", "down")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=32, help="of each kind")
    arguments = parser.parse_args()
    family = Family()
    ways, colours = [], []
    for i in tqdm(range(arguments.clips), leave=False):
        shape, size = scenes.SHAPES[i % len(scenes.SHAPES)], list(scenes.SIZES)[i % len(scenes.SIZES)]
        there, back = WAYS[i % 4], WAYS[(i + 1 + i // 4 % 3) % 4]
        colour, other = scenes.COLOURS[i % len(scenes.COLOURS)], scenes.COLOURS[(i + 2) % len(scenes.COLOURS)]
        on = "on a black background"
        clip = turned(family, f"a {size} {colour} {shape} moving {there} {on}", there, back, i)
        ways += [(*directions(clip[half]), way) for half, way in zip(HALVES, (there, back), strict=True)]
        clip = turned(family, f"a {size} {colour} {shape} moving {there} {on}", colour, other, i)
        colours += [
            scenes.COLOURS.index(name) == measure(clip[half][None]).colour
            for half, name in zip(HALVES, (colour, other), strict=True)
        ]
    print("| halves | bright side | way of the centre | colour |\n| --- | --- | --- | --- |")
    shares = [[found[k] == found[2] for found in ways] for k in (0, 1)] + [colours]
    print(f"| {len(ways)} | {' | '.join(f'{100 * sum(map(bool, s)) / len(s):.1f}' for s in shares)} |")


def turned(family: Family, words: str, one: str, other: str, seed: int) -> Tensor:
    """A clip whose prompt has `other` in place of `one` in its second half."""
    (first, last), (start, _) = ((half.start, half.stop) for half in HALVES)
    text = f"{first}: {words}\n{last}: {words}\n{start}: {words.replace(one, other)}"
    conditioning = AnimateLCMPromptSchedule.execute(family.clip, text, FRAMES, "", "", "linear")[0]
    model = family.in_windows()
    return family.decoded(family.sampled(model, conditioning, FRAMES, seed))


def directions(clip: Tensor) -> tuple[str, str]:
    """Where the bright side is, and where the centre goes, of (F, 3, H, W): of four ways, the nearest."""
    cover = covered(clip)
    bright = cover * (clip.amin(1) > 0.75)
    places = centre(cover)
    time = torch.arange(len(clip)) - (len(clip) - 1) / 2
    return nearest((centre(bright) - places).mean(0)), nearest((time[:, None] * places).sum(0))


def centre(cover: Tensor) -> Tensor:
    """X and y in pixels, (F, 2), of (F, H, W)."""
    pixels, weight = torch.arange(cover.shape[-1]) + 0.5, cover.sum((1, 2)).clamp(min=1e-3)
    return torch.stack([(cover.sum(1) * pixels).sum(1) / weight, (cover.sum(2) * pixels).sum(1) / weight], dim=1)


def nearest(way: Tensor) -> str:
    x, y = way.tolist()
    return WAYS[round(math.atan2(-y, x) / (math.pi / 2)) % 4]


if __name__ == "__main__":
    main()
