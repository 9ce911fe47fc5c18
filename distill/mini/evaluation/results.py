"""RESULTS.md: tables of what the shipped files do, their contact sheets and plots."""

import re
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from scipy.stats import binomtest
from torch import Tensor

from ..restore import restore
from ..scenes import DIRECTIONS, Scenes, draw_scenes
from ..stages import BETA
from ..train import rank
from .cells import (
    BATCH,
    CELLS,
    PROMPTS,
    SEED,
    Cell,
    Kept,
    Rows,
    count,
    described,
    joined,
    measured,
    oracle,
    renders,
    slug,
    with_error,
)
from .frechet import describe, frechet_distance
from .sheet import draw_sheet
from .tables import TABLES, Table

RESULTS = Path(__file__).parents[2] / "RESULTS.md"
PICTURES = Path(__file__).parents[2] / "results"
REAL_CLIPS = 1024
LEAST = 64  # prompts of a row that is shown
SCORES = {"colour": "colour", "shape": "shape", "movement": "direction", "one_blob": "one blob", "coherent": "coherent"}
SIZES = {"flicker": ".3f", "blur": ".2f"}


def evaluate(minutes: float = float("inf")) -> None:
    """Measure the shipped files as long as there is time, and write what is known of them to RESULTS.md.

    Cells that were measured before with the same weights are read; tables whose files are not shipped keep the section
    that they have.
    """
    with tempfile.TemporaryDirectory() as folder:
        restore(run := Path(folder))
        measure_run(run, time.monotonic() + 60 * minutes)


def measure_run(run: Path, until: float = float("inf"), cells: Path = CELLS) -> None:
    """As `evaluate`, of the stages' results in a folder."""
    reference = torch.cat([describe(clips) for clips, _ in renders(REAL_CLIPS, SEED + 1)])
    framing = _framing(run, reference)
    for table in TABLES:
        rows = {}
        for cell in table.cells:
            if all((run / f"{stage}.pt").exists() for stage in cell.recipe.stages):
                rows[cell.name] = measured(run, table.title, cell, until, cells)
        shown = {cell: rows[cell.name] for cell in table.cells if count(rows.get(cell.name, {})) >= LEAST}
        if rank() == 0 and shown:
            _write_section(table, [*framing, *(_line(cell, shown[cell], reference) for cell in shown)], shown, cells)


def _framing(run: Path, reference: Tensor) -> list[str]:
    """What is the most, and what is chance."""
    asked = draw_scenes(PROMPTS, SEED, evaluation=True)
    others = list(renders(PROMPTS, SEED + 2))
    wrong = joined(described(clips, asked[i * BATCH : (i + 1) * BATCH]) for i, (clips, _) in enumerate(others))
    own = joined(described(clips, scenes) for clips, scenes in others)
    return [
        _row("renders through the VAE", "", oracle(run, PROMPTS), asked, reference),
        _row("renders of other prompts", "", own, draw_scenes(PROMPTS, SEED + 2, evaluation=True), reference),
        _row("the same, asked for these", "", wrong, asked, reference),
    ]


def _write_section(table: Table, lines: list[str], shown: Mapping[Cell, Rows], cells: Path) -> None:
    parts = [table.words, "\n".join([HEADER, *lines])]
    named = {cell.name: rows for cell, rows in shown.items()}
    if tested := [_tested(named, *pair) for pair in table.compared if all(name in named for name in pair)]:
        parts.append("\n".join([COMPARED, *tested]))
    if table.plot:
        table.plot(named, PICTURES / f"{slug(table.title)}.png")
        parts.append(f"![{table.title}](results/{slug(table.title)}.png)")
    sheet = f"{slug(table.title)}_sheet.png"
    draw_sheet({cell.name: Kept(table.title, cell, cells).strip for cell in shown}, PICTURES / sheet)
    parts.append(f"![frames of each row's first clips](results/{sheet})")
    sections = _sections() | {table.title: "\n\n".join(parts)}
    ordered = [f"## {t.title}\n\n{sections[t.title]}\n" for t in TABLES if t.title in sections]
    RESULTS.write_text("\n".join([INTRODUCTION, *ordered]), encoding="utf-8")


