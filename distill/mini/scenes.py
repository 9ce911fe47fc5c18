"""The rendered data: one coloured shape moving over a plain background, with the caption that says so.

What moves has a bright front (our choice). A motion module never sees the text: as on photographs of walking people or
driving cars, a single frame has to show where it goes, or the image model would have no use for the word.

Everything is drawn from a seed and nothing is stored. Positions are in pixels of a 64 x 64 image, x to the right
and y down; speeds are in pixels per frame. Colours are RGB in 0..1.
"""

import math
import zlib
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

SIZE = 64
FRAMES = 16

PALETTE = {
    "red": (0.86, 0.16, 0.16),
    "green": (0.16, 0.67, 0.24),
    "blue": (0.16, 0.31, 0.86),
    "yellow": (0.94, 0.82, 0.16),
    "purple": (0.59, 0.20, 0.75),
    "turquoise": (0.20, 0.78, 0.86),
    "black": (0.08, 0.08, 0.10),
    "white": (0.94, 0.94, 0.94),
    "gray": (0.50, 0.50, 0.50),
}
COLOURS = ("red", "green", "blue", "yellow", "purple", "turquoise")
BACKGROUNDS = ("black", "white", "gray", "blue")
SHAPES = ("circle", "square", "triangle")
HALVES = ((1.0, 1.0), (0.9, 0.9), (1.074, 0.93))  # of each shape's bounding box, wide and high, in radii
SIZES = {"small": (13.0, 14.5), "large": (18.0, 19.5)}  # radius in pixels
DIRECTIONS = ("right", "up right", "up", "up left", "left", "down left", "down", "down right")
STILL = "standing still"
MOVEMENTS = (*DIRECTIONS, STILL)
SPEEDS = (1.0, 2.5)
STYLES = ("plain", "outlined", "hollow", "banded", "dotted")
LOOKS = (*STYLES, "night")  # the last is the personalized image model's

LINE = 3.0  # pixels: how wide outlines are, and the rim of what is hollow
BAND = 0.4  # half the height of the band across what is banded, in radii of the shape
DOT = 0.4  # radius of the dot in the middle of what is dotted, in radii of the shape
NIGHT = 0.35  # share of a background's light
FRONT = 0.2  # how far ahead of the centre of mass it begins, in radii of the shape
MIRRORED = (*((4 - i) % 8 for i in range(8)), 8)  # of each movement, left for right


@dataclass(frozen=True)
class Scenes:
    """A batch of N scenes; every field is a tensor of shape (N,). `x` and `y` are the centre in the first frame."""

    colour: Tensor
    shape: Tensor
    size: Tensor
    movement: Tensor
    background: Tensor
    radius: Tensor
    speed: Tensor
    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.colour)

    def __getitem__(self, index: slice | Tensor) -> "Scenes":
        return Scenes(**{field.name: getattr(self, field.name)[index] for field in fields(self)})


def attributes() -> dict[str, int]:
    """What a caption tells, by the name of the field of `Scenes`, and among how many."""
    kinds = {"colour": COLOURS, "shape": SHAPES, "size": SIZES, "movement": MOVEMENTS, "background": BACKGROUNDS}
    return {name: len(kind) for name, kind in kinds.items()}


# Drawing scenes from a seed


def held_out(colour: str, shape: str, movement: str) -> bool:
    """Whether a combination is kept for evaluation: about a tenth of them, by a hash, so that no list is stored."""
    return zlib.crc32(f"{colour} {shape} {movement}".encode()) % 10 == 0


def _held_out_table() -> Tensor:
    return torch.tensor([[[held_out(c, s, m) for m in MOVEMENTS] for s in SHAPES] for c in COLOURS])


def draw_scenes(count: int, seed: int, evaluation: bool = False) -> Scenes:
    """`count` scenes whose colour, shape and movement are all held out (evaluation) or all not (training)."""
    generator = torch.Generator().manual_seed(seed)

    def choice(n: int, size: int) -> Tensor:
        return torch.randint(n, (size,), generator=generator)

    candidates = 16 * count + 64
    colour, shape, movement = (choice(len(c), candidates) for c in (COLOURS, SHAPES, MOVEMENTS))
    background = choice(len(BACKGROUNDS), candidates)
    same = torch.tensor([[c == b for b in BACKGROUNDS] for c in COLOURS])[colour, background]
    keep = (_held_out_table()[colour, shape, movement] == evaluation) & ~same
    colour, shape, movement, background = (v[keep][:count] for v in (colour, shape, movement, background))
    size = choice(len(SIZES), len(colour))
    return _place(colour, shape, size, movement, background, generator)


