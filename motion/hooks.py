"""What hangs on the UNet during one call: forward hooks, which are taken off again whatever happens.

A UNet that torch.compile compiled looks at the hooks that were there when it was compiled, and is compiled anew where
anything of them has changed but the numbers in tensors. It does not look whether there are hooks where none were
(`torch._dynamo.config.skip_nnmodule_hook_guards`), so that a UNet that was compiled without would go on without. But it
looks at the names of its arguments, and ComfyUI's UNet leaves those alone that it does not know: `HUNG` are some.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from .weights import Weight, at_places

# What a compiled UNet is called with beside its own arguments: with residuals, and with GroupNorm over all frames too
HUNG = {False: {"animatelcm_hung": True}, True: {"animatelcm_hung_and_grouped": True}}
Hook = Callable[[nn.Module, tuple[Any, ...], Tensor], Tensor | None]


@contextmanager
def hung(hooks: Iterable[tuple[nn.Module, Hook]], first: bool = False) -> Iterator[None]:
    """Hang forward hooks on layers; `first`: before those that are there already."""
    handles = []
    try:
        for layer, hook in hooks:
            handles.append(layer.register_forward_hook(hook, prepend=first))
        yield
    finally:
        for handle in handles:
            handle.remove()


@dataclass(frozen=True)
class Ran:
    """What ran in one UNet call: the UNet's first layer, and the temporal transformers, an entry for each."""

    unet: list[bool] = field(default_factory=list)
    motion: list[bool] = field(default_factory=list)


@dataclass(frozen=True)
class Note:
    """A hook that notes that its layer ran."""

    ran: list[bool]

    def __call__(self, layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Leave the layer's output as it is."""
        self.ran.append(True)


@dataclass(frozen=True)
class Residual:
    """A hook that adds one temporal transformer behind its layer.

    Attributes:
        block: the temporal transformer, or what runs it compiled.
        frames: per clip.
        gamma: weight of the residual; a tensor where anything is compiled.
        scale: of the attention's scores; likewise.
        position: see `TemporalTransformer.forward`; given to what is compiled, which would compute it in every call.
        ran: gets an entry.
    """

    block: Callable[..., Tensor]
    frames: int
    gamma: Weight
    scale: Weight
    position: Tensor | None
    ran: list[bool]

    def __call__(self, layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        """Return the layer's output (conds * frames, channels, height, width) plus the residual."""
        self.ran.append(True)
        gamma, scale = at_places(self.gamma, output), at_places(self.scale, output)
        return self.block(output, self.frames, gamma, self.position, scale)
