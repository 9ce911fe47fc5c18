"""Matching colours: the conversion is colorsys's, the statistics are the picture's."""

import colorsys

import numpy as np
import pytest
import torch
from animatelcm.video.colours import hsv_to_rgb, match_colours, mean_hue, rgb_to_hsv
from animatelcm.video.frames import VideoError
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

level = st.integers(0, 255).map(lambda byte: byte / 255)


def noise(*shape: int, low: float = 0.0, high: float = 1.0, seed: int = 0) -> Tensor:
    return low + (high - low) * torch.rand(
        *shape, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


def statistics(image: Tensor) -> Tensor:
    """Mean and deviation of value, and of saturation where it is seen."""
    _, saturation, value = rgb_to_hsv(image).flatten(0, -2).double().numpy().T
    mean = np.average(saturation, weights=value)
    deviation = np.average((saturation - mean) ** 2, weights=value) ** 0.5
    return torch.tensor([mean, deviation, value.mean(), value.std()])


def two_colours(orange: int) -> Tensor:
    """Orange on the left, teal on the right of 100 columns."""
    image = torch.tensor([0.0, 0.6, 0.6], dtype=torch.float64).repeat(8, 100, 1)
    image[:, :orange] = torch.tensor([0.8, 0.4, 0.0], dtype=torch.float64)
    return image


@given(level, level, level)
def test_hue_saturation_and_value_are_those_of_colorsys(red: float, green: float, blue: float) -> None:
    rgb = torch.tensor([red, green, blue], dtype=torch.float64)
    hsv = rgb_to_hsv(rgb)
    torch.testing.assert_close(hsv, torch.tensor(colorsys.rgb_to_hsv(red, green, blue), dtype=torch.float64))
    torch.testing.assert_close(hsv_to_rgb(hsv), rgb)


def test_a_frame_gets_the_pictures_mean_and_deviation() -> None:
    frames, picture = noise(2, 32, 32, low=0.3, high=0.7), noise(20, 50, low=0.4, high=0.6, seed=1)
    for frame in match_colours(frames, picture):
        torch.testing.assert_close(statistics(frame), statistics(picture), atol=0.01, rtol=0)


@pytest.mark.parametrize("turned", [0.1, 0.45, 0.9])
def test_a_frame_gets_the_pictures_hue_around_the_circle(turned: float) -> None:
    picture = rgb_to_hsv(noise(16, 16, low=0.2, high=0.4) + torch.tensor([0.4, 0.0, 0.0]))
    drifted = torch.cat([(picture[..., :1] + turned) % 1, picture[..., 1:]], dim=-1)
    (matched,) = match_colours(hsv_to_rgb(drifted)[None], hsv_to_rgb(picture))
    torch.testing.assert_close(matched, hsv_to_rgb(picture))


def test_grays_have_no_say_in_the_hue() -> None:
    red = torch.tensor([0.9, 0.1, 0.1], dtype=torch.float64).expand(4, 4, 3)
    gray = torch.tensor([0.5, 0.5, 0.5], dtype=torch.float64).expand(4, 400, 3)
    hue, concentration = mean_hue(rgb_to_hsv(torch.cat([red, gray], dim=1)))
    torch.testing.assert_close(torch.stack([hue, concentration]), torch.tensor([0.0, 1.0], dtype=torch.float64))


@pytest.mark.parametrize("orange", [40, 55, 60])
def test_opposite_hues_stay_whichever_there_is_more_of(orange: int) -> None:
    frame, picture = two_colours(orange), two_colours(48)
    (matched,) = match_colours(frame[None], picture)
    torch.testing.assert_close(rgb_to_hsv(matched)[..., 0], rgb_to_hsv(frame)[..., 0], atol=0.01, rtol=0)


def test_the_picture_itself_stays_as_it_is() -> None:
    picture = noise(16, 16)
    torch.testing.assert_close(match_colours(picture[None], picture)[0], picture)


def test_noise_on_black_has_no_say_in_the_saturation() -> None:
    picture = torch.cat([noise(16, 16, low=0.4, high=0.8), torch.zeros(16, 64, 3, dtype=torch.float64)], dim=1)
    noisy = (picture + noise(16, 80, seed=1) / 255).clamp(0, 1)
    assert (match_colours(noisy[None], picture)[0] - picture).abs().max() < 8 / 255


@pytest.mark.parametrize("colour", [(0.6, 0.6, 0.6), (0.1, 0.3, 0.8)])
def test_an_even_gray_gets_the_pictures_colour_and_no_contrast(colour: tuple[float, ...]) -> None:
    picture = torch.tensor(colour).expand(8, 8, 3)
    (matched,) = match_colours(torch.full((1, 8, 8, 3), 0.2), picture)
    torch.testing.assert_close(matched, picture)


def test_what_follows_red_green_and_blue_is_left_out() -> None:
    frames, picture = torch.rand(2, 8, 8, 4), torch.rand(8, 8, 4)
    assert torch.equal(match_colours(frames, picture), match_colours(frames[..., :3], picture[..., :3]))


@pytest.mark.parametrize(("frames", "picture"), [(1, 3), (3, 1)])
def test_fewer_than_three_channels_are_named(frames: int, picture: int) -> None:
    with pytest.raises(VideoError, match=r"1 channel\(s\)\. Expected RGB"):
        match_colours(torch.zeros(2, 8, 8, frames), torch.zeros(8, 8, picture))


def test_half_precision_is_matched_as_full_precision_is() -> None:
    frames, picture = torch.rand(2, 8, 8, 3).half(), torch.rand(8, 8, 3)
    frames[0, :4] = 0
    torch.testing.assert_close(match_colours(frames, picture), match_colours(frames.float(), picture))


def test_strength_blends() -> None:
    frames, picture = noise(2, 8, 8), noise(8, 8, low=0.5, seed=1)
    none, half, full = (match_colours(frames, picture, strength) for strength in (0.0, 0.5, 1.0))
    torch.testing.assert_close(none, frames)
    torch.testing.assert_close(half, (frames + full) / 2)


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_colours_stay_colours(one: int, other: int) -> None:
    matched = match_colours(noise(1, 4, 4, low=-0.2, seed=one), noise(4, 4, low=0.8, high=1.3, seed=other))
    assert matched.min() >= 0 and matched.max() <= 1
