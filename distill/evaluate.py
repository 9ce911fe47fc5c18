"""What the family does to held-out prompts, measured in pixels, as a table in RESULTS.md."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..motion.transformer import MotionModule
from .autoencoder import decode, encode
from .diffusion import BASE, MOTION, ddim, guided, lcm
from .lora import Merged
from .metrics import measure, scores
from .scenes import FRAMES, caption, draw_scenes, render
from .stages import BETA, contexts, load_autoencoder, load_base, load_lora, load_motion
from .text import encode_text
from .train import rank, world
from .unet import LATENT_SHAPE, video_noise

PROMPTS = 500
FEWER_PROMPTS = 40  # for the rows around it
TEACHER_STEPS, TEACHER_CFG = 25, 3.0
BATCH = 10
SEED = 7
RESULTS = Path(__file__).with_name("RESULTS.md")
COLUMNS = ("colour", "shape", "movement", "one_blob", "coherent", "flicker")


@dataclass(frozen=True)
class Family:
    """Everything a clip is made from. `image` is the UNet with the acceleration LoRA merged at `BETA`."""

    base: nn.ModuleDict
    image: nn.Module
    teacher: MotionModule
    student: MotionModule


Sampler = Callable[[Family, Tensor, list[str], torch.Generator], Tensor]  # (family, noise, prompts) -> latents


def load_family(run: Path) -> Family:
    base = load_base(run)
    image = Merged(base["unet"], {k: v.detach() for k, v in load_lora(run).merged(base["unet"], BETA).items()})
    return Family(base, image, load_motion(run, "motion"), load_motion(run, "lcm_video"))


# Ways to sample


def animatelcm(steps: int, gamma: float = 1.0) -> Sampler:
    def sample(family: Family, x: Tensor, prompts: list[str], generator: torch.Generator) -> Tensor:
        context = encode_text(family.base["text"], prompts)

        def model(x: Tensor, t: Tensor) -> Tensor:
            return video_noise(family.image, family.student, x, t, context, gamma)

        return lcm(model, x, MOTION, steps, generator)

    return sample


def without_acceleration(steps: int) -> Sampler:
    """The student's motion module on the plain image model, with the image model's own betas, sampled with DDIM."""

    def sample(family: Family, x: Tensor, prompts: list[str], _generator: torch.Generator) -> Tensor:
        context = encode_text(family.base["text"], prompts)
        return ddim(lambda x, t: video_noise(family.base["unet"], family.student, x, t, context), x, BASE, steps)

    return sample


def teacher(steps: int, cfg: float) -> Sampler:
    def sample(family: Family, x: Tensor, prompts: list[str], _generator: torch.Generator) -> Tensor:
        context, empty = contexts(family.base, prompts)

        def model(x: Tensor, t: Tensor) -> Tensor:
            conditional = video_noise(family.base["unet"], family.teacher, x, t, context)
            if cfg == 1:
                return conditional
            return guided(conditional, video_noise(family.base["unet"], family.teacher, x, t, empty), cfg)

        return ddim(model, x, MOTION, steps)

    return sample


ROWS: dict[str, tuple[Sampler, int]] = {
    "**AnimateLCM, 4 steps, no CFG**": (animatelcm(4), PROMPTS),
    "γ = 0, 4 steps": (animatelcm(4, gamma=0.0), FEWER_PROMPTS),
    "no LoRA, image model's schedule, DDIM, 4 steps, no CFG": (without_acceleration(4), FEWER_PROMPTS),
    "AnimateLCM, 1 step": (animatelcm(1), FEWER_PROMPTS),
    "AnimateLCM, 2 steps": (animatelcm(2), FEWER_PROMPTS),
    "AnimateLCM, 8 steps": (animatelcm(8), FEWER_PROMPTS),
    "teacher, DDIM, 4 steps, no CFG": (teacher(4, 1.0), FEWER_PROMPTS),
    f"teacher, DDIM, 4 steps, CFG {TEACHER_CFG:g}": (teacher(4, TEACHER_CFG), FEWER_PROMPTS),
    f"teacher, DDIM, {TEACHER_STEPS} steps, CFG {TEACHER_CFG:g}": (teacher(TEACHER_STEPS, TEACHER_CFG), FEWER_PROMPTS),
}


# The table


@torch.no_grad()
def evaluate(run: Path) -> None:
    """Measure every row and the two that frame them, and write RESULTS.md."""
    family, autoencoder = load_family(run), load_autoencoder(run)
    lines = [
        _line("oracle: real clips through the VAE", FEWER_PROMPTS, oracle_scores(autoencoder), None),
        _line("random: clips of other prompts", PROMPTS, random_scores(), None),
    ]
    for name, (sampler, count) in ROWS.items():
        started = time.monotonic()
        row = sampled_scores(family, autoencoder, sampler, count)
        lines.append(_line(name, count, row, time.monotonic() - started))
        _write(lines)


def sampled_scores(family: Family, autoencoder: nn.Module, sampler: Sampler, count: int) -> dict[str, float]:
    """Mean scores of a sampler on held-out prompts; the processes share them."""
    scenes = draw_scenes(count, SEED, evaluation=True)
    totals: list[dict[str, Tensor]] = []
    for start in range(rank() * BATCH, count, world() * BATCH):
        part = scenes[start : start + BATCH]
        generator = torch.Generator().manual_seed(start)
        x = torch.randn(len(part), FRAMES, *LATENT_SHAPE, generator=generator)
        latents = sampler(family, x, [caption(part, i) for i in range(len(part))], generator)
        totals.append(scores(measure(decode(autoencoder, latents)), part))
    return _means(totals)


def oracle_scores(autoencoder: nn.Module) -> dict[str, float]:
    scenes = draw_scenes(FEWER_PROMPTS, SEED, evaluation=True)
    clips = render(scenes, torch.arange(FRAMES, dtype=torch.float32))
    return _means([scores(measure(decode(autoencoder, encode(autoencoder, clips))), scenes)])


def random_scores() -> dict[str, float]:
    """Perfect clips of something else: what chance gives."""
    scenes, others = (draw_scenes(PROMPTS, seed, evaluation=True) for seed in (SEED, SEED + 1))
    names = ("colour", "shape", "movement")
    return {name: (getattr(scenes, name) == getattr(others, name)).float().mean().item() for name in names}


def _means(parts: list[dict[str, Tensor]]) -> dict[str, float]:
    sums = torch.tensor([[sum(p[name].sum().item() for p in parts) for name in COLUMNS]]).flatten()
    count = torch.tensor(float(sum(len(p["colour"]) for p in parts)))
    if world() > 1:
        dist.all_reduce(sums)
        dist.all_reduce(count)
    return dict(zip(COLUMNS, (sums / count).tolist(), strict=True))


def _line(name: str, count: int, row: dict[str, float], seconds: float | None) -> str:
    cells = ["" if c not in row else f"{row[c]:.3f}" if c == "flicker" else f"{100 * row[c]:.1f}" for c in COLUMNS]
    line = f"| {name} | {count} | {' | '.join(cells)} | {'' if seconds is None else f'{seconds / count:.2f}'} |"
    if rank() == 0:
        print(line, flush=True)
    return line


def _write(lines: list[str]) -> None:
    if rank() == 0:
        RESULTS.write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")


HEADER = f"""# What the mini family does

Mini, synthetic - not AnimateLCM's weights. `python dev.py distill evaluate` makes this table: prompts whose colour,
shape and movement were never trained on together, seed {SEED}, β = {BETA}. Percent of clips in which the measure of
`metrics.py` finds what the prompt asks; "coherent": the centre moves evenly on a straight line; flicker: deviation of
the area over its mean; the last column is seconds per clip and process, of use for comparing rows only.

| | prompts | colour | shape | direction | one blob | coherent | flicker | s |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""
