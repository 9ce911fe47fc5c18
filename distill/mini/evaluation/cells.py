"""A cell of a table: clips of held-out prompts made in one way, measured, and kept as numbers beside RESULTS.md.

A cell is kept after every part of its prompts: a killed run goes on, and a table grows over several.
"""

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from ..autoencoder import decode, encode
from ..scenes import FRAMES, STYLES, Scenes, caption, draw_scenes, render
from ..stages import load_autoencoder
from ..train import agreed, rank, world
from ..unet import LATENT_SHAPE
from .frechet import describe
from .metrics import measure, scores
from .recipe import Animated, Recipe, combine
from .samplers import Sampler
from .styles import styled

CELLS = Path(__file__).parents[2] / "results" / "cells"
SEED = 7
PROMPTS = 256
PART = 32  # prompts, after which a cell is kept: a minute or two
BATCH = 16
SHOWN = 2  # clips of a cell that are kept for people to look at,
EVERY = 5  # every so many of their frames
GROUPS = 8  # of the prompts, for the spread

Rows = dict[str, Tensor]  # a row per clip of its scores and its "features"


@dataclass(frozen=True)
class Cell:
    """Clips of held-out prompts.

    Attributes:
        name: in the table.
        recipe: what makes them.
        sampler: how.
        evaluations: of the UNet that a clip takes, one with CFG counting twice.
        prompts: how many; a multiple of `PART`.
        seed: that they are drawn from; tables that choose a setting have another one than those that report it.
    """

    name: str
    recipe: Recipe
    sampler: Sampler
    evaluations: int
    prompts: int = PROMPTS
    seed: int = SEED

    def scenes(self, count: int) -> Scenes:
        """What the first `count` clips are asked to show."""
        return draw_scenes(self.prompts, self.seed, evaluation=True)[:count]