def _sections() -> dict[str, str]:
    """Those that RESULTS.md has now, by their titles."""
    written = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
    _, *sections = re.split(r"^## ", written, flags=re.MULTILINE)
    return {title: text.strip() for title, text in (section.split("\n", 1) for section in sections)}


def _line(cell: Cell, rows: Rows, reference: Tensor) -> str:
    line = _row(cell.name, f"{cell.evaluations}", rows, cell.scenes(count(rows)), reference, cell.recipe.style)
    print(line, flush=True)
    return line


def _row(name: str, evaluations: str, rows: Rows, asked: Scenes, reference: Tensor, style: str | None = None) -> str:
    moving = asked.movement < len(DIRECTIONS)
    cells = [name, evaluations, f"{count(rows)}", _distance(rows["features"], reference)]
    cells += [_percent(rows[score]) for score in SCORES]
    cells += [f"{rows['speed'][moving].mean():.2f}"]
    cells += [f"{rows[size].mean():{form}}" for size, form in SIZES.items()]
    cells.append("" if style is None else _percent(rows[style]))
    return f"| {' | '.join(cells)} |"


def _distance(features: Tensor, reference: Tensor) -> str:
    """With each feature in units of its deviation over real clips."""
    scale = reference.std(0).clamp(min=1e-6)

    def distance(index: Tensor) -> float:
        return frechet_distance(features[index] / scale, reference / scale)

    value, error = with_error(distance, len(features))
    return f"{value:.1f} ± {error:.1f}"


def _percent(matches: Tensor) -> str:
    value, error = with_error(lambda index: 100 * matches[index].mean().item(), len(matches))
    return f"{value:.1f} ± {error:.1f}" if error else f"{value:.1f}"


def _tested(rows: Mapping[str, Rows], one: str, other: str) -> str:
    """Whether one of two rows shows more prompts' directions, by McNemar's exact test on the prompts that differ."""
    shared = min(count(rows[one]), count(rows[other]))
    here, there = (rows[name]["movement"][:shared].bool() for name in (one, other))
    better, worse = int((here & ~there).sum()), int((~here & there).sum())
    p = binomtest(better, better + worse).pvalue if better + worse else 1.0
    return f"| {one} | {other} | {shared} | {better} | {worse} | {p:.2g} |"


COMPARED = """\
Prompts whose direction one of two rows shows and the other does not; p: McNemar's exact test that they are as many.

| | beside | prompts | only the first | only the second | p |
| --- | --- | --- | --- | --- | --- |"""

HEADER = f"""\
| | evaluations | prompts | distance | {" | ".join(SCORES.values())} | speed | {" | ".join(SIZES)} | styled |
| --- | --- | --- | --- | {"--- | " * (len(SCORES) + len(SIZES))}--- | --- |"""

INTRODUCTION = f"""\
# What the mini family does

Mini, synthetic - not AnimateLCM's weights. `python dev.py distill evaluate` makes these tables of the files in
`models/`: prompts whose colour, shape and movement were never trained on together, seed {SEED}; β = {BETA} unless a row
says otherwise. What every cell measured lies in `results/cells/`, and is measured again only when its weights change.

- evaluations: of the UNet, for one clip; with CFG each counts twice.
- distance: a Frechet video distance to {REAL_CLIPS} renders of held-out prompts, on the features that
  [`frechet.py`](mini/evaluation/frechet.py) writes down, each in units of its deviation over those. Renders of other
  prompts are the floor at this count.
- colour, shape, direction: percent of clips in which [`metrics.py`](mini/evaluation/metrics.py) finds what the prompt
  asks; a shape that drifts by less than half a pixel a frame stands still.
- one blob: every frame shows one connected shape. coherent: its centre moves evenly on a straight line.
- speed: of the centre in pixels a frame, where the prompt asks for a movement.
- flicker: deviation of the area over its mean. blur: width of the shape's edge in pixels.
- styled: percent of clips in which [`styles.py`](mini/evaluation/styles.py) finds the sign of the row's style.
- ±: a standard error, the jackknife over eight groups of the prompts.
"""
