"""What a training run reads, in which order, and what it does with what cannot be read."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from animatelcm.distill.sd15.config import Data
from animatelcm.distill.sd15.data import Batches, DataError, Samples, find_entries, fitted

from .conftest import FRAMES, SIZE, write_clip

EVERY = 2


@pytest.fixture
def samples() -> Callable[..., Samples]:
    def make(*sources: Path, frames: int = FRAMES, **data: float) -> Samples:
        names = [str(source) for source in sources]
        settings = Data(sources=names, width=SIZE, height=SIZE, every_nth=EVERY, **data)
        return Samples(find_entries(names), settings, frames, seed=3)

    return make


def captions(batches: Batches, count: int) -> list[str]:
    return [caption for batch in itertools.islice(batches, count) for caption in batch.captions]


def test_a_clip_is_every_nth_frame_from_somewhere_within(samples: Callable[..., Samples], clips: Path) -> None:
    draws = [samples(clips)[0, draw] for draw in range(20)]
    starts = set()
    for sample in draws:
        level = ((sample.pixels + 1) * 127.5 / 20).mean((1, 2, 3))
        assert sample.pixels.shape == (FRAMES, 3, SIZE, SIZE)
        torch.testing.assert_close(level - level[0], torch.arange(FRAMES) * float(EVERY), rtol=0, atol=0.2)
        starts.add(round(level[0].item()))
    assert starts <= set(range(12 - (FRAMES - 1) * EVERY))
    assert len(starts) > 3


def test_a_shard_holds_what_its_files_held(samples: Callable[..., Samples], clips: Path, shard: Path) -> None:
    apart, packed = samples(clips), samples(shard)
    assert len(apart.entries) == len(packed.entries) == 5
    for number in range(5):
        one, other = apart[number, 7], packed[number, 7]
        assert one.caption == other.caption == f"clip {'abcde'[number]}"
        assert torch.equal(one.pixels, other.pixels)


def test_an_image_is_a_clip_of_one_frame(samples: Callable[..., Samples], images: Path) -> None:
    sample = samples(images, frames=1)[0, 0]
    assert sample.pixels.shape == (1, 3, SIZE, SIZE)
    assert sample.caption == "image a"


@pytest.mark.parametrize("size", [(64, 128), (128, 64), (200, 300), (30, 20)])
def test_the_middle_fills_the_size_asked_for(size: tuple[int, int]) -> None:
    """A picture whose left half is black and right half white stays so."""
    picture = np.zeros((1, *size, 3), np.uint8)
    picture[:, :, size[1] // 2 :] = 255
    pixels = fitted(picture, 64, 64)
    assert pixels.shape == (1, 3, 64, 64)
    assert pixels[..., :24].max() < -0.9
    assert pixels[..., 40:].min() > 0.9


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


def test_broken_files_are_left_out_and_named(samples: Callable[..., Samples], tmp_path: Path) -> None:
    write_clip(tmp_path / "good.mp4")
    write_clip(tmp_path / "short.mp4", frames=2)
    for name, content in {"cut": (tmp_path / "good.mp4").read_bytes()[:400], "page": b"<html>"}.items():
        (tmp_path / f"{name}.mp4").write_bytes(content)
        (tmp_path / f"{name}.txt").write_text(name)
    (tmp_path / "picture.png").write_bytes(b"")
    (tmp_path / "picture.txt").write_text("picture")
    batches = Batches(samples(tmp_path), 1, workers=0)
    assert set(captions(batches, 3)) == {"clip good"}
    reasons = {Path(name).name: reason for name, reason in batches.broken.items()}
    assert reasons.keys() == {"short.mp4", "cut.mp4", "page.mp4", "picture.png"}
    assert "too short: 3 frames at every_nth 2 take 5" in reasons["short.mp4"]
    assert "this stage trains on videos" in reasons["picture.png"]


def test_where_nothing_can_be_read_that_is_said(samples: Callable[..., Samples], tmp_path: Path) -> None:
    for name in "ab":
        write_clip(tmp_path / f"{name}.mp4", frames=2)
    with pytest.raises(DataError, match=r"None of the files can be read\. The last one, .*too short"):
        next(iter(Batches(samples(tmp_path), 1, workers=0)))


def test_what_has_no_caption_is_no_entry(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "alone.mp4").write_bytes((clips / "a.mp4").read_bytes())
    with pytest.raises(DataError, match="nothing to train on.*caption beside each"):
        find_entries([str(tmp_path)])


def test_a_pattern_names_several(clips: Path) -> None:
    assert [Path(entry.name).stem for entry in find_entries([f"{clips}/[ab].*"])] == ["a", "b"]
