"""Long clips: how far what is shown jumps, in the joins of windows and inside of them, and what a frame costs.

The mini family through the nodes, in this process: clips of held-out prompts, every other one of them standing still.
What should stand still may not move, and what moves should move evenly. Beside this pack's windows: all frames at once
(up to the motion module's 64), and what people use today, fixed windows that overlap by 4, each frame with its own
noise; through ComfyUI's own node too, where its version can do it.

    python dev.py benchmark joining                           what was measured of these weights is not measured again
    python dev.py benchmark joining --prompts 8 --seeds 1     a part of it
    python dev.py benchmark joining --ideas                   other windows and other noise too
"""

import argparse
import inspect
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from _pack import ROOT, import_pack
from torch import Tensor
from tqdm import tqdm

import_pack()

import comfy.context_windows  # noqa: E402 - ComfyUI has to know by now whether there is a GPU
from _family import STEPS, Family  # noqa: E402 - likewise
from animatelcm.distill.mini import scenes  # noqa: E402 - likewise
from animatelcm.distill.mini.evaluation.metrics import covered  # noqa: E402 - likewise
from animatelcm.nodes.long_clip import AnimateLCMLongClip  # noqa: E402 - likewise
from animatelcm.sampling.windows import WindowPlan, shares, windows  # noqa: E402 - likewise
from comfy_extras.nodes_context_windows import ContextWindowsManualNode  # noqa: E402 - likewise

LENGTH = 16
CELLS = ROOT / "benchmarks" / "results" / "joining.jsonl"
STILL = len(scenes.DIRECTIONS)  # the movement that is none
OURS = "this pack"
TODAY = "fixed, overlap 4, own noise"


@dataclass(frozen=True)
class Strategy:
    """How a clip is cut; nothing of it for all frames at once."""

    plan: WindowPlan | None = None
    repeat_noise: float = 0.0
    comfyui: bool = False


STRATEGIES = {
    "all frames at once": Strategy(),
    TODAY: Strategy(WindowPlan(LENGTH, 4, layout="fixed")),
    "ComfyUI's node, static, overlap 4": Strategy(WindowPlan(LENGTH, 4, layout="fixed"), comfyui=True),
    OURS: Strategy(WindowPlan(), 1.0),
    "this pack, loop": Strategy(WindowPlan(loop=True), 1.0),
}
IDEAS = {
    "moving, not from afar": Strategy(WindowPlan(layout="moving"), 1.0),
    "fixed, overlap 4, repeated noise": Strategy(WindowPlan(overlap=4, layout="fixed"), 1.0),
    "from afar, own noise in the steps": Strategy(WindowPlan(), 0.0),
    "from afar, overlap 1": Strategy(WindowPlan(overlap=1), 1.0),
    "from afar, overlap 4": Strategy(WindowPlan(overlap=4), 1.0),
    "from afar, flat weights": Strategy(WindowPlan(weights="flat"), 1.0),
    "uniform": Strategy(WindowPlan(layout="uniform"), 1.0),
}


@dataclass(frozen=True)
class Cell:
    """What was measured of one clip; pixels of 64.

    Attributes:
        weights: fingerprint of the mini family's files.
        strategy: its name.
        frames: of the clip.
        prompt: number of the prompt; `still` whether it asks for no movement.
        seed: of the noise.
        evaluations: UNet frames per frame and step.
        seconds: of sampling, of the processor's time where there is no GPU.
        joins: largest distance of the centres of two neighbouring frames where windows meet at the last step.
        inside: the same elsewhere.
        closing: the distance from the last frame's centre to the first's.
        usual: the 95th percentile of the distances inside the clip.
        colour: largest distance of the shape's mean colour, over 16 frames, from the first 16 frames', RGB in 0 to 1.
        area: the same of the area, as a share of it.
    """

    weights: str
    strategy: str
    frames: int
    prompt: int
    still: bool
    seed: int
    evaluations: float
    seconds: float
    joins: float
    inside: float
    closing: float
    usual: float
    colour: float
    area: float

    @property
    def jump(self) -> float:
        """The largest distance between two neighbouring frames."""
        return max(self.joins, self.inside)