class Kept:
    """What is kept of one cell of a table: its rows so far, and a strip of frames of its first clips.

    Args:
        table: title of the table.
        cell: the cell.
        folder: of all cells.
    """

    def __init__(self, table: str, cell: Cell, folder: Path) -> None:
        self.path = folder / f"{slug(table)}_{slug(cell.name)}.safetensors"
        self.strip = self.path.with_suffix(".png")

    def rows(self, made_by: str) -> Rows:
        """The rows that the same weights made, none where there are none."""
        if not self.path.exists():
            return {}
        with safe_open(self.path, "pt") as file:
            if file.metadata()["made by"] != made_by:
                return {}
            return {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 - no mapping

    def keep(self, rows: Rows, made_by: str) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        save_file({name: column.half() for name, column in rows.items()}, part, {"made by": made_by})
        part.replace(self.path)

    def keep_strip(self, clips: Tensor) -> None:
        """Some frames of clips (N, F, 3, 64, 64) in 0..1, in a row."""
        frames = clips[:SHOWN, ::EVERY].flatten(0, 1).permute(2, 0, 3, 1).flatten(1, 2)
        part = self.strip.with_suffix(".part")
        part.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(frames.mul(255).round().byte().numpy()).quantize(64).save(part, format="PNG", optimize=True)
        part.replace(self.strip)


def slug(words: str) -> str:
    """A name of a file: letters, digits and underscores."""
    return re.sub(r"[^a-z0-9.]+", "_", words.lower().replace("++", "pp")).strip("_")


@torch.no_grad()
def measured(run: Path, table: str, cell: Cell, until: float = float("inf"), folder: Path = CELLS) -> Rows:
    """The rows of a cell: those that are kept, and what there is time to make.

    Args:
        run: where the stages' results are.
        table: title of the table that the cell belongs to.
        cell: the cell.
        until: reading of the monotonic clock after which no further part is begun.
        folder: where cells are kept.
    """
    kept, made_by = Kept(table, cell, folder), fingerprint(run, cell)
    rows, scenes, animated = kept.rows(made_by), cell.scenes(cell.prompts), None
    have = count(rows)
    for start in tqdm(range(have, cell.prompts, PART), cell.name, unit="part", leave=False, disable=rank() != 0):
        if agreed(time.monotonic()) > until:
            break
        animated = animated or combine(run, cell.recipe)
        made = _sampled(load_autoencoder(run), animated, cell.sampler, scenes[start : start + PART], start)
        if rank() == 0 and start == 0:
            kept.keep_strip(made["clips"])
        del made["clips"]
        rows = joined([rows, made]) if rows else made
        if rank() == 0:
            kept.keep(rows, made_by)
    return rows


def count(rows: Rows) -> int:
    return len(rows["features"]) if rows else 0


def described(clips: Tensor, scenes: Scenes) -> Rows:
    """The rows of clips (N, F, 3, 64, 64) in 0..1 that were asked to show the scenes."""
    styles = {f"style_{style}": styled(clips, style).float() for style in STYLES[1:]}
    return scores(measure(clips), scenes) | styles | {"features": describe(clips)}


def joined(parts: Iterable[Rows]) -> Rows:
    columns = list(parts)
    return {name: torch.cat([part[name] for part in columns]) for name in columns[0]}


def renders(number: int, seed: int) -> Iterator[tuple[Tensor, Scenes]]:
    """Clips of held-out scenes, a batch at a time."""
    scenes = draw_scenes(number, seed, evaluation=True)
    for start in range(0, number, BATCH):
        part = scenes[start : start + BATCH]
        yield render(part, torch.arange(FRAMES, dtype=torch.float32)), part


@torch.no_grad()
def oracle(run: Path, prompts: int) -> Rows:
    """The cells' own scenes, rendered and sent through the VAE: the most that any sampler can reach."""
    autoencoder = load_autoencoder(run)
    return joined(
        described(decode(autoencoder, encode(autoencoder, clips)), scenes) for clips, scenes in renders(prompts, SEED)
    )


def with_error(statistic: Callable[[Tensor], float], rows: int) -> tuple[float, float]:
    """A statistic of all rows, and its standard error: the jackknife over eight groups of them.

    Args:
        statistic: a function of the indices of the rows that it is taken of.
        rows: how many there are.
    """
    index = torch.arange(rows)
    without = torch.tensor([statistic(index[index % GROUPS != group]) for group in range(GROUPS)], dtype=torch.float64)
    error = ((GROUPS - 1) / GROUPS * (without - without.mean()).square().sum()).sqrt()
    return statistic(index), error.item()


def fingerprint(run: Path, cell: Cell) -> str:
    """Changes with what a cell is asked, its recipe, and the weights of any stage that it names."""
    asked = {"recipe": repr(cell.recipe), "evaluations": cell.evaluations, "seed": cell.seed, "prompts": cell.prompts}
    digest = hashlib.sha256(json.dumps(asked).encode())
    for stage in cell.recipe.stages:
        for name, weight in sorted(torch.load(run / f"{stage}.pt", weights_only=True).items()):
            # As files of half precision have them, so that a trained run and its files count as the same
            digest.update(name.encode() + weight.half().numpy().tobytes())
    return digest.hexdigest()


def _sampled(autoencoder: nn.Module, animated: Animated, sampler: Sampler, scenes: Scenes, first: int) -> Rows:
    """The processes take turns at batches, and then all have all."""
    batches: Mapping[int, Rows] = {
        start: _batch(autoencoder, animated, sampler, scenes[start : start + BATCH], first + start)
        for start in range(rank() * BATCH, len(scenes), world() * BATCH)
    }
    if world() > 1:
        gathered: list[Mapping[int, Rows]] = [{}] * world()
        dist.all_gather_object(gathered, batches)
        batches = {start: rows for part in gathered for start, rows in part.items()}
    return joined(batches[start] for start in sorted(batches))


def _batch(autoencoder: nn.Module, animated: Animated, sampler: Sampler, scenes: Scenes, first: int) -> Rows:
    generator = torch.Generator().manual_seed(first)
    x = torch.randn(len(scenes), FRAMES, *LATENT_SHAPE, generator=generator)
    clips = decode(autoencoder, sampler(animated, x, [caption(scenes, i) for i in range(len(scenes))], generator))
    return described(clips, scenes) | {"clips": clips[:SHOWN]}
