"""What boxes look like to people: their places over time in one picture."""

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .boxes import Layout
from .draw import colour

BACKGROUND = (24, 24, 28)
SHOWN = 5  # of the frames, from the first to the last; later ones are brighter
FAINTEST = 0.25


def preview(layout: Layout, frames: int, width: int, height: int) -> Tensor:
    """Return a picture (1, height, width, 3), RGB in 0 to 1, of where the boxes go, with their names and keyframes."""
    picture = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    line, font = max(1, min(width, height) // 200), ImageFont.load_default(max(10, min(width, height) // 24))
    scale = np.array([width, height, width, height])
    places = layout.rectangles(frames).numpy() * scale
    for i, box in enumerate(layout.boxes):
        bright = np.array(colour(layout, i)) * 255
        for frame in sorted({round(share) for share in np.linspace(0, frames - 1, SHOWN)}):
            light = FAINTEST + (1 - FAINTEST) * frame / max(1, frames - 1)
            draw.rectangle([*places[i, frame]], outline=_faded(bright, light), width=line)
        centres = (places[i, :, :2] + places[i, :, 2:]) / 2
        draw.line([tuple(centre) for centre in centres], fill=_faded(bright, 0.7), width=line)
        for keyframe in box.keyframes:
            if keyframe.frame < frames:
                draw.circle(tuple(centres[keyframe.frame]), 2 * line + 1, fill=_faded(bright, 1.0))
        draw.text((places[i, -1, 0] + 2 * line + 1, places[i, -1, 1] + 2 * line), box.name, _faded(bright, 1.0), font)
    return torch.from_numpy(np.array(picture)).float()[None] / 255


def _faded(bright: np.ndarray, light: float) -> tuple[int, ...]:
    return tuple(round(float(b) * light + a * (1 - light)) for a, b in zip(BACKGROUND, bright, strict=True))
