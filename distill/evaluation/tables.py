"""The tables of RESULTS.md, each with its contact sheet."""

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from ..scenes import SIZE, STYLES, draw_scenes
from ..stages import BETA, SHORT
from ..train import rank
from .cells import BATCH, SEED, Cell, Rows, described, joined, measured, oracle, renders, with_error
from .frechet import describe, frechet_distance
from .recipe import Recipe
from .samplers import animatelcm, ddim_guided, ddim_of_images, dpm_guided

RESULTS = Path(__file__).parents[1] / "RESULTS.md"
SHEETS = Path(__file__).parents[1] / "results"
PROMPTS = 500
FEWER_PROMPTS = 100
REAL_CLIPS = 1024
STEPS = (1, 2, 4, 8)
TEACHER = Recipe(motion="motion", acceleration=None)
TEACHER_STEPS, TEACHER_CFG = 25, 3.0
SCORES = {"colour": "colour", "shape": "shape", "movement": "direction", "one_blob": "one blob", "coherent": "coherent"}
LABEL, GAP = 250, 8  # pixels
ON_A_SHEET = 3  # clips of each row


@dataclass(frozen=True)
class Table:
    """A section of RESULTS.md.

    Attributes:
        title: of the section; its contact sheet is named after the first word.
        words: what is compared, and how.
        cells: its rows.
    """

    title: str
    words: str
    cells: tuple[Cell, ...]


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count} steps"


TABLES = (
    Table(
        "Samplers",
        f"The teacher with CFG {TEACHER_CFG:g} in DDIM's and DPM-Solver++'s (2M) steps, and AnimateLCM without CFG.",
        (
            *(
                Cell(f"DDIM, {_steps(n)}, CFG {TEACHER_CFG:g}", TEACHER, ddim_guided(n, TEACHER_CFG), PROMPTS)
                for n in (TEACHER_STEPS, *STEPS)
            ),
            *(
                Cell(f"DPM++ 2M, {_steps(n)}, CFG {TEACHER_CFG:g}", TEACHER, dpm_guided(n, TEACHER_CFG), PROMPTS)
                for n in STEPS
            ),
            *(Cell(f"AnimateLCM, {_steps(n)}", Recipe(), animatelcm(n), PROMPTS) for n in STEPS),
            *(
                Cell(f"AnimateLCM, personalized, {_steps(n)}", Recipe(base="personalized"), animatelcm(n), PROMPTS)
                for n in STEPS
            ),
        ),
    ),
    Table(
        "Styles",
        "AnimateLCM with 4 steps and a style LoRA at α = 1, trained on stills with the image model alone.",
        (
            Cell("AnimateLCM, 4 steps", Recipe(), animatelcm(4), PROMPTS),
            *(Cell(style, Recipe(style=f"style_{style}"), animatelcm(4), PROMPTS) for style in STYLES[1:]),
        ),
    ),
    Table(
        "Decoupling",
        f"4 steps after {SHORT} minutes of the video stage, as the paper says, and with the LoRA in the target from "
        f"the start; after {SHORT + 5} minutes in which the LoRA and the motion module were trained jointly on clips.",
        tuple(
            Cell(name, recipe, animatelcm(4), PROMPTS)
            for name, recipe in {
                "decoupled": Recipe("lcm_video_short"),
                "LoRA in the target from the start": Recipe("lcm_video_lora_in_target"),
                "joint": Recipe("lcm_video_joint", "lcm_video_joint_lora"),
            }.items()
        ),
    ),
    Table(
        "Strengths",
        "AnimateLCM with 4 steps, and what it is without one of its residuals.",
        (
            Cell("γ = 0", Recipe(gamma=0.0), animatelcm(4), FEWER_PROMPTS),
            Cell("β = 0", Recipe(acceleration=None), animatelcm(4), FEWER_PROMPTS),
            Cell("β = 0, DDIM on the image model's betas", Recipe(acceleration=None), ddim_of_images(4), FEWER_PROMPTS),
        ),
    ),
)


