"""Clips and images with captions, from folders or WebDataset shards, in an order that a resumed run goes on with."""

import io
import itertools
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from glob import glob
from pathlib import Path, PurePosixPath

import av
import numpy as np
import torch
import torch.nn.functional as F
from av.error import FFmpegError
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .config import Data

VIDEOS = (".mp4", ".webm", ".mov", ".mkv", ".avi", ".gif")
IMAGES = (".jpg", ".jpeg", ".png", ".webp")
CAPTION = ".txt"


class DataError(ValueError):
    """There is nothing to train on."""


@dataclass(frozen=True)
class Stretch:
    """A file, or a part of one: a member of a shard is read without the rest."""

    path: Path
    start: int = 0
    length: int = -1

    def read(self) -> bytes:
        with self.path.open("rb") as file:
            file.seek(self.start)
            return file.read(self.length)


@dataclass(frozen=True)
class Entry:
    """A clip or image and its caption."""

    name: str
    media: Stretch
    caption: Stretch

    @property
    def is_video(self) -> bool:
        return self.name.lower().endswith(VIDEOS)


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


# What there is


def find_entries(sources: Sequence[str]) -> list[Entry]:
    """List all clips and images that have a caption, in the order of their names.

    Raises:
        DataError: if there is none.
    """
    files = [path for source in sources for path in _files(source)]
    parts = {f"{path}": Stretch(path) for path in files if path.suffix != ".tar"}
    for shard in (path for path in files if path.suffix == ".tar"):
        parts |= _members(shard)
    captions = {_stem(name): part for name, part in parts.items() if name.endswith(CAPTION)}
    entries = [
        Entry(name, part, captions[_stem(name)])
        for name, part in sorted(parts.items())
        if name.lower().endswith(VIDEOS + IMAGES) and _stem(name) in captions
    ]
    if not entries:
        raise DataError(
            f"There is nothing to train on in {', '.join(sources)}. Expected {', '.join(VIDEOS + IMAGES)} files with a "
            f"caption beside each, under the same name with {CAPTION}; or .tar shards of them."
        )
    return entries


def _files(source: str) -> list[Path]:
    found = [Path(name) for name in sorted(glob(source))]  # noqa: PTH207 - Path.glob knows no absolute patterns
    return [path for one in found for path in ([one] if one.is_file() else sorted(one.rglob("*.*")))]


def _members(shard: Path) -> dict[str, Stretch]:
    with tarfile.open(shard, "r:") as tar:
        return {f"{shard}/{m.name}": Stretch(shard, m.offset_data, m.size) for m in tar if m.isfile()}


def _stem(name: str) -> str:
    """WebDataset's key: the name up to the first dot of its last part."""
    path = PurePosixPath(name)
    return str(path.with_name(path.name.partition(".")[0]))


# Reading one of them


class Samples(Dataset):
    """Entries as samples; an index is (number of the entry, number of the draw)."""

    def __init__(self, entries: Sequence[Entry], data: Data, frames: int, seed: int) -> None:
        self.entries, self.data, self.frames, self.seed = entries, data, frames, seed

    def __getitem__(self, index: tuple[int, int]) -> Sample | Broken:
        """Read an entry. What is random in it depends on the seed and the draw alone."""
        number, draw = index
        entry, random = self.entries[number], np.random.default_rng((self.seed, draw))
        try:
            caption = entry.caption.read().decode().strip()
            if entry.is_video:
                pictures = read_clip(entry.media.read(), self.frames, self.data.every_nth, random)
            elif self.frames == 1:
                pictures = read_image(entry.media.read())
            else:
                return Broken(entry.name, "is an image, and this stage trains on videos")
        except (FFmpegError, OSError, ValueError, IndexError) as error:
            return Broken(entry.name, str(error))
        told = random.random() >= self.data.caption_dropout
        return Sample(fitted(pictures, self.data.width, self.data.height), caption if told else "")


def read_clip(content: bytes, frames: int, every_nth: int, random: np.random.Generator) -> np.ndarray:
    """Frames of a video from a random place of it, (frames, height, width, 3), uint8.

    Raises:
        ValueError: if it is too short.
    """
    span = (frames - 1) * every_nth + 1
    with av.open(io.BytesIO(content)) as container:
        stream = container.streams.video[0]
        first = int(random.integers(max(1, stream.frames - span + 1)))  # 0 where the file does not tell its length
        wanted = itertools.islice(container.decode(stream), first, first + span, every_nth)
        read = [frame.to_ndarray(format="rgb24") for frame in wanted]
    if len(read) < frames:
        raise ValueError(f"is too short: {frames} frames at every_nth {every_nth} take {span}")
    return np.stack(read)


def read_image(content: bytes) -> np.ndarray:
    """An image as one frame, (1, height, width, 3), uint8."""
    with Image.open(io.BytesIO(content)) as image:
        return np.array(image.convert("RGB"))[None]


def fitted(pictures: np.ndarray, width: int, height: int) -> Tensor:
    """The middle of frames (F, H, W, 3), uint8, scaled to fill another size: (F, 3, height, width) in -1..1."""
    pixels = torch.from_numpy(pictures).movedim(-1, 1) / 127.5 - 1
    tall, wide = pixels.shape[2:]
    scale = max(width / wide, height / tall)
    size = max(height, round(tall * scale)), max(width, round(wide * scale))
    pixels = F.interpolate(pixels, size=size, mode="bicubic", antialias=True).clamp(-1, 1)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return pixels[:, :, top : top + height, left : left + width].contiguous()


# One after the other


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
        self.broken: dict[str, str] = {}  # the reason under each name

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
                if in_a_row >= 2 * self.world * len(self.samples.entries):  # the good ones may be others' for a while
                    raise DataError(f"None of the files can be read. The last one, {sample.name}: {sample.reason}.")
                continue
            in_a_row = 0
            rows.append(sample)
            if len(rows) == self.batch:
                yield Batch(torch.stack([row.pixels for row in rows]), [row.caption for row in rows])
                rows = []

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
        count = len(self.samples.entries)
        for draw in itertools.count(self.rank + self.taken * self.world, self.world):
            epoch, place = divmod(draw, count)
            yield int(_shuffled(count, self.samples.seed + epoch)[place]), draw


@lru_cache(maxsize=2)
def _shuffled(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(count)
