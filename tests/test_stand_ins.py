"""tests/stand_ins lets ComfyUI import anything of packages that are not there, whatever its version asks for."""

import importlib

import pytest
import torchaudio
import torchvision
from diffusers.utils import is_torchvision_available
from torchvision.models.optical_flow import raft_large
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as TVF
from transformers.utils import is_torchaudio_available
from transformers.utils import is_torchvision_available as transformers_has_torchvision


@pytest.mark.parametrize(
    "name", ["torchvision.ops", "torchvision.a.b.c", "torchaudio.pipelines.of.the.future", "kornia.color"]
)
def test_every_submodule_imports(name: str) -> None:
    assert importlib.import_module(name).__name__ == name


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("torchvision.models.optical_flow.raft_large", raft_large),
        ("torchvision.transforms.functional.resize", TVF.resize),
        ("torchvision.ops.box_convert", torchvision.ops.box_convert),
        ("torchaudio.transforms.MelScale.of", torchaudio.transforms.MelScale.of),
    ],
)
def test_a_call_says_what_is_missing(name: str, called: type) -> None:
    with pytest.raises(NotImplementedError, match=f"^{name} .* needs the real {name.split('.')[0]}"):
        called(1, size=2)


def test_a_name_serves_where_a_module_is_read() -> None:
    """Annotations, default values, base classes and checks are evaluated at import."""

    class Scale(torchaudio.transforms.MelScale):
        def resize(self, mode: InterpolationMode | None = InterpolationMode.BICUBIC) -> None: ...

    assert not isinstance(1, InterpolationMode)
    with pytest.raises(NotImplementedError):
        Scale()


def test_libraries_that_can_do_without_take_the_packages_for_absent() -> None:
    assert not is_torchvision_available()
    assert not transformers_has_torchvision()
    assert not is_torchaudio_available()


def test_a_package_that_is_none_of_them_is_not_found() -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("torch.of_the_future")