def evaluate(run: Path) -> None:
    """Measure what the same weights have not been measured on before, and write RESULTS.md and its contact sheets."""
    reference = torch.cat([describe(clips) for clips, _ in renders(REAL_CLIPS, SEED + 1)])
    framing = [
        _line("real clips through the VAE", oracle(run, PROMPTS), reference),
        _line("real clips of other prompts", _of_others(PROMPTS), reference),
    ]
    sections = []
    for table in TABLES:
        rows = {cell.name: measured(run, cell) for cell in table.cells}
        lines = framing + [_line(cell.name, rows[cell.name], reference, cell.recipe.style) for cell in table.cells]
        sections.append("\n".join([f"## {table.title}", "", table.words, "", HEADER, *lines, ""]))
        if rank() == 0:
            _draw_sheet(rows, SHEETS / f"{table.title.lower()}.png")
            sections.append(f"![Frames of {ON_A_SHEET} clips of each row](results/{table.title.lower()}.png)\n")
            RESULTS.write_text("\n".join([INTRODUCTION, *sections]), encoding="utf-8")


def _of_others(prompts: int) -> Rows:
    """Perfect clips of something else: what chance gives."""
    asked = draw_scenes(prompts, SEED, evaluation=True)
    others = renders(prompts, SEED + 2)
    return joined(described(clips, asked[i * BATCH : (i + 1) * BATCH]) for i, (clips, _) in enumerate(others))


def _line(name: str, rows: Rows, reference: Tensor, style: str | None = None) -> str:
    count = len(rows["features"])
    cells = ["" if count < PROMPTS else _distance(rows["features"], reference)]
    cells += [_share(rows[score]) for score in SCORES] + [f"{rows['flicker'].mean():.3f}"]
    cells.append("" if style is None else _share(rows[style]))
    line = f"| {name} | {count} | {' | '.join(cells)} |"
    if rank() == 0:
        print(line, flush=True)
    return line


def _distance(features: Tensor, reference: Tensor) -> str:
    """With each feature in units of its deviation over real clips."""
    scale = reference.std(0).clamp(min=1e-6)

    def distance(index: Tensor) -> float:
        return frechet_distance(features[index] / scale, reference / scale)

    value, error = with_error(distance, len(features))
    return f"{value:.1f} ± {error:.1f}"


def _share(matches: Tensor) -> str:
    value, error = with_error(lambda index: 100 * matches[index].mean().item(), len(matches))
    return f"{value:.1f} ± {error:.1f}" if error else f"{value:.1f}"


def _draw_sheet(rows: dict[str, Rows], path: Path) -> None:
    """Each row's name, and frames of its first clips."""
    strips = [_strip(name, row["shown"][:ON_A_SHEET]) for name, row in rows.items()]
    sheet = Image.new("RGB", (strips[0].width, sum(strip.height for strip in strips)))
    for i, strip in enumerate(strips):
        sheet.paste(strip, (0, i * strip.height))
    path.parent.mkdir(exist_ok=True)
    part = path.with_suffix(".part")
    sheet.save(part, format="PNG", optimize=True)
    part.replace(path)


def _strip(name: str, clips: Tensor) -> Image.Image:
    frames = clips.permute(0, 3, 1, 4, 2).reshape(clips.shape[0], SIZE, -1, 3)
    frames = F.pad(frames, (0, 0, 0, GAP, 0, GAP), value=255).movedim(0, 1).flatten(1, 2)
    strip = Image.new("RGB", (LABEL + frames.shape[1], frames.shape[0]), "white")
    strip.paste(Image.fromarray(frames.numpy()), (LABEL, 0))
    ImageDraw.Draw(strip).text((GAP, SIZE // 2), name, fill="black", font_size=14, anchor="lm")
    return strip


HEADER = f"""\
| | prompts | distance | {" | ".join(SCORES.values())} | flicker | styled |
| --- | --- | --- | {"--- | " * len(SCORES)}--- | --- |"""

INTRODUCTION = f"""\
# What the mini family does

Mini, synthetic - not AnimateLCM's weights. `python dev.py distill evaluate` makes these tables: prompts whose colour,
shape and movement were never trained on together, seed {SEED}, β = {BETA}.

- distance: a Frechet video distance to {REAL_CLIPS} real clips of held-out prompts, on the features that
  [`frechet.py`](evaluation/frechet.py) writes down, each in units of its deviation over those.
- colour, shape, direction: percent of clips in which [`metrics.py`](evaluation/metrics.py) finds what the prompt asks.
- one blob: every frame shows one connected shape. coherent: its centre moves evenly on a straight line.
- flicker: deviation of the area over its mean.
- styled: percent of clips in which [`styles.py`](evaluation/styles.py) finds the sign of the row's style.
- ±: a standard error, the jackknife over five groups of the prompts.
"""
