"""The shape of a motion module, as read from its file."""

from dataclasses import dataclass


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
        image_encoder: whether the file also has AnimateLCM-I2V's image encoder.
    """

    down_channels: tuple[int, ...]
    up_channels: tuple[int, ...]
    mid_channels: int | None
    down_modules: int = 2
    up_modules: int = 3
    max_frames: int = 64
    heads: int = 8
    image_encoder: bool = False

    def __post_init__(self) -> None:
        for channels in {*self.down_channels, *self.up_channels, self.mid_channels or self.heads}:
            if channels % self.heads:
                raise ValueError(
                    f"{channels} channels cannot be split into {self.heads} attention heads of equal width."
                )