def _place(
    colour: Tensor, shape: Tensor, size: Tensor, movement: Tensor, background: Tensor, generator: torch.Generator
) -> Scenes:
    """Radius, speed and a first position from which the whole path stays inside the image."""
    u = torch.rand(4, len(colour), generator=generator)
    low, high = torch.tensor(tuple(SIZES.values())).T
    radius = low[size] + u[0] * (high - low)[size]
    margin = 1.07 * radius + 1  # the triangle is the widest shape
    fastest = ((SIZE - 2 * margin) / (FRAMES - 1)).clamp(max=SPEEDS[1])
    speed = SPEEDS[0] + u[1] * (fastest - SPEEDS[0])
    travel = velocity(movement, speed) * (FRAMES - 1)
    x, y = (
        margin - path.clamp(max=0) + position * (SIZE - 2 * margin - path.abs())
        for path, position in zip(travel, u[2:], strict=True)
    )
    return Scenes(colour, shape, size, movement, background, radius, speed, x, y)


def velocity(movement: Tensor, speed: Tensor) -> Tensor:
    """(2, N): x and y in pixels per frame; nought for a scene that stands still."""
    angle = movement * (math.pi / 4)
    unit = torch.stack([angle.cos(), -angle.sin()])
    return torch.where(movement < len(DIRECTIONS), unit * speed, 0.0)


def mirror(scenes: Scenes) -> Scenes:
    """The same clips with left for right: a free second training example of every rendered clip."""
    return replace(scenes, movement=torch.tensor(MIRRORED)[scenes.movement], x=SIZE - scenes.x)


# Rendering


def render(scenes: Scenes, times: Tensor, look: str = "plain") -> Tensor:
    """Images in 0..1 of shape (N, T, 3, 64, 64), in one of the `LOOKS`.

    `times` are frame numbers, (T,) or one row per scene (N, T).
    """
    x, y = centres(scenes, times)
    distance = signed_distance(scenes.shape, x, y, scenes.radius)
    front = torch.maximum(distance, front_distance(scenes, x, y))
    palette = torch.tensor(tuple(PALETTE.values()))
    names = tuple(PALETTE)
    colour = palette[torch.tensor([names.index(c) for c in COLOURS])][scenes.colour]
    background = palette[torch.tensor([names.index(c) for c in BACKGROUNDS])][scenes.background]
    dot = signed_distance(torch.full_like(scenes.shape, SHAPES.index("circle")), x, y, DOT * scenes.radius)
    band = (torch.arange(SIZE)[:, None] + 0.5 - y[..., None, None]).abs() - (BAND * scenes.radius)[:, None, None, None]
    return _paint(distance, front, dot, band, colour, background, look)


def centres(scenes: Scenes, times: Tensor) -> tuple[Tensor, Tensor]:
    """X and y in pixels, (N, T) each, at frame numbers (T,) or (N, T)."""
    times = times.expand(len(scenes), -1)
    vx, vy = velocity(scenes.movement, scenes.speed)
    return scenes.x[:, None] + vx[:, None] * times, scenes.y[:, None] + vy[:, None] * times


