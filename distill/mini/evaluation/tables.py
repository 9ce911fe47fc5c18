"""The tables of RESULTS.md: what is compared with what."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..scenes import STYLES
from ..stages import SHORT
from .cells import Cell, Rows
from .recipe import Recipe
from .samplers import Sampler, animatelcm, ddim_guided, ddim_of_images, dpm_guided
from .sweep import STRENGTHS, cell, draw_sweep

STEPS = (1, 2, 4, 8)
TEACHER = Recipe(motion="motion", acceleration=None)
TEACHER_STEPS = 25
TEACHER_CFG = 3.0  # among those of the table "Guidance"
GUIDANCES = (1.0, 2.0, 3.0, 5.0)
TUNING_SEED, TUNING_PROMPTS = 11, 64  # of the prompts that settings are chosen on


@dataclass(frozen=True)
class Table:
    """A section of RESULTS.md.

    Attributes:
        title: of the section.
        words: what is compared, and how.
        cells: its rows.
        compared: pairs of them whose difference is tested over the prompts.
        plot: draws the rows, by the names of their cells, into a file.
    """

    title: str
    words: str
    cells: tuple[Cell, ...]
    compared: tuple[tuple[str, str], ...] = ()
    plot: Callable[[Mapping[str, Rows], Path], None] | None = None


def _steps(number: int) -> str:
    return f"{number} step{'s' if number > 1 else ''}"


def _guided(name: str, sampler: Callable[[int, float], Sampler], steps: int, cfg: float, **asked: int) -> Cell:
    evaluations = steps * (2 if cfg != 1 else 1)
    return Cell(f"{name}, {_steps(steps)}, CFG {cfg:g}", TEACHER, sampler(steps, cfg), evaluations, **asked)


def _student(name: str, recipe: Recipe, steps: int = 4) -> Cell:
    return Cell(name, recipe, animatelcm(steps), steps)


def _students(name: str, recipe: Recipe) -> tuple[Cell, ...]:
    return tuple(_student(f"{name}, {_steps(n)}", recipe, n) for n in STEPS)


SAMPLERS = Table(
    "Samplers",
    f"The teacher with CFG {TEACHER_CFG:g} in DDIM's and DPM-Solver++'s (2M) steps, and AnimateLCM without CFG.",
    (
        *_students("AnimateLCM", Recipe()),
        *(_guided("DDIM", ddim_guided, n, TEACHER_CFG) for n in STEPS),
        *(_guided("DPM++ 2M", dpm_guided, n, TEACHER_CFG) for n in STEPS),
        _guided("DDIM", ddim_guided, TEACHER_STEPS, TEACHER_CFG),
        *_students("AnimateLCM, personalized", Recipe(base="personalized")),
    ),
    tuple(
        (f"AnimateLCM, {_steps(n)}", f"{peer}, {_steps(m)}, CFG {TEACHER_CFG:g}")
        for n in STEPS
        for peer, m in (("DDIM", n), ("DPM++ 2M", n), ("DDIM", TEACHER_STEPS))
    ),
)

GUIDANCE = Table(
    "Guidance",
    "The teacher's, on prompts of their own: what the table of samplers takes.",
    tuple(
        _guided("DDIM", ddim_guided, steps, cfg, prompts=TUNING_PROMPTS, seed=TUNING_SEED)
        for steps in (4, 8)
        for cfg in GUIDANCES
    ),
)

STYLED = Table(
    "Styles",
    "AnimateLCM with 4 steps and a style LoRA at α = 1, trained on stills with the image model alone.",
    (
        _student("no style", Recipe()),
        *(_student(style, Recipe(style=f"style_{style}")) for style in STYLES[1:]),
    ),
    tuple(("no style", style) for style in STYLES[1:]),
)

STRENGTH = Table(
    "Strengths",
    "AnimateLCM with 4 steps and one of its residuals weaker or stronger; and without its LoRA and its sampler.",
    (
        *(cell(strength, value) for strength, values in STRENGTHS.items() for value in values),
        Cell("no LoRA, DDIM on the image model's betas", Recipe(acceleration=None), ddim_of_images(4), 4),
    ),
    plot=draw_sweep,
)

DECOUPLING = Table(
    "Decoupling",
    f"4 steps after {SHORT} minutes of the video stage, as the paper says, and with the LoRA in the target from "
    f"the start; after {SHORT + 5} minutes in which the LoRA and the motion module were trained jointly on clips.",
    (
        _student("decoupled", Recipe("lcm_video_short")),
        _student("LoRA in the target from the start", Recipe("lcm_video_lora_in_target")),
        _student("joint", Recipe("lcm_video_joint", "lcm_video_joint_lora")),
    ),
    (("decoupled", "LoRA in the target from the start"), ("decoupled", "joint")),
)

TABLES = (SAMPLERS, STYLED, STRENGTH, DECOUPLING, GUIDANCE)
