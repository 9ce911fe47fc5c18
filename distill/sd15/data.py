"""Batches of clips or images with captions, in an order that a resumed run goes on with."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .config import Data
from .decode import read_clip, read_image
from .index import DataError, Entry, Index


@dataclass(frozen=True)
class Sample:
    """One row of a batch: pixels (frames, 3, height, width) in -1..1, one frame for an image."""

    pixels: Tensor
    caption: str


@dataclass(frozen=True)
class Broken:
    """What could not be read, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Batch:
    """Pixels (rows, frames, 3, height, width) in -1..1, and their captions."""

    pixels: Tensor
    captions: list[str]


class Samples(Dataset):
    """What an index lists, as samples.

    Args:
        index: what there is.
        data: how it is read.
        frames: per sample; 1 for images.
        seed: of what is random.
    """

    def __init__(self, index: Index, data: Data, frames: int, seed: int) -> None:
        self.index, self.data, self.frames, self.seed = index, data, frames, seed

    def __getitem__(self, place: tuple[int, int]) -> Sample | Broken:
        """Read an entry by (its number, the number of the draw). What is random depends on seed and draw alone."""
        number, draw = place
        entry = self.index.entries[number]
        try:
            return self.read(entry, np.random.default_rng((self.seed, draw)))
        except Exception as error:  # whatever a decoder stumbles over, MemoryError among it: no file ends a run
            return Broken(entry.name, f"{error}" or type(error).__name__)

    def read(self, entry: Entry, random: np.random.Generator) -> Sample:
        """Read an entry.

        Raises:
            Exception: of many kinds, if it cannot be read.
        """
        caption, size = entry.read_caption(), (self.data.width, self.data.height)
        if entry.is_video:
            pixels = read_clip(entry.media, self.frames, self.data.fps, *size, random)
        elif self.frames == 1:
            pixels = read_image(entry.media, *size)
        else:
            raise ValueError("is an image, and this stage trains on videos")
        kept = random.random() >= self.data.caption_dropout
        return Sample(pixels, caption if kept else "")


class Batches:
    """Endless batches of one process; whoever starts it again with what it `taken` gets what would have come next.

    Args:
        samples: to take from.
        batch: rows of a batch.
        workers: processes that read.
        rank: of this process.
        world: how many there are; each takes its own share.
        taken: samples that this process has taken before.
    """

    def __init__(
        self, samples: Samples, batch: int, workers: int, rank: int = 0, world: int = 1, taken: int = 0
    ) -> None:
        self.samples, self.batch, self.workers = samples, batch, workers
        self.rank, self.world, self.taken = rank, world, taken
        self.broken = dict(samples.index.broken)  # the reason under each name

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches; what is broken is left out, and noted in `broken`.

        Raises:
            DataError: if nothing can be read.
        """
        rows: list[Sample] = []
        in_a_row = 0
        for sample in self._stream():
            self.taken += 1
            if isinstance(sample, Broken):
                self.broken.setdefault(sample.name, sample.reason)
                in_a_row += 1
                if in_a_row >= 2 * self.world * self.count:  # the good ones may be others' for a while
                    raise DataError(f"None of the files can be read. The last one, {sample.name}: {sample.reason}.")
                continue
            in_a_row = 0
            rows.append(sample)
            if len(rows) == self.batch:
                yield Batch(torch.stack([row.pixels for row in rows]), [row.caption for row in rows])
                rows = []

    @property
    def count(self) -> int:
        """Samples of a pass."""
        return len(self.samples.index.entries)

    def _stream(self) -> DataLoader:
        # A generator of its own: else starting to read would draw from the numbers that the training draws from
        return DataLoader(
            self.samples,
            batch_size=None,
            sampler=self._order(),
            num_workers=self.workers,
            generator=torch.Generator().manual_seed(0),
        )

    def _order(self) -> Iterator[tuple[int, int]]:
        """Each pass over the entries is in an order of its own."""
        for draw in itertools.count(self.rank + self.taken * self.world, self.world):
            epoch, place = divmod(draw, self.count)
            yield int(_shuffled(self.count, self.samples.seed + epoch)[place]), draw


@lru_cache(maxsize=2)
def _shuffled(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(count)
