"""The temporal transformer equals diffusers' in float32, and the paper's arithmetic written out in float64."""

import math
from functools import lru_cache

import pytest
import torch
import torch.nn.functional as F
from animatelcm.motion import transformer
from animatelcm.motion.config import MotionConfig
from animatelcm.motion.grammar import is_position, join_projections, our_key
from animatelcm.motion.position import kept_sinusoid, sinusoid
from animatelcm.motion.transformer import MotionModule, TemporalTransformer
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from torch import Tensor

from ..relative_error import relative_error
from .conftest import CONFIG, fill, normalized_per_frame

PLACE = "down_blocks.0.motion_modules.0."
HEADS = 8
ONE = torch.ones(())


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@lru_cache
def theirs(channels: int) -> AnimateDiffTransformer3D:
    """Diffusers' block with random weights."""
    block = AnimateDiffTransformer3D(
        num_attention_heads=HEADS,
        attention_head_dim=channels // HEADS,
        in_channels=channels,
        positional_embeddings="sinusoidal",
        num_positional_embeddings=32,
    )
    return normalized_per_frame(fill(block, seed=channels))


def with_weights_of(theirs: AnimateDiffTransformer3D, channels: int) -> TemporalTransformer:
    """Our block with the weights of theirs, renamed as those of a file are."""
    named = {PLACE + key.replace("norm.norm", "norm"): value for key, value in theirs.state_dict().items()}
    weights = join_projections({our_key(key) or key: value for key, value in named.items() if not is_position(key)})
    block = TemporalTransformer(channels, HEADS, torch.nn)
    block.load_state_dict({key.removeprefix("down_blocks.0.0."): value for key, value in weights.items()})
    return block.eval().requires_grad_(False)


