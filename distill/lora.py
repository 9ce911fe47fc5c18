"""Low-rank residuals: Eq. 2 of the paper on a whole UNet, w' = w0 + scale * (up @ down).

The residuals are merged before each call instead of computed beside each layer: cheaper for weights this small, and
what ComfyUI does with the file.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from .ldm import lora_name

RANK = 32


class Lora(nn.Module):
    """A residual for each linear layer and convolution of `model`; nought until trained."""

    def __init__(self, model: nn.Module, rank: int = RANK) -> None:
        super().__init__()
        layers = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)}
        self.layers = tuple(layers)
        self.down, self.up = nn.ParameterDict(), nn.ParameterDict()
        for name, layer in layers.items():
            inner = min(rank, *layer.weight.flatten(1).shape)
            down = torch.empty(inner, *layer.weight.shape[1:])
            nn.init.kaiming_uniform_(down, a=5**0.5)
            self.down[lora_name(name)] = nn.Parameter(down)
            self.up[lora_name(name)] = nn.Parameter(torch.zeros(layer.weight.shape[0], inner))

    def residual(self, layer: str) -> Tensor:
        """Up @ down, in the shape of the layer's weight."""
        name = lora_name(layer)
        return torch.tensordot(self.up[name], self.down[name], dims=1)

    def merged(self, model: nn.Module, scale: float) -> dict[str, Tensor]:
        """The weights of `model` with the residuals added."""
        weights = {f"{layer}.weight": self.residual(layer) for layer in self.layers}
        return {key: model.get_parameter(key) + scale * value for key, value in weights.items()}

    def added(self, name: str, layer: nn.Module, x: Tensor) -> Tensor:
        """What the residual adds to what a layer makes of x, without merging: cheaper for weights as large as SD1.5's.

        Its convolutions take the layer's stride and padding.
        """
        down, up = self.down[lora_name(name)], self.up[lora_name(name)]
        if isinstance(layer, nn.Conv2d):
            inner = F.conv2d(x, down, stride=layer.stride, padding=layer.padding)
            return F.conv2d(inner, up[:, :, None, None])
        return F.linear(F.linear(x, down), up)

    def load_published(self, weights: Mapping[str, Tensor]) -> None:
        """Undo `published`.

        Raises:
            KeyError: if a layer has no weights there.
        """
        with torch.no_grad():
            for name, down in self.down.items():
                read_down, read_up = (weights[f"{name}.lora_{side}.weight"].float() for side in ("down", "up"))
                scale = float(weights.get(f"{name}.alpha", torch.tensor(len(read_down)))) / len(read_down)
                down.copy_(read_down)
                self.up[name].copy_(scale * read_up.flatten(1))

    def published(self) -> dict[str, Tensor]:
        """The weights under kohya's names. Alpha equals the rank, so that a strength of 1 is a scale of 1."""
        weights = {}
        for name, down in self.down.items():
            up = self.up[name]
            weights[f"{name}.lora_down.weight"] = down.detach()
            weights[f"{name}.lora_up.weight"] = up.detach().reshape(*up.shape, *[1] * (down.ndim - 2))
            weights[f"{name}.alpha"] = torch.tensor(float(len(down)))
        return weights


class Merged(nn.Module):
    """A model called with other weights than its own."""

    def __init__(self, model: nn.Module, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.model = model
        self.weights = dict(weights)

    def forward(self, *args: object, **kwargs: object) -> object:
        return functional_call(self.model, self.weights, args, kwargs)
