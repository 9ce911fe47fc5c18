"""How much of each residual: the strengths of Eq. 2, one after the other, as a plot."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ..stages import BETA
from .cells import Cell, Rows
from .recipe import Recipe
from .samplers import animatelcm

STYLE = "outlined"
SHOWN = {"colour": "colour", "shape": "shape", "movement": "direction", "coherent": "coherent"}
STRENGTHS = {
    "alpha": (0.0, 0.25, 0.5, 0.75, 1.0, 1.5),
    "beta": (0.0, 0.4, BETA, 1.2),
    "gamma": (0.0, 0.5, 0.75, 1.0, 1.25),
}
LABELS = {"alpha": f"α, the style LoRA ({STYLE})", "beta": "β, the acceleration LoRA", "gamma": "γ, the motion module"}


def cell(strength: str, value: float) -> Cell:
    """Four steps at one strength; a style is only there where its own strength is varied."""
    style = f"style_{STYLE}" if strength == "alpha" else None
    asked: dict[str, Any] = {strength: value}
    return Cell(f"{strength} {value:g}", replace(Recipe(style=style), **asked), animatelcm(4), 4)


def draw_sweep(rows: Mapping[str, Rows], path: Path) -> None:
    """A panel per strength, percent of clips over its value; `rows` by the names of the cells."""
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    for panel, (strength, values) in zip(figure.subplots(1, 3, sharey=True), STRENGTHS.items(), strict=True):
        there = [value for value in values if cell(strength, value).name in rows]
        shown = SHOWN | ({f"style_{STYLE}": "styled"} if strength == "alpha" else {})
        for score, label in shown.items():
            percent = [100 * rows[cell(strength, value).name][score].mean().item() for value in there]
            panel.plot(there, percent, marker="o", label=label)
        panel.set(xlabel=LABELS[strength], ylim=(-3, 103))
        panel.grid(alpha=0.3)
        panel.legend(loc="lower right")
    figure.supylabel("percent of clips")
    path.parent.mkdir(exist_ok=True)
    part = path.with_suffix(".part")
    figure.savefig(part, format="png", dpi=100)
    part.replace(path)