def written_out(block: TemporalTransformer, x: Tensor, frames: int, gamma: Tensor = ONE, scale: Tensor = ONE) -> Tensor:
    """The block in float64, pixel by pixel, without any of its shortcuts; weights are (frames, 1, height, width)."""
    w = {key: value.double() for key, value in block.state_dict().items()}
    x = x.double()
    rows, channels, height, width = x.shape

    def linear(name: str, y: Tensor) -> Tensor:
        return y @ w[f"{name}.weight"].T + w.get(f"{name}.bias", torch.zeros(()).double())

    def layer_norm(name: str, y: Tensor) -> Tensor:
        centred = y - y.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]

    def attention(name: str, h: Tensor) -> Tensor:
        y = layer_norm(f"{name}.norm", h) + sinusoid(frames, channels).double()
        q, k, v = (part.unflatten(-1, (HEADS, -1)) for part in linear(f"{name}.to_qkv", y).chunk(3, dim=-1))
        scores = torch.einsum("pihd,pjhd->phij", q, k) / math.sqrt(channels // HEADS) * scale_of_keys
        out = torch.einsum("phij,pjhd->pihd", scores.softmax(-1), v).flatten(-2)
        return h + linear(f"{name}.to_out", out)

    # (pixels of all clips, 1, 1, frames): the score of frame i for frame j is multiplied by frame j's
    scale_of_keys = scale.double().expand(frames, 1, height, width).flatten(2).permute(2, 1, 0)[:, None]
    scale_of_keys = scale_of_keys.repeat(rows // frames, 1, 1, 1)

    def feed_forward(h: Tensor) -> Tensor:
        value, gate = linear("feed_forward.expand", layer_norm("feed_forward.norm", h)).chunk(2, dim=-1)
        gelu = gate * 0.5 * (1 + torch.erf(gate / math.sqrt(2)))
        return h + linear("feed_forward.contract", value * gelu)

    h = F.group_norm(x, 32, w["norm.weight"], w["norm.bias"], eps=1e-6)
    h = h.unflatten(0, (-1, frames)).permute(0, 3, 4, 1, 2).reshape(-1, frames, channels)  # (pixels, frames, channels)
    h = linear("proj_in", h)
    h = linear("proj_out", feed_forward(attention("attentions.1", attention("attentions.0", h))))
    h = h.unflatten(0, (rows // frames, height, width)).permute(0, 3, 4, 1, 2)
    weight = gamma.double().expand(frames, 1, height, width).repeat(rows // frames, 1, 1, 1)
    return x + weight * h.reshape(x.shape)


@pytest.mark.parametrize("channels", [320, 640, 1280])
@pytest.mark.parametrize("frames", [1, 8, 16, 24, 32])
def test_equals_diffusers(channels: int, frames: int) -> None:
    reference = theirs(channels)
    x = noise(frames, channels, 4, 2)
    expected = reference(x, num_frames=frames)
    assert relative_error(expected, x) > 0.1  # the branch does something
    assert relative_error(with_weights_of(reference, channels)(x, frames), expected) <= 1e-5


@pytest.mark.parametrize("channels", [32, 320, 640])
@pytest.mark.parametrize("frames", [1, 16])
def test_equals_the_arithmetic_in_float64(channels: int, frames: int) -> None:
    block = fill(TemporalTransformer(channels, HEADS, torch.nn), seed=3)
    x = noise(2 * frames, channels, 4, 3)
    assert relative_error(block(x, frames), written_out(block, x, frames)) <= 5e-6


def test_clips_of_a_batch_do_not_see_each_other() -> None:
    block = fill(TemporalTransformer(64, HEADS, torch.nn), seed=4)
    first, second = noise(8, 64, 4, 4), noise(8, 64, 4, 4, seed=1)
    together = block(torch.cat((first, second)), 8)
    assert relative_error(together, torch.cat((block(first, 8), block(second, 8)))) < 1e-5


def test_frames_of_a_clip_do_see_each_other() -> None:
    block = fill(TemporalTransformer(64, HEADS, torch.nn), seed=4)
    x = noise(8, 64, 4, 4)
    changed = x.clone()
    changed[0] += noise(64, 4, 4, seed=2)
    assert relative_error(block(changed, 8)[1:], block(x, 8)[1:]) > 1e-3


def test_gamma_scales_the_residual() -> None:
    block = fill(TemporalTransformer(64, HEADS, torch.nn), seed=5)
    x = noise(4, 64, 4, 4)
    residual = block(x, 4) - x
    for gamma in (0.25, 0.5, 2.0):
        assert relative_error(block(x, 4, gamma), x + gamma * residual) < 1e-5
    assert torch.equal(block(x, 4, 0.0), x)


@pytest.mark.parametrize("shape", [(), (8, 1, 1, 1), (8, 1, 4, 3)], ids=["number", "per frame", "mask"])
@pytest.mark.parametrize("clips", [1, 2])
def test_weights_over_frames_and_places_equal_the_arithmetic_in_float64(shape: tuple[int, ...], clips: int) -> None:
    block = fill(TemporalTransformer(64, HEADS, torch.nn), seed=8)
    x = noise(8 * clips, 64, 4, 3)
    gamma, scale = 1 + 0.5 * noise(*shape, seed=1), 1 + 0.5 * noise(*shape, seed=2)
    expected = written_out(block, x, 8, gamma, scale)
    assert relative_error(block(x, 8, gamma, scale=scale).double(), expected) <= 5e-6
    assert relative_error(expected, written_out(block, x, 8)) > 1e-3


def test_scale_as_a_number_is_that_of_every_frame() -> None:
    block = fill(TemporalTransformer(64, HEADS, torch.nn), seed=8)
    x = noise(8, 64, 4, 3)
    expected = written_out(block, x, 8, scale=torch.tensor(1.4))
    assert relative_error(block(x, 8, scale=1.4).double(), expected) <= 5e-6


def test_large_batches_are_attended_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    block = fill(TemporalTransformer(64, HEADS, torch.nn), seed=6)
    x = noise(8, 64, 5, 5)
    whole = block(x, 8)
    monkeypatch.setattr(transformer, "MAX_ATTENTION_BATCH", 7 * HEADS)
    assert relative_error(block(x, 8), whole) < 1e-5


def test_accepts_channels_last() -> None:
    block = fill(TemporalTransformer(64, HEADS, torch.nn), seed=7)
    x = noise(8, 64, 4, 4)
    assert relative_error(block(x.to(memory_format=torch.channels_last), 8), block(x, 8)) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_near(dtype: torch.dtype) -> None:
    block = fill(TemporalTransformer(64, HEADS, torch.nn), seed=8)
    x = noise(8, 64, 4, 4)
    half = fill(TemporalTransformer(64, HEADS, torch.nn, dtype=dtype), seed=8)
    assert relative_error(half(x.to(dtype), 8), block(x, 8)) < 10 * torch.finfo(dtype).eps


def test_trains_after_it_sampled() -> None:
    """The shared position encoding may come from inference mode, whose tensors autograd refuses to keep."""
    block = TemporalTransformer(32, HEADS, torch.nn)
    kept_sinusoid.cache_clear()
    with torch.inference_mode():
        block(noise(5, 32, 2, 2), 5)
    block(noise(5, 32, 2, 2), 5).square().sum().backward()
    assert all(parameter.grad is not None for parameter in block.parameters())


def test_module_has_21_places_with_mid_block_and_20_without() -> None:
    assert len(list(MotionModule(CONFIG).blocks())) == 21
    assert len(list(MotionModule(MotionConfig(CONFIG.down_channels, CONFIG.up_channels, None)).blocks())) == 20


def test_sd15s_module_has_453_million_parameters() -> None:
    with torch.device("meta"):
        module = MotionModule(MotionConfig((320, 640, 1280, 1280), (1280, 1280, 640, 320), 1280))
    assert round(sum(parameter.numel() for parameter in module.parameters()) / 1e6) == 453


def test_has_no_buffers() -> None:
    """ComfyUI's dynamic VRAM restores buffers by path, and partial loading leaves them where they are."""
    assert not list(MotionModule(CONFIG).buffers())


def test_config_refuses_widths_that_do_not_divide_into_heads() -> None:
    with pytest.raises(ValueError, match="36 channels cannot be split into 8"):
        MotionConfig((36,), (36,), None)
