"""Contact sheets: frames of a few clips of each row of a table, for people to look at."""

from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageDraw

LABEL, GAP = 250, 8  # pixels


def draw_sheet(strips: Mapping[str, Path], path: Path) -> None:
    """Each row's name, and the strip of frames that its cell keeps."""
    images = {name: Image.open(strip).convert("RGB") for name, strip in strips.items()}
    height = max(image.height for image in images.values()) + GAP
    width = LABEL + max(image.width for image in images.values())
    sheet = Image.new("RGB", (width, height * len(images)), "white")
    for i, (name, image) in enumerate(images.items()):
        sheet.paste(image, (LABEL, i * height))
        label = (GAP, i * height + image.height // 2)
        ImageDraw.Draw(sheet).text(label, name, fill="black", font_size=14, anchor="lm")
    path.parent.mkdir(exist_ok=True)
    part = path.with_suffix(".part")
    sheet.quantize(128).save(part, format="PNG", optimize=True)
    part.replace(path)
