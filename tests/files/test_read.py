"""Both formats of model files are read as their makers' code reads them; everything else ends in one message, soon."""

import os
import pickle
import re
import tracemalloc
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import safetensors.torch
import torch
from animatelcm.files.header import NUMBERS
from animatelcm.files.pickle_machine import CONSTANTS
from animatelcm.files.read import open_model
from animatelcm.files.refusal import ModelFileError
from hypothesis import given, settings
from torch import Tensor, nn

from .hostile import HOSTILE, Bomb

EXPECTED = "a model for this test"
ROOT = Path(__file__).resolve().parents[2]

TENSORS = {
    "matrix": torch.randn(4, 3),
    "transposed": torch.randn(5, 7).t(),
    "part": torch.randn(10)[3:7],
    "strided": torch.randn(4, 6)[:, ::2],
    "half": torch.randn(3).half(),
    "bfloat16": torch.randn(3).bfloat16(),
    "double": torch.randn(2, 2).double(),
    "float8": torch.randn(3).to(torch.float8_e4m3fn),
    "bytes": torch.arange(5, dtype=torch.uint8),
    "integers": torch.tensor([-(2**40), 3]),
    "truth": torch.tensor([True, False]),
    "scalar": torch.tensor(0.5),
    "nothing": torch.empty(0, 3),
    "expanded": torch.randn(1, 3).expand(2, 3),
}

WRITERS: dict[str, Callable[[Any, Path], None]] = {
    "safetensors": lambda value, path: safetensors.torch.save_file(
        {name: tensor.contiguous().clone() for name, tensor in value.items()}, path
    ),
    "zip": torch.save,
    "pickle": lambda value, path: torch.save(value, path, _use_new_zipfile_serialization=False),
    "zip, protocol 5": lambda value, path: torch.save(value, path, pickle_protocol=5),
}


def assert_equal(read: dict[str, Tensor], written: dict[str, Tensor]) -> None:
    assert read.keys() == written.keys()
    for name, tensor in written.items():
        assert read[name].dtype == tensor.dtype and read[name].is_contiguous()
        assert read[name].shape == tensor.shape
        assert torch.equal(read[name].view(-1).view(torch.uint8), tensor.contiguous().view(-1).view(torch.uint8)), name


# Read


@pytest.mark.parametrize("container", WRITERS)
def test_tensors_come_back(container: str, tmp_path: Path) -> None:
    WRITERS[container](TENSORS, tmp_path / "x")
    file = open_model(tmp_path / "x", EXPECTED)
    assert {name: header.shape for name, header in file.headers.items()} == {n: t.shape for n, t in TENSORS.items()}
    assert_equal(file.tensors(), TENSORS)


@pytest.mark.parametrize("path", sorted((ROOT / "models").glob("*/*.safetensors")), ids=lambda path: path.stem)
def test_shipped_files_are_read_as_by_the_safetensors_package(path: Path) -> None:
    assert_equal(open_model(path, EXPECTED).tensors(), safetensors.torch.load_file(path))


CONTENTS: dict[str, Any] = {
    "parameters": {"a": nn.Parameter(torch.ones(3))},
    "a module's state": nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).state_dict(),
    "an ordered dictionary": OrderedDict(a=torch.ones(2)),
    "two names of one tensor": dict.fromkeys("ab", torch.ones(500)),
    "wrapped in state_dict": {"epoch": 3, "state_dict": {"a": torch.ones(2)}},
    "wrapped twice": {"module": {"model_state_dict": {"a": torch.ones(2)}}},
    "an embedding": {"string_to_param": {"*": torch.ones(2, 768)}, "name": "x"},
    "beside other things": {
        "a": torch.ones(2),
        "step": 7,
        "betas": (0.9, 0.999),
        "names": ["b", {"c"}, None, True, b"d", 1e300, -(2**80), torch.Size([2]), torch.float16, torch.device("cpu")],
        "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}},
    },
}


def tensors_of(value: Any) -> dict[str, Tensor]:
    """What torch's own loader gives, taken out of its wrappers."""
    for wrapper in ("state_dict", "model_state_dict", "module", "string_to_param"):
        if wrapper in value:
            return tensors_of(value[wrapper])
    return {name: tensor.detach() for name, tensor in value.items() if isinstance(tensor, Tensor)}


@pytest.mark.parametrize("container", ["zip", "pickle"])
@pytest.mark.parametrize("kind", CONTENTS)
def test_what_training_saves_is_read_as_by_torch(kind: str, container: str, tmp_path: Path) -> None:
    WRITERS[container](CONTENTS[kind], tmp_path / "x")
    wanted = tensors_of(torch.load(tmp_path / "x", weights_only=True))
    assert_equal(open_model(tmp_path / "x", EXPECTED).tensors(), wanted)


@pytest.mark.parametrize("dtype", sorted(NUMBERS, key=str), ids=str)
def test_numbers_of_every_type_are_read_and_found_finite(dtype: torch.dtype, tmp_path: Path) -> None:
    tensors = {"a": torch.arange(6).reshape(2, 3).t().to(dtype)}
    WRITERS["zip"](tensors, tmp_path / "x")
    assert_equal(open_model(tmp_path / "x", EXPECTED).finite_tensors(), tensors)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float8_e5m2, torch.complex64])
