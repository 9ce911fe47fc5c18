"""What a training run reads, in which order, and what it does with what cannot be read."""

import itertools
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from animatelcm.distill.sd15.config import Data
from animatelcm.distill.sd15.data import Batches, Samples
from animatelcm.distill.sd15.index import DataError, find_entries
from PIL import Image

from .conftest import FRAMES, SIZE, write_clip

FPS = 4.0


@pytest.fixture
def samples() -> Callable[..., Samples]:
    def make(*sources: Path, frames: int = FRAMES, **data: float) -> Samples:
        names = [str(source) for source in sources]
        settings = Data(sources=names, width=SIZE, height=SIZE, fps=FPS, **data)
        return Samples(find_entries(names), settings, frames, seed=3)

    return make


def captions(batches: Batches, count: int) -> list[str]:
    return [caption for batch in itertools.islice(batches, count) for caption in batch.captions]


def test_a_shard_holds_what_its_files_held(samples: Callable[..., Samples], clips: Path, shard: Path) -> None:
    apart, packed = samples(clips), samples(shard)
    assert len(apart.index.entries) == len(packed.index.entries) == 5
    for number in range(5):
        one, other = apart[number, 7], packed[number, 7]
        assert one.caption == other.caption == f"clip {'abcde'[number]}"
        assert torch.equal(one.pixels, other.pixels)


def test_an_image_is_a_clip_of_one_frame(samples: Callable[..., Samples], images: Path) -> None:
    sample = samples(images, frames=1)[0, 0]
    assert sample.pixels.shape == (1, 3, SIZE, SIZE)
    assert sample.caption == "image a"


def test_captions_are_left_out_as_often_as_asked(samples: Callable[..., Samples], images: Path) -> None:
    told = samples(images, frames=1, caption_dropout=0.25)
    empty = sum(told[0, draw].caption == "" for draw in range(400))
    assert 70 < empty < 130


def test_every_pass_takes_each_once_in_another_order(samples: Callable[..., Samples], clips: Path) -> None:
    order = captions(Batches(samples(clips), 1, workers=0), 15)
    passes = [order[:5], order[5:10], order[10:]]
    assert all(sorted(one) == sorted(passes[0]) for one in passes)
    assert len({tuple(one) for one in passes}) > 1


def test_processes_share_a_pass(samples: Callable[..., Samples], clips: Path) -> None:
    alone = captions(Batches(samples(clips), 1, workers=0), 10)
    shared = [captions(Batches(samples(clips), 1, 0, rank, world=2), 5) for rank in range(2)]
    assert [*itertools.chain(*zip(*shared, strict=True))] == alone


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_go_on_where_they_stood(samples: Callable[..., Samples], clips: Path, workers: int) -> None:
    whole = list(itertools.islice(Batches(samples(clips), 2, workers), 4))
    begun = Batches(samples(clips), 2, workers)
    list(itertools.islice(begun, 2))
    rest = list(itertools.islice(Batches(samples(clips), 2, workers, taken=begun.taken), 2))
    for one, other in zip(whole[2:], rest, strict=True):
        assert one.captions == other.captions
        assert torch.equal(one.pixels, other.pixels)


def bomb(path: Path) -> None:
    """A picture that PIL refuses to open, with an error of its own kind."""
    header = struct.pack(">I4sIIBBBBB", 13, b"IHDR", 60000, 60000, 8, 2, 0, 0, 0)
    pixels = struct.pack(">I4s", 0, b"IDAT")
    content = (part + struct.pack(">I", zlib.crc32(part[4:])) for part in (header, pixels))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(content))


def damaged(path: Path) -> None:
    """A picture whose pixels are other bytes than they were."""
    Image.new("RGB", (64, 64)).save(path)
    content = path.read_bytes()
    path.write_bytes(content[:50] + bytes(20) + content[70:])


BROKEN = {  # what makes the file, and what is said of it
    "short.mp4": (lambda path: write_clip(path, frames=2), "too short: 3 frames at 4 a second take 0.75 seconds"),
    "cut.mp4": (lambda path: path.write_bytes(b"\0\0\0\x20ftypisom" + bytes(400)), "damaged or cut off"),
    "page.mp4": (lambda path: path.write_bytes(b"<html>"), "a web page"),
    "folder.mp4": (Path.mkdir, "Is a directory"),
    "nothing.png": (Path.touch, "cannot identify"),
    "bomb.png": (bomb, "decompression bomb"),
    "damaged.png": (damaged, ""),
}


@pytest.mark.parametrize("frames", [1, FRAMES])
def test_what_cannot_be_read_is_left_out_and_named(
    samples: Callable[..., Samples], tmp_path: Path, frames: int
) -> None:
    for name, (make, _) in BROKEN.items():
        make(tmp_path / name)
        (tmp_path / name).with_suffix(".txt").write_text(name)
    write_clip(tmp_path / "good.mp4")
    batches = Batches(samples(tmp_path, frames=frames), 1, workers=0)
    assert "clip good" in captions(batches, 3)
    said = {Path(name).name: reason for name, reason in batches.broken.items()}
    assert said.keys() == BROKEN.keys() - ({"short.mp4"} if frames == 1 else set())
    for name, reason in said.items():
        pictures_too = frames == 1 or name.endswith(".mp4")
        assert (BROKEN[name][1] if pictures_too else "this stage trains on videos") in reason


def test_where_nothing_can_be_read_that_is_said(samples: Callable[..., Samples], tmp_path: Path) -> None:
    for name in "ab":
        write_clip(tmp_path / f"{name}.mp4", frames=2)
    with pytest.raises(DataError, match=r"None of the files can be read\. The last one, .*too short"):
        next(iter(Batches(samples(tmp_path), 1, workers=0)))
