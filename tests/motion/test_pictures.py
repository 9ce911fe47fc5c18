"""Pictures to animate: their middle, their frames, and what cannot be one."""

import math

import numpy as np
import pytest
import torch
from animatelcm.motion.pictures import PictureError, check_picture, check_time, cropped, read_keyframes, read_strengths
from PIL import Image
from torch import Tensor


def random_image(count: int, height: int, width: int) -> Tensor:
    return torch.rand(count, height, width, 3, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("tall", "wide"), [(96, 160), (160, 96), (64, 64)])
def test_the_crop_is_the_references(tall: int, wide: int) -> None:
    """AnimateLCM's code scales the shorter side with Lanczos and cuts the middle out; the order differs here."""
    smooth = torch.nn.functional.interpolate(torch.rand(1, 3, 4, 4), (tall, wide), mode="bicubic").clamp(0, 1)
    picture = Image.fromarray((smooth[0].movedim(0, -1) * 255).byte().numpy())
    scale = max(64 / wide, 48 / tall)
    scaled = picture.resize((round(wide * scale), round(tall * scale)), Image.Resampling.LANCZOS)
    left, top = (scaled.width - 64) / 2, (scaled.height - 48) / 2
    expected = torch.from_numpy(np.asarray(scaled.crop((left, top, left + 64, top + 48))) / 255.0)
    found = cropped(torch.from_numpy(np.asarray(picture) / 255.0).float()[None], 64, 48)[0]
    assert (found - expected).abs().mean() < 0.01


def test_a_crop_that_loses_most_of_the_picture_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    cropped(random_image(1, 100, 150), 64, 64)
    assert not caplog.text
    cropped(random_image(1, 100, 400), 64, 64)
    assert "only the middle 25 % of it is seen" in caplog.text


@pytest.mark.parametrize(
    ("text", "pictures", "frames"),
    [("", 1, [0]), ("", 2, [0, 15]), ("", 3, [0, 8, 15]), ("0, -1", 2, [0, 15]), ("15 4", 2, [15, 4]), ("7", 1, [0])],
)
def test_keyframes(text: str, pictures: int, frames: list[int]) -> None:
    assert read_keyframes(text, pictures, 16) == frames


@pytest.mark.parametrize("size", [(80, 120), (120, 80), (16, 4000), (2000, 20)])
@pytest.mark.parametrize(("width", "height"), [(64, 64), (128, 72), (72, 128)])
def test_pictures_of_any_size_get_the_size_of_the_video(size: tuple[int, int], width: int, height: int) -> None:
    found = cropped(random_image(2, *size), width, height)
    assert found.shape == (2, height, width, 3)
    assert found.min() >= 0 and found.max() <= 1


def test_a_picture_of_the_videos_size_is_left_as_it_is() -> None:
    image = random_image(1, 64, 96).mul(255).round().div(255)
    torch.testing.assert_close(cropped(image, 96, 64), image)


def test_the_middle_is_what_is_seen() -> None:
    left, middle = torch.zeros(1, 64, 64, 3), torch.ones(1, 64, 64, 3)
    torch.testing.assert_close(cropped(torch.cat((left, middle, left), dim=2), 64, 64), middle)


def test_a_crop_that_would_show_next_to_nothing_is_refused() -> None:
    with pytest.raises(PictureError, match="next to nothing"):
        cropped(random_image(1, 16, 2000), 64, 4096)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_picture_of_values_that_are_no_numbers_is_refused(value: float) -> None:
    with pytest.raises(PictureError, match="not numbers"):
        check_picture(torch.full((1, 32, 32, 3), value))


def test_a_time_that_never_comes_is_refused() -> None:
    check_time(0.0, 0.01)
    with pytest.raises(PictureError, match="start 0.5 is not before end 0.5"):
        check_time(0.5, 0.5)


def test_strengths_are_those_of_the_levels_times_the_whole() -> None:
    assert read_strengths(0.5, "1, 0.5 2,0") == (0.5, 0.25, 1.0, 0.0)


@pytest.mark.parametrize("levels", ["", "1", "1, 1, 1, 1, 1", "a b c d", "1, 1, 1, inf", "1, 1, 1, nan", 10_000 * "1 "])
def test_strengths_that_are_not_four_numbers_are_refused_in_short(levels: str) -> None:
    with pytest.raises(PictureError, match="level_strengths.*[Ww]rite") as refused:
        read_strengths(1.0, levels)
    assert len(str(refused.value)) < 200
