"""The VAE: a TAESD (2.45 M parameters, 8x smaller, 4 latent channels) for the scenes in all their looks.

Its encoder is built rather than trained (our choice: a CPU trains a TAESD for half an hour, and scenes this plain do
not need it): a latent is the mean colour of its 8 x 8 pixels and the strength of the edges among them, made
uncorrelated and of unit variance, which is what the UNet sees. ComfyUI's own latents are those divided by 0.18215.
The decoder is trained.
"""

from collections.abc import Mapping

import torch
from diffusers import AutoencoderTiny
from torch import Tensor, nn

from .scenes import FRAMES, LOOKS, SIZE, draw_scenes, render

TRAINED_CHANNELS = 32  # of 64: a quarter of the arithmetic; `widen` fills the rest with zeros (our choice)
CROP = 40
LATENT_NOISE = 0.1
STRIDED = (2, 6, 10)  # the encoder's layers that halve the image


def build_autoencoder() -> AutoencoderTiny:
    """A TAESD of half the published width, for training."""
    widths = (TRAINED_CHANNELS,) * 4
    model = AutoencoderTiny(encoder_block_out_channels=widths, decoder_block_out_channels=widths)
    return model.to(memory_format=torch.channels_last)


@torch.no_grad()
def build_encoder(layers: nn.Sequential) -> None:
    """Write the weights that take colour means and edge strengths; the residual blocks only rectify."""
    for parameter in layers.parameters():
        parameter.requires_grad_(False).zero_()
    for rgb in range(3):
        layers.get_parameter("0.weight")[rgb, rgb, 1, 1] = 1.0
    first, second, third = (layers.get_parameter(f"{i}.weight") for i in STRIDED)
    for weight in (first, second, third):
        for rgb in range(3):
            _pool(weight, rgb, rgb)
    _differences(first, 3)
    _differences(second, 4)
    for weight, offset in ((second, 3), (third, 4)):  # channel 3 gathers the rectified differences of the layer before
        for channel in range(offset, offset + 24):
            _pool(weight, 3, channel)
    _pool(third, 3, 3)
    _whiten(layers)


def _pool(weight: Tensor, out: int, channel: int) -> None:
    """The mean of a 2 x 2 cell. No tap is ever in the padding, so a border is no edge."""
    weight[out, channel, 1:, 1:] = 0.25


def _differences(weight: Tensor, out: int) -> None:
    """The four differences of neighbours within a 2 x 2 cell, with both signs, per colour: 24 channels from `out`."""
    neighbours = (((1, 1), (1, 2)), ((2, 1), (2, 2)), ((1, 1), (2, 1)), ((1, 2), (2, 2)))
    for rgb in range(3):
        for a, b in (*neighbours, *(pair[::-1] for pair in neighbours)):
            weight[out, rgb, a[0], a[1]], weight[out, rgb, b[0], b[1]] = 1.0, -1.0
            out += 1


def _whiten(layers: nn.Sequential) -> None:
    """The last layer: no mean, unit variance and no correlation over scenes (ZCA, so that colours stay colours)."""
    images = stills(3000, seed=0, generator=torch.Generator().manual_seed(0))
    features = torch.cat([layers[:-1](part) for part in images.split(100)])[:, :4].transpose(0, 1).flatten(1).double()
    values, vectors = torch.linalg.eigh(torch.cov(features))
    whitening = vectors @ (vectors / values.sqrt()).T
    last = len(layers) - 1
    layers.get_parameter(f"{last}.weight")[:, :4, 1, 1] = whitening
    layers.get_parameter(f"{last}.bias").copy_(-whitening @ features.mean(1))


def widen(narrow: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same function as a TAESD of the published width: its other channels are nought throughout."""
    with torch.device("meta"):
        wide = AutoencoderTiny().state_dict()
    return {key: _zero_padded(value, wide[key].shape) for key, value in narrow.items()}


def _zero_padded(value: Tensor, shape: torch.Size) -> Tensor:
    padded = torch.zeros(shape, dtype=value.dtype)
    padded[tuple(slice(n) for n in value.shape)] = value
    return padded


@torch.no_grad()
def encode(autoencoder: AutoencoderTiny, images: Tensor) -> Tensor:
    """Images in 0..1 of shape (..., 3, H, W) to latents of shape (..., 4, H / 8, W / 8)."""
    rows = images.flatten(0, -4).mul(2).sub(1)
    latents = torch.cat([autoencoder.encoder(part) for part in rows.split(32)])
    return latents.unflatten(0, images.shape[:-3])


@torch.no_grad()
def decode(autoencoder: AutoencoderTiny, latents: Tensor) -> Tensor:
    """The inverse of `encode`."""
    rows = latents.flatten(0, -4)
    images = torch.cat([autoencoder.decoder(part) for part in rows.split(32)])
    return images.add(1).div(2).clamp(0, 1).unflatten(0, latents.shape[:-3])


# Training


def stills(count: int, seed: int, generator: torch.Generator) -> Tensor:
    """`count` single frames in 0..1, the looks in turn."""
    scenes = draw_scenes(count, seed)
    times = torch.rand(count, 1, generator=generator) * (FRAMES - 1)
    parts = [render(scenes[i :: len(LOOKS)], times[i :: len(LOOKS)], look) for i, look in enumerate(LOOKS)]
    return torch.cat(parts)[:, 0]


def crops(images: Tensor, generator: torch.Generator) -> Tensor:
    """A window of each image that holds most of the shape: a plain background teaches little, and costs as much."""
    difference = (images - images[:, :, :1, :1]).abs().sum(1)
    rows, columns = (_window(difference.sum(axis), generator) for axis in (2, 1))
    return torch.stack(
        [
            image[:, r : r + CROP, c : c + CROP]
            for image, r, c in zip(images, rows.tolist(), columns.tolist(), strict=True)
        ]
    )


def _window(profile: Tensor, generator: torch.Generator) -> Tensor:
    """Starts of windows around the centre of each profile, on the grid of the latents, moved by a random cell."""
    centre = (profile * torch.arange(SIZE)).sum(1) / profile.sum(1).clamp(min=1e-6)
    shift = 16 * torch.rand(len(profile), generator=generator) - 8
    return ((centre + shift - CROP / 2) / 8).round().mul(8).clamp(0, SIZE - CROP).long()


def reconstruction_loss(autoencoder: AutoencoderTiny, images: Tensor) -> Tensor:
    """L1 on pixels and on their differences (edges).

    Noise on the latents makes the decoder forgiving of the small errors that a diffusion model leaves.
    """
    with torch.no_grad():
        latents = autoencoder.encoder(images.mul(2).sub(1))
        latents += LATENT_NOISE * torch.randn_like(latents)
    error = autoencoder.decoder(latents).add(1).div(2) - images
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return error.abs().mean() + 0.5 * edges
