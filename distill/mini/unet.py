"""The image model: a UNet with SD1.5's layout in every block, and the temporal transformers that animate it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from diffusers import ControlNetModel, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ...motion.config import ImageEncoderConfig, MotionConfig, ResidualConfig
from ...motion.image_encoder import ImageEncoder
from ...motion.transformer import MotionModule
from ..places import BLOCKS_PER_LEVEL, changed, places
from .scenes import FRAMES, SIZE
from .text import WIDTH

CHANNELS = (64, 64, 64, 64)  # not 32: 32 groups would normalise each channel alone, and lose the mean colour
HEADS = 8
HINT_CHANNELS = (16, 32, 96, 256)  # of ldm's ControlNets
LATENT_SHAPE = (4, SIZE // 8, SIZE // 8)


def build_unet() -> UNet2DConditionModel:
    unet = UNet2DConditionModel(
        sample_size=SIZE // 8,
        block_out_channels=CHANNELS,
        attention_head_dim=HEADS,  # diffusers' name; for this class it is the number of heads
        cross_attention_dim=WIDTH,
    )
    unet.set_attn_processor(AttnProcessor())  # heads of 4 and 8 channels: a CPU's fused attention takes twice as long
    return unet  # not channels-last: its backward pass with frozen weights crashes (PyTorch 2.13, CPU)


def build_motion(max_frames: int = 64) -> MotionModule:
    config = MotionConfig(CHANNELS, tuple(reversed(CHANNELS)), CHANNELS[-1], max_frames=max_frames, heads=HEADS)
    return MotionModule(config, nn)


def build_image_encoder() -> ImageEncoder:
    blocks = tuple(ResidualConfig(channels) for channels in CHANNELS for _ in range(BLOCKS_PER_LEVEL))
    return ImageEncoder(ImageEncoderConfig(blocks))


def build_controlnet(unet: UNet2DConditionModel) -> ControlNetModel:
    """A ControlNet that starts with the image model's encoder, and adds nothing to what it does."""
    controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=HINT_CHANNELS)
    controlnet.set_attn_processor(AttnProcessor())
    return controlnet


def predict_controlled_noise(
    unet: nn.Module, controlnet: ControlNetModel, x: Tensor, timestep: Tensor, context: Tensor, hint: Tensor
) -> Tensor:
    """The noise prediction for images (N, 4, H, W) with a hint each, (N, 3, 8 H, 8 W) in 0..1."""
    down, middle = controlnet(x, timestep, context, hint, return_dict=False)
    return unet(
        x,
        timestep,
        encoder_hidden_states=context,
        down_block_additional_residuals=down,
        mid_block_additional_residual=middle,
        return_dict=False,
    )[0]


def predict_noise(unet: nn.Module, x: Tensor, timestep: Tensor, context: Tensor) -> Tensor:
    """The UNet's noise prediction for a batch of images (N, 4, H, W)."""
    return unet(x, timestep, encoder_hidden_states=context, return_dict=False)[0]


def predict_video_noise(
    unet: nn.Module,
    motion: MotionModule,
    x: Tensor,
    timestep: Tensor,
    context: Tensor,
    gamma: float = 1.0,
    image_features: Sequence[Tensor] = (),
) -> Tensor:
    """The noise prediction for clips (N, F, 4, H, W), with one timestep and one context per clip.

    `image_features` are the image encoder's features, (N * F, C, h, w) per level of the UNet.
    """
    frames = x.shape[1]
    per_frame = context.repeat_interleave(frames, dim=0)
    with sdpa_kernel(SDPBackend.MATH), attached(unet, motion, frames, gamma, image_features):
        predicted = predict_noise(unet, x.flatten(0, 1), timestep.repeat_interleave(frames), per_frame)
    return predicted.unflatten(0, x.shape[:2])


@contextmanager
def attached(
    unet: nn.Module,
    motion: MotionModule,
    frames: int = FRAMES,
    gamma: float = 1.0,
    image_features: Sequence[Tensor] = (),
) -> Iterator[None]:
    """For the duration of a call, each temporal transformer follows the layer that it follows in SD1.5.

    An image encoder's feature comes before the last one of each down block.
    """
    layers = list(places(unet))
    ends = layers[BLOCKS_PER_LEVEL - 1 : BLOCKS_PER_LEVEL * len(image_features) : BLOCKS_PER_LEVEL]
    handles = [end.register_forward_hook(_plus(feature)) for end, feature in zip(ends, image_features, strict=True)]
    handles += [
        layer.register_forward_hook(_followed_by(block, frames, gamma))
        for layer, block in zip(layers, motion.blocks(), strict=True)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _followed_by(block: nn.Module, frames: int, gamma: float) -> Callable[..., Tensor | tuple]:
    return changed(lambda h: block(h, frames, gamma))


def _plus(feature: Tensor) -> Callable[..., Tensor | tuple]:
    return changed(lambda h: h + feature)
