"""A clip's frames in one latent, for previews."""

import math

import pytest
import torch
from animatelcm.sampling.contact_sheet import SHOWN, contact_sheet


def numbered(frames: int, height: int, width: int) -> torch.Tensor:
    """Latents whose every value is the number of its frame, from 1."""
    return torch.arange(1.0, frames + 1)[:, None, None, None].repeat(1, 4, height, width)


@pytest.mark.parametrize(
    ("frames", "size", "rows", "columns"),
    [
        (1, (8, 8), 1, 1),
        (2, (8, 8), 1, 2),
        (16, (8, 8), 4, 4),
        (5, (8, 8), 2, 3),
        (16, (8, 12), 4, 4),
        (16, (4, 16), 8, 2),
    ],
)
def test_frames_stand_in_rows_from_the_upper_left(frames: int, size: tuple[int, int], rows: int, columns: int) -> None:
    sheet = contact_sheet(numbered(frames, *size), side=512)
    height, width = size
    assert sheet.shape == (1, 4, rows * height, columns * width)
    for place in range(rows * columns):
        row, column = divmod(place, columns)
        shown = sheet[0, :, row * height : (row + 1) * height, column * width : (column + 1) * width]
        assert (shown == (place + 1 if place < frames else 0)).all()


def test_a_long_clip_is_shown_from_its_first_frame_to_its_last() -> None:
    shown = contact_sheet(numbered(1000, 1, 1), side=512).flatten(1)[0, :SHOWN]
    assert shown[0] == 1 and shown[-1] == 1000
    gaps = shown[1:] - shown[:-1]
    assert set(gaps.tolist()) <= {math.floor(999 / 63), math.ceil(999 / 63)}


@pytest.mark.parametrize("side", [64, 100, 7])
def test_a_sheet_is_no_larger_than_it_may_be_and_keeps_what_is_shown(side: int) -> None:
    sheet = contact_sheet(numbered(16, 64, 48), side)
    assert max(sheet.shape[-2:]) <= side
    assert set(sheet.round(decimals=4).unique().tolist()) - {0} == set(range(1, 17))
