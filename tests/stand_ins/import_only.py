"""Any submodule and any name of the packages beside this file, to import and never to call.

ComfyUI imports them at start for models and nodes that this pack never runs, in every version other parts of them.
PyPI's are tied to one build of torch, and do not import beside another (the CPU one, say) or bring theirs along. Only
ComfyUI's processes see this folder. It carries no package metadata, so that diffusers and transformers take the
packages for absent.
"""

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NoReturn

PACKAGES = ("kornia", "spandrel", "torchaudio", "torchvision")


class StandIn(type):
    """What every name is: a class, so that others can inherit from it, annotate with it and ask it for more names."""

    def __getattr__(cls, name: str) -> "StandIn":
        return stand_in(str(cls), name)

    def __call__(cls, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(f"{cls} is a stand-in to import only: this needs the real {str(cls).split('.')[0]}.")

    def __str__(cls) -> str:
        return f"{cls.__module__}.{cls.__qualname__}"


def stand_in(owner: str, name: str) -> StandIn:
    if name.startswith("__"):  # Python asks modules and classes for these, to learn what they are
        raise AttributeError(f"{owner} has no {name}")
    return StandIn(name, (), {"__module__": owner})


def names_of(module: str) -> Callable[[str], StandIn]:
    """The `__getattr__` of a module."""
    return lambda name: stand_in(module, name)


class Submodules(MetaPathFinder, Loader):
    """Finds every submodule of the packages, and fills it with every name."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, submodule = fullname.partition(".")
        return ModuleSpec(fullname, self, is_package=True) if submodule and package in PACKAGES else None

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__getattr__"] = names_of(module.__name__)


sys.meta_path.append(Submodules())
