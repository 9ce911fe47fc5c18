"""GroupNorm over all frames of a clip: one mean and one deviation per clip and group of channels.

AnimateDiff's v1 modules were trained on an image model that was normed so. AnimateDiff-Evolved, in which people know
them, norms the motion module's own input so as well, and this does what it does.

The layers stay as they are. For the time of one UNet call, a hook before each lays the frames of a clip side by side,
as one picture, and a hook behind it takes them apart again.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from .checkpoint import V1_FRAMES
from .config import MotionConfig


def grouped_in_training(config: MotionConfig) -> bool:
    """Whether a motion module has the shape of AnimateDiff's v1: no mid block, and no more frames than they have."""
    return config.mid_channels is None and config.max_frames == V1_FRAMES


@contextmanager
def over_all_frames(nets: Iterable[nn.Module], frames: int) -> Iterator[None]:
    """Let every GroupNorm of the networks see clips of `frames` frames, whose rows are neighbours, as a whole."""
    layers = [layer for net in nets for layer in net.modules() if isinstance(layer, nn.GroupNorm)]
    handles = []
    try:
        for layer in layers:
            handles.append(layer.register_forward_pre_hook(SideBySide(frames)))
            handles.append(layer.register_forward_hook(Apart(frames), prepend=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


@dataclass(frozen=True)
class SideBySide:
    """A hook before a layer: (clips * frames, channels, height, width) -> (clips, channels, frames * height, width)."""

    frames: int

    def __call__(self, layer: nn.Module, inputs: tuple[Any, ...]) -> Tensor:
        """Return the layer's only input."""
        (x,) = inputs
        return x.unflatten(0, (-1, self.frames)).transpose(1, 2).flatten(2, 3)


@dataclass(frozen=True)
class Apart:
    """A hook behind a layer: the inverse of `SideBySide`."""

    frames: int

    def __call__(self, layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        """Return the layer's output."""
        return output.unflatten(2, (self.frames, -1)).transpose(1, 2).flatten(0, 1)
