"""Where temporal transformers and pictures hang on diffusers' UNet, and how a layer's output is changed there."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from torch import Tensor, nn

from .lora import Merged

Network = TypeVar("Network", bound=nn.Module)

BLOCKS_PER_LEVEL = 2  # of the image encoder, and layers with a temporal transformer in a down block


def places(unet: Any) -> Iterator[nn.Module]:
    """What the temporal transformers follow, in call order: a block's attentions, or its resnets where it has none."""
    unet = unet.model if isinstance(unet, Merged) else unet
    for block in unet.down_blocks:
        yield from getattr(block, "attentions", block.resnets)
    yield unet.mid_block.attentions[0]
    for block in unet.up_blocks:
        yield from getattr(block, "attentions", block.resnets)


def changed(change: Callable[[Tensor], Tensor]) -> Callable[..., Tensor | tuple]:
    """A forward hook that changes what a layer of diffusers puts out, alone or as the first of a tuple."""

    def hook(_module: nn.Module, _inputs: tuple, output: Tensor | tuple) -> Tensor | tuple:
        if isinstance(output, tuple):
            return (change(output[0]), *output[1:])
        return change(output)

    return hook


def freeze(module: Network) -> Network:
    """Return a module after it was told not to learn."""
    return module.requires_grad_(False).eval()