def main() -> None:
    arguments = parse()
    family = Family()
    asked = prompts(arguments.prompts)
    wanted = STRATEGIES | (IDEAS if arguments.ideas else {})
    cells = [cell for cell in read(arguments.cells) if cell.weights == family.weights]
    known = {(cell.strategy, cell.frames, cell.prompt, cell.seed) for cell in cells}
    chosen = {name: wanted[name] for name in arguments.only or wanted}
    for turn in tqdm([*turns(chosen, arguments)], disable=None):
        if turn not in known and can(chosen[turn[0]], turn[1]):
            cells.append(measured(family, chosen[turn[0]], asked, *turn))
            keep(arguments.cells, cells[-1])
    for frames in arguments.frames:
        print(f"\n{frames} frames\n\n" + table([cell for cell in cells if cell.frames == frames], cells))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--frames", type=int, nargs="+", default=[LENGTH, 64, 256])
    parser.add_argument("--ideas", action="store_true", help="other windows and other noise, too")
    parser.add_argument("--only", nargs="+", metavar="STRATEGY", help="some of the strategies")
    parser.add_argument("--cells", type=Path, default=CELLS, help="file of what was measured")
    return parser.parse_args()


def turns(chosen: dict[str, Strategy], arguments: argparse.Namespace) -> Iterator[tuple[str, int, int, int]]:
    """Strategies take turns, so that a slower minute of the machine falls on all of them."""
    for seed in range(arguments.seeds):
        for prompt in range(arguments.prompts):
            for frames in arguments.frames:
                for name in chosen if frames > LENGTH else list(STRATEGIES)[:1]:
                    yield name, frames, prompt, seed


def can(strategy: Strategy, frames: int) -> bool:
    if strategy.comfyui:  # older versions fail on SD1.5
        return "freenoise" in inspect.signature(comfy.context_windows.IndexListContextHandler).parameters
    return strategy.plan is not None or frames <= 64


def prompts(count: int) -> scenes.Scenes:
    """Held-out scenes, every other one of them standing still."""
    drawn = scenes.draw_scenes(8192, seed=15, evaluation=True)  # the same, however many of them are asked for
    still, moving = (drawn[keep] for keep in (drawn.movement == STILL, drawn.movement < STILL))
    order = torch.arange(count) // 2
    fields = {
        name: torch.where(torch.arange(count) % 2 == 0, getattr(still, name)[order], getattr(moving, name)[order])
        for name in vars(drawn)
    }
    return replace(drawn, **fields)


# Making clips


def cut(model: Any, strategy: Strategy) -> Any:
    """The model that samples as a strategy says."""
    plan = strategy.plan
    if plan is None:
        return model
    if strategy.comfyui:
        return ContextWindowsManualNode.execute(
            model=model,
            context_length=plan.length,
            context_overlap=plan.overlap,
            context_schedule="standard_static",
            context_stride=1,
            closed_loop=False,
            fuse_method="pyramid",
            dim=0,
            freenoise=False,
        )[0]
    values: dict[str, Any] = {"windows": plan.layout, "weights": plan.weights, "stride": plan.stride, "loop": plan.loop}
    return AnimateLCMLongClip.execute(
        model, length=plan.length, overlap=plan.overlap, repeat_noise=strategy.repeat_noise, **values
    )[0]


def measured(
    family: Family, strategy: Strategy, asked: scenes.Scenes, name: str, frames: int, prompt: int, seed: int
) -> Cell:
    model, conditioning = cut(family.model, strategy), family.encode(scenes.caption(asked, prompt))
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time  # others may be at work on a CPU
    start = clock()
    latents = family.sampled(model, conditioning, frames, seed)
    seconds = clock() - start
    clip = family.decoded(latents)
    places, areas, colours = shown(clip)
    steps = (places[1:] - places[:-1]).norm(dim=1)
    at = joins(strategy, frames)
    elsewhere = torch.ones(len(steps), dtype=torch.bool)
    elsewhere[at] = False
    return Cell(
        family.weights,
        name,
        frames,
        prompt,
        bool(asked.movement[prompt] == STILL),
        seed,
        evaluations(strategy, frames),
        seconds,
        float(steps[at].max()) if at else 0.0,
        float(steps[elsewhere].max()),
        float((places[0] - places[-1]).norm()),
        float(steps.quantile(0.95)),
        drift(colours),
        drift(areas[:, None] / areas.mean()),
    )


