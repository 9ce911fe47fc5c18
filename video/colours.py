"""Giving frames the colours of a picture, by the mean and the deviation of their hue, saturation and value."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .frames import rgb

FLAT = 1e-4  # deviation below which a channel has no contrast that could be scaled
MANY_HUES, ONE_HUE = 0.25, 0.75  # concentration of hues at which their mean says nothing, and at which it is the hue


def match_colours(
    frames: Tensor,
    picture: Tensor,
    strength: float = 1.0,
    on_frame: Callable[[int, int], None] = lambda done, total: None,
) -> Tensor:
    """Return frames with a picture's mean hue, and with the mean and the deviation of its saturation and its value.

    Each frame is matched by itself, so that what drifts in a video is brought back. Where either has colours all
    around the circle, the hues stay: their mean would be chance.

    Args:
        frames: (frames, height, width, 3 or more), RGB in 0 to 1; what comes after RGB is left out.
        picture: (height, width, 3 or more), of any size, on the frames' device.
        strength: share of the result in what is returned, 0 to 1.
        on_frame: called before each frame with (frames done, frames in all); it may raise to stop.

    Returns:
        Tensor: (frames, height, width, 3), float32 or, for float64 frames, float64.

    Raises:
        VideoError: if there are fewer than three channels.
    """
    exact = torch.promote_types(frames.dtype, torch.float32)
    wanted = rgb_to_hsv(rgb(picture).to(exact).clamp(0, 1))
    matched = torch.empty_like(rgb(frames), dtype=exact)
    for done, frame in enumerate(rgb(frames)):
        on_frame(done, len(frames))
        colours = frame.to(exact).clamp(0, 1)
        matched[done] = torch.lerp(colours, hsv_to_rgb(_matched(rgb_to_hsv(colours), wanted)), strength)
    return matched


def rgb_to_hsv(rgb: Tensor) -> Tensor:
    """Hue, saturation and value in 0 to 1 of colours (..., 3) in 0 to 1; grays have hue 0."""
    value, low = rgb.amax(-1), rgb.amin(-1)
    chroma = value - low
    red, green, blue = rgb.unbind(-1)
    per_chroma = 1 / chroma.clamp(min=1e-9)
    hue = torch.where(
        value == red,
        (green - blue) * per_chroma,
        torch.where(value == green, 2 + (blue - red) * per_chroma, 4 + (red - green) * per_chroma),
    )
    hue = torch.where(chroma > 0, hue / 6 % 1, 0.0)
    return torch.stack([hue, chroma / value.clamp(min=1e-9), value], dim=-1)


def hsv_to_rgb(hsv: Tensor) -> Tensor:
    """The inverse of `rgb_to_hsv`."""
    hue, saturation, value = hsv.unbind(-1)
    sector = hue[..., None] * 6 + torch.tensor([5.0, 3.0, 1.0], device=hsv.device, dtype=hsv.dtype)
    away = torch.minimum(sector % 6, 4 - sector % 6).clamp(0, 1)
    return value[..., None] * (1 - saturation[..., None] * away)


def mean_hue(hsv: Tensor) -> tuple[Tensor, Tensor]:
    """The mean on the circle of hues, and their concentration: 1 for a single hue, 0 for hues all around.

    Both are weighted by chroma: a gray's hue means nothing.
    """
    angle, chroma = hsv[..., 0] * 2 * math.pi, hsv[..., 1] * hsv[..., 2]
    up, right = (chroma * angle.sin()).sum(), (chroma * angle.cos()).sum()
    return torch.atan2(up, right) / (2 * math.pi), torch.hypot(up, right) / chroma.sum().clamp(min=1e-9)


def _matched(hsv: Tensor, wanted: Tensor) -> Tensor:
    """One frame, (height, width, 3), with the statistics of another."""
    saturation, value = hsv[..., 1], hsv[..., 2]
    # A dark colour's saturation is noise: it counts for as much as is seen of it
    moved = scaled(saturation, value, wanted[..., 1], wanted[..., 2])
    every_pixel, every_wanted = torch.ones_like(value), torch.ones_like(wanted[..., 2])
    brightened = scaled(value, every_pixel, wanted[..., 2], every_wanted)
    # A gray that becomes a colour has no hue of its own
    hue = torch.where(saturation > 0, turned(hsv, wanted), mean_hue(wanted)[0] % 1)
    return torch.stack([hue, moved, brightened], dim=-1)


def turned(hsv: Tensor, wanted: Tensor) -> Tensor:
    """The hues, (height, width), with the mean of another's as far as either has one."""
    (hue, concentration), (aim, of_aim) = mean_hue(hsv), mean_hue(wanted)
    trust = (torch.minimum(concentration, of_aim) - MANY_HUES) / (ONE_HUE - MANY_HUES)
    shortest = (aim - hue + 0.5) % 1 - 0.5
    return (hsv[..., 0] + shortest * trust.clamp(0, 1)) % 1


def scaled(channel: Tensor, weight: Tensor, wanted: Tensor, wanted_weight: Tensor) -> Tensor:
    """One channel, (height, width), with the weighted mean and deviation of another."""
    (mean, deviation), (aim, aims_deviation) = statistics(channel, weight), statistics(wanted, wanted_weight)
    contrast = torch.where(deviation > FLAT, aims_deviation / deviation.clamp(min=FLAT), 1.0)
    return ((channel - mean) * contrast + aim).clamp(0, 1)


def statistics(channel: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean and deviation of a channel, (height, width)."""
    total = weight.sum().clamp(min=1e-9)
    mean = (channel * weight).sum() / total
    return mean, ((channel - mean).square() * weight).sum().div(total).sqrt()
