"""Videos that are parts of files, read where they lie."""

from pathlib import Path

import pytest
import torch
from animatelcm.video.container import container_of
from animatelcm.video.frames import VideoError
from animatelcm.video.part import Part, first_bytes
from animatelcm.video.probe import describe, measured_seconds
from animatelcm.video.read import Excerpt, read_excerpt
from animatelcm.video.write import VideoSettings, write_video

EXCERPT = Excerpt(0.5, 4, 1, 32, 32)
BEFORE, AFTER = 700, b"RIFF" * 100


@pytest.fixture(params=[".mp4", ".webm", ".gif"])
def video(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    levels = (torch.arange(16) / 20)[:, None, None, None].expand(-1, 32, 32, 3)
    write_video(tmp_path / f"clip{request.param}", levels, VideoSettings(8.0, 100))
    return tmp_path / f"clip{request.param}"


@pytest.fixture
def part(video: Path) -> Part:
    """The video within a file with a name that ffmpeg's addresses have their own meaning for."""
    packed = video.with_name("a, b;%03d:[c]'.tar")
    packed.write_bytes(b"\0" * BEFORE + video.read_bytes() + AFTER)
    return Part(packed, BEFORE, video.stat().st_size, "clip")


def test_a_part_has_the_frames_of_the_whole(video: Path, part: Part) -> None:
    assert container_of(part) == container_of(video)
    ours, expected = (read_excerpt(file, describe(file), EXCERPT) for file in (part, video))
    assert torch.equal(ours[0], expected[0])
    assert ours[1] == expected[1]


def test_a_part_that_is_no_video_is_named(part: Part) -> None:
    with pytest.raises(VideoError, match=r"^inside is no video"):
        describe(Part(part.path, 0, BEFORE, "inside"))


def test_no_byte_beyond_a_part_is_seen(part: Part) -> None:
    assert first_bytes(Part(part.path, 1, 2, "two"), 100) == b"\0\0"
    assert len(first_bytes(part, part.length + 100)) == part.length
    assert first_bytes(part.path, 3) == b"\0\0\0"


def test_a_length_is_measured_where_none_is_said(video: Path, part: Part) -> None:
    for file in (video, part):
        assert measured_seconds(describe(file)) == pytest.approx(2.0, abs=0.3)
