"""The shape of a motion module, as read from its file."""

from dataclasses import dataclass
from itertools import pairwise

# More than any UNet of SD1.5's kind has. What a file says is held against them before anything is built of that size.
MAX_CHANNELS = 2**16
MAX_BLOCKS = 8
MAX_MODULES = 8
MAX_KERNEL = 7


@dataclass(frozen=True)
class ResidualConfig:
    """One residual block of an image encoder.

    Attributes:
        channels: width.
        kernel: size of all its convolutions but "block1".
        in_conv: whether a convolution comes first, as it must where the width changes.
        skep: whether the residual sum has a convolution.
    """

    channels: int
    kernel: int = 1
    in_conv: bool = False
    skep: bool = False

    def __post_init__(self) -> None:
        check_channels(self.channels)
        if not self.kernel % 2 or self.kernel > MAX_KERNEL:
            raise ValueError(f"its image encoder has a kernel of {self.kernel}, not an odd one of 1 to {MAX_KERNEL}.")


@dataclass(frozen=True)
class ImageEncoderConfig:
    """AnimateLCM-I2V's image encoder, as read from its file.

    Attributes:
        blocks: the residual blocks, outermost first; each level has as many.
        levels: how many levels of the UNet they are shared among.
        latent_channels: of the pictures' latents.
    """

    blocks: tuple[ResidualConfig, ...]
    levels: int = 4
    latent_channels: int = 4

    def __post_init__(self) -> None:
        if not self.blocks or len(self.blocks) % self.levels:
            raise ValueError(f"{len(self.blocks)} blocks of an image encoder cannot be shared among {self.levels}.")
        for i, (before, block) in enumerate(pairwise(self.blocks), start=1):
            if before.channels != block.channels and not block.in_conv:
                raise ValueError(f"block {i} of the image encoder changes the width without an in_conv.")

    @property
    def channels(self) -> tuple[int, ...]:
        """Width of each level's feature, that of its last block."""
        per_level = len(self.blocks) // self.levels
        return tuple(block.channels for block in self.blocks[per_level - 1 :: per_level])


@dataclass(frozen=True)
class MotionConfig:
    """Where a motion module adds its temporal transformers, and how wide and long they are.

    SD1.5's modules have the widths (320, 640, 1280, 1280), and 21 temporal transformers with the mid block, 20 without.

    Attributes:
        down_channels: width of each down block of the UNet, outermost first.
        up_channels: width of each up block, innermost first.
        mid_channels: width of the mid block, or None for a module without one.
        down_modules: temporal transformers per down block.
        up_modules: temporal transformers per up block.
        max_frames: length of the position encoding, the longest clip in frames.
        heads: attention heads.
        image_encoder: of AnimateLCM-I2V's image encoder; None for the other files, which have none.
    """

    down_channels: tuple[int, ...]
    up_channels: tuple[int, ...]
    mid_channels: int | None
    down_modules: int = 2
    up_modules: int = 3
    max_frames: int = 64
    heads: int = 8
    image_encoder: ImageEncoderConfig | None = None

    def __post_init__(self) -> None:
        blocks = max(len(self.down_channels), len(self.up_channels))
        modules = max(self.down_modules, self.up_modules)
        if blocks > MAX_BLOCKS or modules > MAX_MODULES:
            raise ValueError(
                f"it has up to {blocks} blocks in a row and {modules} temporal transformers in a block; UNets have "
                f"{MAX_BLOCKS} and {MAX_MODULES} at most."
            )
        for channels in {*self.down_channels, *self.up_channels, self.mid_channels or self.heads}:
            check_channels(channels)
            if channels % self.heads:
                raise ValueError(
                    f"{channels} channels cannot be split into {self.heads} attention heads of equal width."
                )
        if self.image_encoder and self.image_encoder.channels != self.down_channels:
            raise ValueError(
                f"its image encoder has levels of {self.image_encoder.channels} channels, its down blocks have "
                f"{self.down_channels}."
            )


def check_channels(channels: int) -> None:
    """Refuse a width that no UNet has."""
    if not 0 < channels <= MAX_CHANNELS:
        raise ValueError(f"{channels} channels are not 1 to {MAX_CHANNELS}.")