def test_what_is_no_number_is_named(dtype: torch.dtype, tmp_path: Path) -> None:
    WRITERS["zip"]({"a": torch.ones(3).to(dtype), "b.c": torch.tensor([1, torch.nan]).to(dtype)}, tmp_path / "x")
    with pytest.raises(ModelFileError, match=r"not numbers \(NaN or infinity\) in b.c\."):
        open_model(tmp_path / "x", EXPECTED).finite_tensors()


def test_what_trainers_leave_beside_the_weights_does_not_matter(tmp_path: Path) -> None:
    tensors = {"a": torch.ones(3)}
    WRITERS["zip"]({"state_dict": tensors, "loss": np.float64(0.5), "step": np.int64(7)}, tmp_path / "x")
    assert_equal(open_model(tmp_path / "x", EXPECTED).tensors(), tensors)


def test_metadata_is_no_tensor(tmp_path: Path) -> None:
    safetensors.torch.save_file({"a": torch.ones(1)}, tmp_path / "x", {"ss_network_dim": "8"})
    assert open_model(tmp_path / "x", EXPECTED).tensors().keys() == {"a"}


def test_a_file_that_was_read_can_be_deleted(tmp_path: Path) -> None:
    WRITERS["safetensors"](TENSORS, tmp_path / "x")
    tensors = open_model(tmp_path / "x", EXPECTED).tensors()
    (tmp_path / "x").write_bytes(b"")  # mapped memory would end this process
    assert_equal(tensors, TENSORS)


def test_values_are_those_operations_whose_argument_is_the_value() -> None:
    assert {"BININT1", "BINUNICODE", "BINFLOAT", "LONG1", "SHORT_BINBYTES"} < CONSTANTS
    assert not CONSTANTS & {"GLOBAL", "BINGET", "BINPUT", "PERSID", "EXT1", "INST", "PROTO", "FRAME"}


# Refuse


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_no_model_is_named(case: str, tmp_path: Path) -> None:
    write, message = HOSTILE[case]
    path = tmp_path / "some.ckpt"
    write(path)
    with pytest.raises(ModelFileError, match=rf"^some.ckpt .*\. Expected {EXPECTED}\. [A-Z].*\.$") as raised:
        open_model(path, EXPECTED)
    assert re.search(message, str(raised.value))
    assert len(str(raised.value)) < 500
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("case", ["an expanded tensor", "a storage larger than the file", "a shape of 10^12"])
def test_nothing_is_allocated_for_what_a_file_claims(case: str, tmp_path: Path) -> None:
    HOSTILE[case][0](tmp_path / "x")
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError):
            open_model(tmp_path / "x", EXPECTED)
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("container", WRITERS)
@pytest.mark.parametrize("share", [0.001, 0.3, 0.99])
def test_truncated_downloads_are_named(container: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / "x"
    WRITERS[container]({"a": torch.randn(99), "b": torch.randn(99, 99)}, path)
    content = path.read_bytes()
    path.write_bytes(content[: max(9, int(share * len(content)))])
    with pytest.raises(ModelFileError, match=r"damaged.*Download it again") as raised:
        open_model(path, EXPECTED)
    assert raised.value.__cause__ is not None


def test_a_file_that_is_cut_off_while_it_is_read_is_named(tmp_path: Path) -> None:
    WRITERS["zip"](TENSORS, tmp_path / "x")
    file = open_model(tmp_path / "x", EXPECTED)
    (tmp_path / "x").write_bytes(b"PK")
    with pytest.raises(ModelFileError, match="changed while it was read"):
        file.tensors()


@pytest.mark.parametrize("container", ["zip", "pickle", "zip, protocol 5"])
def test_code_in_a_pickle_is_not_run(container: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    WRITERS[container]({"state_dict": TENSORS, "callback": Bomb(trace)}, tmp_path / "x")
    with pytest.raises(ModelFileError, match=r"run code.*safetensors") as raised:
        open_model(tmp_path / "x", EXPECTED)
    assert isinstance(raised.value.__cause__, pickle.UnpicklingError)
    assert not trace.exists()


def test_a_missing_file_is_the_systems_own_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_model(tmp_path / "nothing.ckpt", EXPECTED)


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="is not a file"):
        open_model(tmp_path, EXPECTED)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes are files on Unix only")
def test_a_pipe_that_nobody_writes_to_is_no_model(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x")
    with pytest.raises(ModelFileError, match="is not a file"):
        open_model(tmp_path / "x", EXPECTED)


EDIT = st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 9), st.binary(max_size=9))


@pytest.mark.parametrize("container", ["safetensors", "zip", "pickle"])
@given(edits=st.lists(EDIT, min_size=1, max_size=4))
@settings(max_examples=60)
def test_any_damage_ends_in_the_tensors_or_the_message(
    container: str, edits: list[tuple[float, int, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / f"damaged-{container[:3]}"
    WRITERS[container]({"a": torch.ones(9), "b": torch.zeros(2, 2)}, path)
    content = path.read_bytes()
    for place, removed, added in edits:
        at = int(place * len(content))
        content = content[:at] + added + content[at + removed :]
    path.write_bytes(content)
    try:
        open_model(path, EXPECTED).tensors()
    except ModelFileError as error:
        assert EXPECTED in str(error)
