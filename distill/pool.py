"""A pool of encoded clips, drawn once and kept in memory: training examples for every stage after the VAE."""

from dataclasses import dataclass
from functools import cached_property

import torch
from diffusers import AutoencoderTiny
from torch import Tensor

from .autoencoder import encode
from .scenes import COLOURS, FRAMES, MOVEMENTS, SHAPES, Scenes, draw_scenes, held_out, partial_caption, render, reverse

TOLD_IN_STILLS = 0.8
TOLD_IN_CLIPS = 0.95
EARLINESS = 3.0


@dataclass(frozen=True)
class Pool:
    """Scenes and their latents, (N, 16, 4, 8, 8). Run backwards, a clip is a second example for nothing."""

    scenes: Scenes
    latents: Tensor

    @cached_property
    def backwards(self) -> Scenes:
        return reverse(self.scenes)

    @cached_property
    def reversible(self) -> Tensor:
        """(N,) bool: the clip run backwards is not one that is held out."""
        names = zip(self.backwards.colour, self.backwards.shape, self.backwards.movement, strict=True)
        return ~torch.tensor([held_out(COLOURS[c], SHAPES[s], MOVEMENTS[m]) for c, s, m in names])

    def _draw(self, count: int, told: float, generator: torch.Generator) -> tuple[Tensor, Tensor, list[str]]:
        """Indices of clips, whether each is run backwards, and captions."""
        index = torch.randint(len(self.scenes), (count,), generator=generator)
        turned = self.reversible[index] & (torch.rand(count, generator=generator) < 0.5)
        captions = [
            partial_caption(self.backwards if t else self.scenes, i, generator, told)
            for i, t in zip(index.tolist(), turned.tolist(), strict=True)
        ]
        return index, turned, captions

    def draw_clips(self, count: int, generator: torch.Generator) -> tuple[Tensor, list[str]]:
        """Latents (count, 16, 4, 8, 8) and captions, nearly all of which tell the movement."""
        index, turned, captions = self._draw(count, TOLD_IN_CLIPS, generator)
        clips = self.latents[index].float()
        return torch.where(turned[:, None, None, None, None], clips.flip(1), clips), captions

    def draw_stills(self, count: int, generator: torch.Generator) -> tuple[Tensor, list[str]]:
        """Latents (count, 4, 8, 8) and captions, most of which tell the movement.

        Early frames come more often (our choice). What "moving right" means to an image model is then "on the left", as
        if photographed at the start of its way: the only trace through which the text, which the motion module never
        sees, can tell it where to go.
        """
        index, turned, captions = self._draw(count, TOLD_IN_STILLS, generator)
        frame = (FRAMES * torch.rand(count, generator=generator) ** EARLINESS).long()
        return self.latents[index, torch.where(turned, FRAMES - 1 - frame, frame)].float(), captions


def fill_pool(autoencoder: AutoencoderTiny, clips: int, seed: int, style: str = "plain", frames: int = FRAMES) -> Pool:
    """Draw, render and encode `clips` scenes that are not held out; in half precision, to save memory."""
    scenes = draw_scenes(clips, seed)
    times = torch.arange(frames, dtype=torch.float32)
    parts = [encode(autoencoder, render(scenes[i : i + 50], times, style)).half() for i in range(0, clips, 50)]
    return Pool(scenes, torch.cat(parts))
