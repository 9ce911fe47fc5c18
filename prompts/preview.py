"""What a prompt schedule looks like to people: a bar of the clip's frames, and what each stretch of them is told."""

import textwrap
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .mixing import Mix, stretches

BACKGROUND, INK = (24, 24, 28), (225, 225, 230)
COLOURS = ((96, 165, 250), (251, 146, 60), (74, 222, 128), (244, 114, 182), (250, 204, 21), (167, 139, 250))
WIDTH, BAR, LINE, EDGE = 512, 40, 18, 8  # pixels
LETTERS = 62  # of a line
MOST_LINES = 60  # the bar shows the rest


def preview(told: Sequence[Mix]) -> Tensor:
    """Return a picture (1, height, 512, 3), RGB in 0 to 1, of what each frame is told; a prompt has a colour."""
    lines = [line for stretch in stretches(told) for line in textwrap.wrap(str(stretch), LETTERS)]
    if len(lines) > MOST_LINES:
        lines[MOST_LINES - 1 :] = ["..."]
    picture = Image.new("RGB", (WIDTH, BAR + LINE * len(lines) + 3 * EDGE), BACKGROUND)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(14)
    edges = np.linspace(EDGE, WIDTH - EDGE, len(told) + 1)
    for frame, colour in enumerate(colours(told)):
        draw.rectangle([edges[frame], EDGE, edges[frame + 1], EDGE + BAR], fill=colour)
    for i, line in enumerate(lines):
        draw.text((EDGE, BAR + 2 * EDGE + LINE * i), line, INK, font)
    return torch.from_numpy(np.array(picture)).float()[None] / 255


def colours(told: Sequence[Mix]) -> list[tuple[int, ...]]:
    """Return each frame's colour, mixed as its prompts are."""
    prompts = list(dict.fromkeys(prompt for mix in told for prompt in (mix.one, mix.other)))
    bright = {prompt: np.array(COLOURS[i % len(COLOURS)]) for i, prompt in enumerate(prompts)}
    shades = (bright[mix.one] + mix.share * (bright[mix.other] - bright[mix.one]) for mix in told)
    return [tuple(int(channel) for channel in shade.round()) for shade in shades]
