"""A pool of encoded clips, drawn once and kept in memory: training examples for every stage after the VAE."""

from dataclasses import dataclass
from functools import cached_property

import torch
from diffusers import AutoencoderTiny
from torch import Tensor

from .autoencoder import encode
from .scenes import (
    COLOURS,
    DIRECTIONS,
    FRAMES,
    MOVEMENTS,
    SHAPES,
    Scenes,
    boxes,
    draw_scenes,
    held_out,
    mirror,
    partial_caption,
    render,
)

TOLD_IN_STILLS = 0.9
TOLD_IN_CLIPS = 0.95


@dataclass(frozen=True)
class Pool:
    """Scenes and their latents, (N, 16, 4, 8, 8). Mirrored, a clip is a second example for nothing.

    The encoder is symmetric: mirrored latents are those of the mirrored clip.
    """

    scenes: Scenes
    latents: Tensor

    @cached_property
    def mirrored(self) -> Scenes:
        return mirror(self.scenes)

    @cached_property
    def mirrorable(self) -> Tensor:
        """(N,) bool: the mirrored clip is not one that is held out."""
        names = zip(self.mirrored.colour, self.mirrored.shape, self.mirrored.movement, strict=True)
        return ~torch.tensor([held_out(COLOURS[c], SHAPES[s], MOVEMENTS[m]) for c, s, m in names])

    def draw_clips(self, count: int, generator: torch.Generator) -> tuple[Tensor, list[str]]:
        """Latents (count, 16, 4, 8, 8) and captions, nearly all of which tell the movement."""
        return self._draw(count, slice(None), TOLD_IN_CLIPS, generator)[:2]

    def draw_clips_with_speed(self, count: int, generator: torch.Generator) -> tuple[Tensor, list[str], Tensor]:
        """As `draw_clips`, and how fast each moves, (count,) in pixels per frame; 0 for what stands still."""
        latents, captions, index, _ = self._draw(count, slice(None), TOLD_IN_CLIPS, generator)
        moves = self.scenes.movement[index] < len(DIRECTIONS)
        return latents, captions, torch.where(moves, self.scenes.speed[index], 0.0)

    def draw_stills(self, count: int, generator: torch.Generator) -> tuple[Tensor, list[str]]:
        """Latents (count, 4, 8, 8) and captions, most of which tell the movement."""
        frame = torch.randint(FRAMES, (count,), generator=generator)
        return self._draw(count, frame, TOLD_IN_STILLS, generator)[:2]

    def draw_stills_with_boxes(self, count: int, generator: torch.Generator) -> tuple[Tensor, list[str], Tensor]:
        """As `draw_stills`, and left, top, right and bottom of what each shows, (count, 4), as shares of the image."""
        frame = torch.randint(FRAMES, (count,), generator=generator)
        latents, captions, index, turned = self._draw(count, frame, TOLD_IN_STILLS, generator)
        times = frame[:, None].float()
        plain, mirrored = (boxes(scenes[index], times)[:, 0] for scenes in (self.scenes, self.mirrored))
        return latents, captions, torch.where(turned[:, None], mirrored, plain)

    def _draw(
        self, count: int, frames: slice | Tensor, told: float, generator: torch.Generator
    ) -> tuple[Tensor, list[str], Tensor, Tensor]:
        """Latents, captions, which clips they are of, and which of them are mirrored."""
        index = torch.randint(len(self.scenes), (count,), generator=generator)
        turned = self.mirrorable[index] & (torch.rand(count, generator=generator) < 0.5)
        latents = self.latents[index, frames].float()
        latents[turned] = latents[turned].flip(-1)
        captions = [
            partial_caption(self.mirrored if t else self.scenes, i, generator, told)
            for i, t in zip(index.tolist(), turned.tolist(), strict=True)
        ]
        return latents, captions, index, turned


def fill_pool(autoencoder: AutoencoderTiny, clips: int, seed: int, look: str = "plain", frames: int = FRAMES) -> Pool:
    """Draw, render and encode `clips` scenes that are not held out; in half precision, to save memory."""
    scenes = draw_scenes(clips, seed)
    times = torch.arange(frames, dtype=torch.float32)
    parts = [encode(autoencoder, render(scenes[i : i + 50], times, look)).half() for i in range(0, clips, 50)]
    return Pool(scenes, torch.cat(parts))
