"""A cell of a table: clips of held-out prompts made in one way, measured, and kept so that a killed run goes on."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from tqdm import tqdm

from ..autoencoder import decode, encode
from ..scenes import FRAMES, STYLES, Scenes, caption, draw_scenes, render
from ..stages import load_autoencoder
from ..train import rank, save, world
from ..unet import LATENT_SHAPE
from .frechet import describe
from .metrics import measure, scores
from .recipe import Animated, Recipe, combine
from .samplers import Sampler
from .styles import styled

SEED = 7
PART = 100  # prompts, after which a cell is kept: minutes at most
BATCH = 10
SHOWN = 5  # of each batch's first clip every so many frames are kept, for people
GROUPS = 5  # of the prompts, for the spread

Rows = dict[str, Tensor]  # a row per clip of its scores and "features", and of some clips a few frames, "shown"


@dataclass(frozen=True)
class Cell:
    """Clips of the first `prompts` held-out prompts.

    Attributes:
        name: also of the files that it is kept in.
        recipe: what makes them.
        sampler: how.
        prompts: how many; a multiple of a hundred.
    """

    name: str
    recipe: Recipe
    sampler: Sampler
    prompts: int


@torch.no_grad()
def measured(run: Path, cell: Cell) -> Rows:
    """The rows of a cell; parts of it that the same weights made before are read."""
    scenes = draw_scenes(cell.prompts, SEED, evaluation=True)
    made_by, animated, parts = fingerprint(run, cell.recipe), None, []
    for start in tqdm(range(0, cell.prompts, PART), cell.name, unit="part", leave=False, disable=rank() != 0):
        path = run / "cells" / cell.name / f"{start}.pt"
        rows = _kept(path, made_by)
        if rows is None:
            animated = animated or combine(run, cell.recipe)
            rows = _sampled(load_autoencoder(run), animated, cell.sampler, scenes[start : start + PART], start)
            save(path, rows | {"made by": made_by})
        parts.append(rows)
    return joined(parts)


def described(clips: Tensor, scenes: Scenes) -> Rows:
    """The rows of clips (N, F, 3, 64, 64) in 0..1 that were asked to show the scenes."""
    shown = clips[:1, ::SHOWN].mul(255).round().byte()
    styles = {f"style_{style}": styled(clips, style).float() for style in STYLES[1:]}
    return scores(measure(clips), scenes) | styles | {"features": describe(clips), "shown": shown}


def joined(parts: Iterable[Rows]) -> Rows:
    columns = list(parts)
    return {name: torch.cat([part[name] for part in columns]) for name in columns[0]}


def renders(count: int, seed: int) -> Iterator[tuple[Tensor, Scenes]]:
    """Clips of held-out scenes, a batch at a time."""
    scenes = draw_scenes(count, seed, evaluation=True)
    for start in range(0, count, BATCH):
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
    """A statistic of all rows, and its standard error: the jackknife over five groups of them.

    Args:
        statistic: a function of the indices of the rows that it is taken of.
        rows: how many there are.
    """
    index = torch.arange(rows)
    without = torch.tensor([statistic(index[index % GROUPS != group]) for group in range(GROUPS)], dtype=torch.float64)
    error = ((GROUPS - 1) / GROUPS * (without - without.mean()).square().sum()).sqrt()
    return statistic(index), error.item()


def fingerprint(run: Path, recipe: Recipe) -> str:
    """Changes with the recipe, and with the results of any stage that it names."""
    digest = hashlib.sha256(repr(recipe).encode())
    for stage in recipe.stages:
        digest.update((run / f"{stage}.pt").read_bytes())
    return digest.hexdigest()


def _kept(path: Path, made_by: str) -> Rows | None:
    kept = torch.load(path, weights_only=True) if path.exists() else {"made by": ""}
    return kept if kept.pop("made by") == made_by else None


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
    latents = sampler(animated, x, [caption(scenes, i) for i in range(len(scenes))], generator)
    return described(decode(autoencoder, latents), scenes)