def evaluations(strategy: Strategy, frames: int) -> float:
    plan = strategy.plan
    if plan is None:
        return 1.0
    return sum(len(window) for step in range(STEPS) for window in windows(plan, frames, step, STEPS)) / (STEPS * frames)


def joins(strategy: Strategy, frames: int) -> list[int]:
    """Between which frames, i and i + 1, another window has the most say from then on, at the last step."""
    plan = strategy.plan
    if plan is None:
        return []
    most, now = [(0.0, 0)] * frames, windows(plan, frames, STEPS - 1, STEPS)
    for number, (window, share) in enumerate(zip(now, shares(now, plan.weights), strict=True)):
        for frame, value in zip(window, share, strict=True):
            most[frame] = max(most[frame], (value, number))
    return [i for i in range(frames - 1) if most[i][1] != most[i + 1][1]]


# Measuring them


def shown(clip: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The centre (F, 2) and the area (F,) in pixels, and the mean colour (F, 3), of what each frame shows."""
    cover, pixels = covered(clip), torch.arange(clip.shape[-1]) + 0.5
    area = cover.sum((1, 2)).clamp(min=1e-3)
    places = torch.stack([(cover.sum(1) * pixels).sum(1) / area, (cover.sum(2) * pixels).sum(1) / area], dim=1)
    return places, area, (clip * cover[:, None]).sum((2, 3)) / area[:, None]


def drift(values: Tensor) -> float:
    """The largest distance of a stretch's mean from the first one's, of (F, C)."""
    means = torch.stack([part.mean(0) for part in values.split(LENGTH)])
    return float((means - means[0]).norm(dim=1).max())


# The table


def read(path: Path) -> list[Cell]:
    return [Cell(**json.loads(line)) for line in path.read_text().splitlines()] if path.is_file() else []


def keep(path: Path, cell: Cell) -> None:
    row = {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(cell).items()}
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def table(cells: list[Cell], all_cells: list[Cell]) -> str:
    """A row per strategy: means over clips, and their standard errors."""
    short = [cell.seconds / cell.frames for cell in all_cells if cell.frames == LENGTH]
    titles = ["", "clips", "UNet frames", "time", "still", "moving", "at joins", "inside", "last to first"]
    titles += ["95th percentile", "colour", "area"]
    lines = [f"| {' | '.join(titles)} |", f"|{' --- |' * len(titles)}"]
    for name in dict.fromkeys(cell.strategy for cell in cells):
        own = [cell for cell in cells if cell.strategy == name]
        columns: list[Callable[[Cell], float]] = [
            lambda cell: cell.joins,
            lambda cell: cell.inside,
            lambda cell: cell.closing,
            lambda cell: cell.usual,
            lambda cell: cell.colour,
            lambda cell: cell.area,
        ]
        time_of = [cell.seconds / cell.frames for cell in own]
        cost = f"{middle(time_of) / middle(short):.2f}" if short else "-"
        row = [name, str(len(own)), f"{own[0].evaluations:.2f}", cost]
        row += [spread([cell.jump for cell in own if cell.still is still]) for still in (True, False)]
        row += [spread([column(cell) for cell in own]) for column in columns]
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def middle(values: list[float]) -> float:
    return float(torch.tensor(values).median())


def spread(values: list[float]) -> str:
    if not values:
        return "-"
    numbers = torch.tensor(values)
    error = float(numbers.std()) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return f"{numbers.mean():.2f} ± {error:.2f}"


if __name__ == "__main__":
    main()