def signed_distance(shape: Tensor, x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    """Distance in pixels to the outline, negative inside: (N, T, 64, 64) for centres x, y of shape (N, T)."""
    pixels = torch.arange(SIZE) + 0.5
    dx = (pixels - x[..., None])[:, :, None, :]
    dy = (pixels - y[..., None])[:, :, :, None]
    r, shape = radius[:, None, None, None], shape[:, None, None, None]
    circle = (dx**2 + dy**2).sqrt() - r
    square = torch.maximum(dx.abs(), dy.abs()) - 0.9 * r
    # An equilateral triangle of inradius 0.62 r, point up, moved down so that its bounding box is centred.
    low = dy - 0.31 * r
    triangle = torch.maximum(low, math.sqrt(0.75) * dx.abs() - 0.5 * low) - 0.62 * r
    return torch.where(shape == 0, circle, torch.where(shape == 1, square, triangle))


def boxes(scenes: Scenes, times: Tensor) -> Tensor:
    """Left, top, right and bottom of the shapes at frame numbers (T,) or (N, T), as shares of the image: (N, T, 4)."""
    centre = torch.stack(centres(scenes, times), dim=-1)
    half = (torch.tensor(HALVES)[scenes.shape] * scenes.radius[:, None])[:, None]
    return torch.cat((centre - half, centre + half), dim=-1) / SIZE


def front_distance(scenes: Scenes, x: Tensor, y: Tensor) -> Tensor:
    """Distance in pixels to the line where the front begins, negative ahead: (N, T, 64, 64). What is still has none."""
    ux, uy = velocity(scenes.movement, torch.ones(len(scenes)))[:, :, None, None, None]
    sunk = torch.where(scenes.shape == SHAPES.index("triangle"), 0.31 * scenes.radius, 0.0)[:, None]
    pixels = torch.arange(SIZE) + 0.5
    dx = (pixels - x[..., None])[:, :, None, :]
    dy = (pixels - (y + sunk)[..., None])[:, :, :, None]
    begins = torch.where(scenes.movement < len(DIRECTIONS), FRONT * scenes.radius, SIZE)
    return begins[:, None, None, None] - (ux * dx + uy * dy)


def _paint(
    distance: Tensor, front: Tensor, dot: Tensor, band: Tensor, colour: Tensor, background: Tensor, look: str
) -> Tensor:
    """Antialiased: the share of a pixel that is covered is taken from the distance of its centre.

    Args:
        distance: to the outline in pixels, negative inside, (N, T, 64, 64).
        front: likewise to the part of the shape that is bright.
        dot: likewise to a dot in its middle.
        band: likewise to a level band through its middle, (N, T, 64, 1).
        colour, background: (N, 3).
        look: see `LOOKS`.
    """

    def over(image: Tensor, paint: Tensor, cover: Tensor) -> Tensor:
        return image + (paint - image) * cover.clamp(0, 1)[:, :, None]

    rgb, ground = colour[:, None, :, None, None], background[:, None, :, None, None]
    bright = torch.where(background.mean(1) > 0.9, 0.1, 0.98)[:, None, None, None, None]  # dark on white
    if look == "night":
        ground = NIGHT * ground
    inside = 0.5 - distance
    image = over(ground, rgb, inside)
    image = over(image, bright, 0.5 - front)
    if look == "banded":
        image = over(image, bright, torch.minimum(inside, 0.5 - band))
    if look == "outlined":
        image = over(image, bright, torch.minimum(inside, distance + LINE))
    if look == "dotted":
        image = over(image, torch.tensor(PALETTE["black"])[:, None, None], 0.5 - dot)
    if look == "hollow":
        image = over(image, ground, -0.5 - LINE - distance)
    return image


# Captions


def caption(scenes: Scenes, index: int) -> str:
    """The whole sentence: "a large red circle moving right on a blue background"."""
    return " ".join(_phrases(scenes, index))


def _phrases(scenes: Scenes, index: int) -> tuple[str, ...]:
    movement = MOVEMENTS[scenes.movement[index]]
    return (
        f"a {tuple(SIZES)[scenes.size[index]]}",
        COLOURS[scenes.colour[index]],
        SHAPES[scenes.shape[index]],
        movement if movement == STILL else f"moving {movement}",
        f"on a {BACKGROUNDS[scenes.background[index]]} background",
    )


def partial_caption(scenes: Scenes, index: int, generator: torch.Generator, movement: float) -> str:
    """A caption as people write them: now and then without a phrase, a tenth of the time without any word (for CFG).

    `movement` is the chance that the movement is told.
    """
    chances = torch.tensor([0.9, 0.97, 0.97, movement, 0.95])
    told = torch.rand(6, generator=generator) < torch.cat([chances, torch.tensor([0.9])])
    words = [phrase for phrase, keep in zip(_phrases(scenes, index), told, strict=False) if keep]
    return " ".join(words) if told[5] else ""
