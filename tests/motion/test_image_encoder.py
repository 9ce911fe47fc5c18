"""The image encoder equals a float64 one written from the file's grammar, layer by layer."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from animatelcm.motion.config import ImageEncoderConfig, MotionConfig, ResidualConfig
from animatelcm.motion.grammar import our_key, published_key, published_state_dict
from animatelcm.motion.image_encoder import ImageEncoder, encode_clip, picture_weights
from animatelcm.motion.transformer import MotionModule
from torch import Tensor

from ..relative_error import relative_error
from .conftest import CONFIG, fill

WIDTHS = (32, 64, 64, 64)
FULL = (320, 640, 1280, 1280)


def published(widths: tuple[int, ...], **changes: Any) -> ImageEncoderConfig:
    """AnimateLCM's: two blocks a level, 1 x 1 kernels, a first convolution only where the width changes."""
    before = (widths[0], *widths)
    levels = (
        (ResidualConfig(out, in_conv=into != out, **changes), ResidualConfig(out, **changes))
        for into, out in zip(before, widths, strict=False)
    )
    return ImageEncoderConfig(tuple(block for level in levels for block in level))


CONFIGS = {
    "AnimateLCM": published(WIDTHS),
    "full size": published(FULL),
    "3 x 3 kernels": published(WIDTHS, kernel=3),
    "skep": published(WIDTHS, skep=True),
    "one block a level": ImageEncoderConfig(tuple(ResidualConfig(w, in_conv=True) for w in WIDTHS)),
}


def oracle(tensors: dict[str, Tensor], latents: Tensor, frame: list[int], motion_scale: float) -> list[Tensor]:
    """The encoder of a file's `img_encoder.*`, in float64."""
    w = {key.removeprefix("img_encoder."): value.double() for key, value in tensors.items()}

    def conv(h: Tensor, name: str) -> Tensor:
        weight = w[f"{name}.weight"]
        return F.conv2d(h, weight, w[f"{name}.bias"], padding=weight.shape[-1] // 2)

    h = conv(latents.double(), "conv_in")
    width = h.shape[1]
    for row, f in enumerate(frame):
        for k in range(width // 2):
            angle = f * 10000 ** (-2 * k / width)
            h[row, 2 * k] += motion_scale * math.sin(angle)
            h[row, 2 * k + 1] += motion_scale * math.cos(angle)
    blocks = 1 + max(int(name.split(".")[1]) for name in w if name.startswith("body."))
    features = []
    for i in range(blocks):
        if i and i % (blocks // 4) == 0:
            if h.shape[-2] % 2:
                h = torch.cat([h, h[:, :, -1:]], dim=2)
            if h.shape[-1] % 2:
                h = torch.cat([h, h[:, :, :, -1:]], dim=3)
            h = (h[:, :, ::2, ::2] + h[:, :, 1::2, ::2] + h[:, :, ::2, 1::2] + h[:, :, 1::2, 1::2]) / 4
        name = f"body.{i}"
        h = conv(h, f"{name}.in_conv") if f"{name}.in_conv.weight" in w else h
        inner = conv(conv(h, f"{name}.block1").clamp(min=0), f"{name}.block2")
        h = inner + (conv(h, f"{name}.skep") if f"{name}.skep.weight" in w else h)
        if (i + 1) % (blocks // 4) == 0:
            features.append(h)
    return features


def random_latents(rows: int, height: int = 8, width: int = 8) -> Tensor:
    return torch.randn(rows, 4, height, width, generator=torch.Generator().manual_seed(3))


def in_file(encoder: ImageEncoder) -> dict[str, Tensor]:
    return {f"img_encoder.{key}": value for key, value in encoder.state_dict().items()}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 9)])
def test_the_features_equal_a_float64_encoder(config: ImageEncoderConfig, height: int, width: int) -> None:
    encoder = fill(ImageEncoder(config), seed=4)
    latents, frame = random_latents(2, height, width), [0, 13]
    features = encoder(latents, torch.tensor(frame), 0.8)
    expected = oracle(in_file(encoder), latents, frame, 0.8)
    assert [f.shape[1] for f in features] == list(config.channels)
    for feature, wanted in zip(features, expected, strict=True):
        assert relative_error(feature, wanted) <= 1e-5


def test_without_motion_every_frame_is_told_the_same() -> None:
    encoder = fill(ImageEncoder(CONFIGS["AnimateLCM"]), seed=4)
    still = encode_clip(encoder, random_latents(1), picture_weights(range(4), [0]), motion_scale=0.0)
    moving = encode_clip(encoder, random_latents(1), picture_weights(range(4), [0]), motion_scale=0.8)
    assert all(relative_error(feature, feature[:1].expand_as(feature)) < 1e-5 for feature in still)
    assert all(relative_error(feature, feature[:1].expand_as(feature)) > 1e-2 for feature in moving)


def test_two_pictures_are_mixed_in_feature_space() -> None:
    encoder, latents = fill(ImageEncoder(CONFIGS["AnimateLCM"]), seed=4), random_latents(2)
    mixed = encode_clip(encoder, latents, picture_weights(range(5), [0, 4]))
    first, last = (encode_clip(encoder, latents[i : i + 1], picture_weights(range(5), [0])) for i in (0, 1))
    for level, (a, b) in enumerate(zip(first, last, strict=True)):
        assert relative_error(mixed[level][0], a[0]) < 1e-5
        assert relative_error(mixed[level][4], b[4]) < 1e-5
        assert relative_error(mixed[level][1], 0.75 * a[1] + 0.25 * b[1]) < 1e-5


def test_a_picture_per_frame_is_each_alone() -> None:
    encoder, latents = fill(ImageEncoder(CONFIGS["AnimateLCM"]), seed=4), random_latents(3)
    features = encode_clip(encoder, latents, picture_weights(range(3), [0, 1, 2]))
    for feature, expected in zip(features, encoder(latents, torch.arange(3)), strict=True):
        assert relative_error(feature, expected) < 1e-5


@pytest.mark.parametrize(
    ("keyframes", "frames", "expected"),
    [
        ([5], [0, 9], [[1.0], [1.0]]),
        ([0, 4], [0, 1, 4], [[1, 0], [0.75, 0.25], [0, 1]]),
        ([2, 6], [0, 2, 4, 9], [[1, 0], [1, 0], [0.5, 0.5], [0, 1]]),
        ([0, 2, 8], [1, 2, 5], [[0.5, 0.5, 0], [0, 1, 0], [0, 0.5, 0.5]]),
    ],
)
def test_a_frame_has_a_share_of_its_neighbouring_pictures(
    keyframes: list[int], frames: list[int], expected: list[list[float]]
) -> None:
    assert picture_weights(frames, keyframes).tolist() == expected


def test_weights_have_the_names_of_the_published_file() -> None:
    module = MotionModule(MotionConfig(CONFIG.down_channels, CONFIG.up_channels, 64, image_encoder=published(WIDTHS)))
    names = [key for key in published_state_dict(module.state_dict()) if "img_encoder" in key]
    assert "img_encoder.conv_in.weight" in names and "img_encoder.body.2.in_conv.bias" in names
    assert all(published_key(our_key(name) or "") == name for name in names)


def test_blocks_that_no_levels_share_evenly_are_refused() -> None:
    with pytest.raises(ValueError, match="6 blocks"):
        ImageEncoderConfig((ResidualConfig(32),) * 6)


def test_an_encoder_of_another_width_than_the_unet_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(320, 640, 1280, 1280\) channels"):
        MotionConfig(CONFIG.down_channels, CONFIG.up_channels, 64, image_encoder=published(FULL))
