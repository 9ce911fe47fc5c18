"""Regions of a model that torch.compile compiles, one graph for each shape of what goes in.

A region is a layer, tensors in, and a tensor out. Nothing else is changed by it: where the compiler is missing, or
fails at any time, the layer runs as it is, on the same inputs. What a new graph gives is first held against what it
should.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import lru_cache, partial
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

KEY = "animatelcm_compile"  # of the wrapper that has a model's `Regions`, as its attribute of that name
KEPT = 256  # graphs; SD1.5 at one size has 4 of its motion module, and some 20 with its UNet
# How far, relatively, a graph may be from its layer: what rounding does in one, and what is wrong exceeds
TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
SHOWN = 300  # characters of what a compiler says

Plain = Callable[..., Tensor]
"""A module's function of a layer and its inputs: what is compiled, and what runs where that fails."""


def call(layer: nn.Module, *inputs: Any) -> Tensor:
    """Call a layer."""
    output: Tensor = layer(*inputs)
    return output


@dataclass(eq=False)
class Region:
    """A function compiled for inputs of one shape.

    Attributes:
        plain: the function as it is.
        compiled: the same, by torch.compile.
        seconds: that compiling it took; None before it.
        failure: why the function runs as it is; empty where it does not.
    """

    plain: Plain
    compiled: Plain
    seconds: float | None = None
    failure: str = ""

    def __call__(self, *inputs: Any) -> Tensor:
        """Return what the function gives; by its graph, unless that ever failed."""
        if self.failure:
            return self.plain(*inputs)
        try:
            return self.first(*inputs) if self.seconds is None else self.compiled(*inputs)
        except Exception as error:  # a compiler's may be of any class
            output = self.plain(*inputs)  # raises where the fault is not the compiler's
            self.failure = reason(error)
            return output

    def first(self, *inputs: Any) -> Tensor:
        """Return what the function gives, and compile it, and hold the one against the other."""
        expected = self.plain(*inputs)
        began = time.perf_counter()
        error = (self.compiled(*inputs) - expected).float().norm()
        bound = TOLERANCE.get(expected.dtype, 0.0) * expected.float().norm()
        if not bool(error <= bound):
            self.failure = f"the graph's result is {float(error / bound):.0f} times as far off as rounding may be"
        self.seconds = time.perf_counter() - began
        return expected


@lru_cache(maxsize=KEPT)
def region(plain: Plain, backend: Any, shape: Hashable) -> Region:
    """Return the region of a function for inputs of one shape, the same one whenever it is asked for.

    torch.compile counts the graphs that a code object has, of all layers and shapes together, and gives up at eight:
    so each region has a code object of its own.
    """
    alone = FunctionType(plain.__code__.replace(), plain.__globals__, plain.__name__)
    return Region(plain, torch.compile(alone, backend=backend, fullgraph=True, dynamic=False))


def shape_of(layer: nn.Module, inputs: tuple[Any, ...]) -> Hashable:
    """Return what one graph is made for: a kind of layer, the shapes of its weights and inputs, and other inputs."""
    return type(layer), tuple(map(_shape, layer.parameters())), tuple(map(_shape, inputs))


def _shape(x: Any) -> Hashable:
    return (x.shape, x.stride(), x.dtype, x.device) if isinstance(x, Tensor) else x


def reason(error: BaseException) -> str:
    """Return in one line what went wrong first."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {' '.join(str(error).split())[:SHOWN]}"


class Regions:
    """The regions of one model, and what became of them.

    Args:
        backend: of torch.compile.
        say: is told, in words for people, what takes long.
    """

    def __init__(self, backend: Any, say: Callable[[str], None]) -> None:
        self.backend = backend
        self.say = say
        self.clear()

    def clear(self) -> None:
        """Forget what ran."""
        self.used: dict[Region, set[nn.Module]] = defaultdict(set)
        self.seconds = 0.0

    def of(self, plain: Plain, layer: nn.Module) -> Plain:
        """Return what gives `plain(layer, ...)`, compiled."""
        return partial(self.run, plain, layer)

    def run(self, plain: Plain, layer: nn.Module, *inputs: Any) -> Tensor:
        """Return `plain(layer, *inputs)`, compiled."""
        found = region(plain, self.backend, shape_of(layer, inputs))
        known = found.seconds is not None or found.failure
        self.used[found].add(layer)
        if not known:
            self.say(f"compiling graph {len(self.used)} ...")
        output = found(layer, *inputs)
        self.seconds += 0.0 if known else found.seconds or 0.0
        return output

    def failures(self) -> set[str]:
        """Return why layers ran as they are."""
        return {found.failure for found in self.used if found.failure}

    def report(self) -> str:
        """Return in words what ran since the last `clear`: layers by their kind, graphs, and how long those took."""
        layers = Counter(type(layer).__name__ for found in self.used for layer in self.used[found] if not found.failure)
        graphs = sum(not found.failure for found in self.used)
        took = f"compiled in {self.seconds:.1f} s" if self.seconds else "compiled before"
        kinds = ", ".join(f"{count} {kind}" for kind, count in layers.items())
        done = [f"{kinds} in {graphs} graph{'s' * (graphs > 1)}, {took}"] if graphs else []
        return ". ".join([*done, *(f"The others run as they are: {why}" for why in sorted(self.failures()))])
