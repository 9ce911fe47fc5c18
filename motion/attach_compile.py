"""The comfy side of compiling: which layers of a model are compiled, and how its UNet runs them."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import comfy.ldm.modules.attention
import comfy.ldm.modules.diffusionmodules.openaimodel as openaimodel
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor, nn

from .attach import MotionModelError, is_compiled, is_grouped, motion_config_of
from .regions import KEY, Regions

# Layers of the UNet that are functions of tensors alone. What is around them, attention among it, reads dictionaries
# that are others for every layer and step, and has little to fuse.
LAYERS = (openaimodel.ResBlock, comfy.ldm.modules.attention.FeedForward)
AS_A_WHOLE = (
    "nothing: gamma is 0, GroupNorm is taken over all frames, or another node (TorchCompileModel, say) compiles the "
    "UNet with all that is on it"
)


def attach_compiler(
    model: ModelPatcher, unet: bool, backend: Any = "inductor", say: Callable[[str], None] = logging.info
) -> ModelPatcher:
    """Return a clone of `model` whose temporal transformers torch.compile compiles, each by itself.

    Args:
        model: with a motion module.
        unet: whether the UNet's residual blocks and feed-forwards are compiled as well.
        backend: of torch.compile.
        say: is told what is being compiled, and, at the end of each clip, what was.

    Raises:
        MotionModelError: if the model has no motion module.
    """
    if motion_config_of(model) is None:
        raise MotionModelError(
            "This model has no motion module, so that there is nothing to compile. Put 'Apply AnimateLCM' before this "
            "node."
        )
    patched = model.clone()
    compiler = Compiler(Regions(backend, say), LAYERS if unet else ())
    for kind, wrapper in ((WrappersMP.OUTER_SAMPLE, compiler.for_one_sample), (WrappersMP.APPLY_MODEL, compiler)):
        patched.remove_wrappers_with_key(kind, KEY)
        patched.add_wrapper_with_key(kind, KEY, wrapper)
    return patched


class Compiler:
    """Two wrappers: of a whole sample, and of each UNet call in it.

    The temporal transformers find `regions` by themselves, before or after this one's turn.
    """

    def __init__(self, regions: Regions, kinds: tuple[type[nn.Module], ...]) -> None:
        self.regions = regions
        self.kinds = kinds

    def for_one_sample(self, executor: Any, *args: Any, **kwargs: Any) -> Tensor:
        """An OUTER_SAMPLE wrapper: say after a sample what was compiled."""
        self.regions.clear()
        output: Tensor = executor(*args, **kwargs)
        report = self.regions.report() or AS_A_WHOLE
        logging.log(
            logging.WARNING if self.regions.failures() else logging.INFO, "AnimateLCM compiled %s.", report.rstrip(".")
        )
        self.regions.say(report)
        return output

    def __call__(
        self,
        executor: Any,
        x: Tensor,
        t: Tensor,
        c_concat: Tensor | None = None,
        c_crossattn: Tensor | None = None,
        control: Any = None,
        transformer_options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """An APPLY_MODEL wrapper: run the UNet's own regions compiled, too."""
        unet, options = executor.class_obj.diffusion_model, transformer_options or {}
        alone = self.kinds and not is_compiled(unet, options) and not is_grouped(options)
        layers = [layer for layer in unet.modules() if type(layer) in self.kinds] if alone else []
        with replaced(layers, self.regions):
            return executor(x, t, c_concat, c_crossattn, control, transformer_options, **kwargs)


@contextmanager
def replaced(layers: list[nn.Module], regions: Regions) -> Iterator[None]:
    """Let the regions stand in for the forward of layers; where another node's does so already, that one stays."""
    free = [layer for layer in layers if "forward" not in vars(layer)]
    try:
        for layer in free:
            layer.forward = regions.of(forward, layer)
        yield
    finally:
        for layer in free:
            vars(layer).pop("forward", None)


def forward(layer: nn.Module, *inputs: Any) -> Tensor:
    """Do what the layer's class does."""
    output: Tensor = type(layer).forward(layer, *inputs)
    return output
