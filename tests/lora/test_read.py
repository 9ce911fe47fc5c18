"""Files in a LoRA's place: each is read once, or refused in one message that says what it is and where it belongs."""

import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from animatelcm.files.read import ModelFile
from animatelcm.files.refusal import ModelFileError
from animatelcm.lora import read
from animatelcm.lora.read import KEPT, read_lora
from torch import Size, Tensor

from ..nodes.conftest import replace_with_same_time
from .conftest import kohya, numbers, of_layers

LAYERS = {"layer.0": Size((4, 4)), "layer.1": Size((4, 4, 3, 3))}
LORA = of_layers(LAYERS)
DOWN = f"{kohya('layer.0')}.lora_down.weight"

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def file(content: Any, name: str = "x.safetensors") -> Path:
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif path.suffix == ".safetensors":
            safetensors.torch.save_file(content, path)
        else:
            torch.save(content, path)
        return path

    return file


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    read._kept.clear()
    yield
    read._kept.clear()


# What is read


@pytest.mark.parametrize("name", ["x.safetensors", "x.pt", "x.ckpt", "x.bin"])
def test_a_file_of_any_format_is_read(write: Write, name: str) -> None:
    tensors = read_lora(write(LORA, name))
    assert tensors.keys() == LORA.keys()
    assert all(torch.equal(tensors[key], LORA[key]) for key in LORA)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float64])
def test_floating_point_numbers_of_any_size_are_read(write: Write, dtype: torch.dtype) -> None:
    tensors = read_lora(write({key: value.to(dtype) for key, value in LORA.items()}))
    assert {tensor.dtype for tensor in tensors.values()} == {dtype}


def test_alpha_may_be_a_whole_number(write: Write) -> None:
    assert read_lora(write({**LORA, f"{kohya('layer.0')}.alpha": torch.tensor(4)}))


# What is refused

TEMPORAL = "down_blocks.0.motion_modules.0.temporal_transformer"
# The name of one of a file's tensors, what the file is, and the folder of models/ that it belongs in
KINDS = {
    f"{TEMPORAL}.proj_in.weight": ("a motion module for SD1.5", "animatediff_models"),
    f"{TEMPORAL}.transformer_blocks.0.attention_blocks.0.processor.to_q_lora.down.weight": (
        "a motion LoRA, which changes a motion module",
        "animatediff_motion_lora",
    ),
    "model.diffusion_model.input_blocks.0.0.weight": ("a whole checkpoint", "checkpoints"),
    "control_model.input_blocks.0.0.weight": ("a ControlNet", "controlnet"),
    "decoder.conv_in.weight": ("a VAE", "vae"),
    "emb_params": ("an embedding (textual inversion)", "embeddings"),
    "text_model.encoder.layers.0.mlp.fc1.weight": ("a text encoder", "text_encoders"),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_model_of_another_kind_is_named_with_where_it_belongs(write: Write, name: str) -> None:
    what, folder = KINDS[name]
    with pytest.raises(ModelFileError) as refused:
        read_lora(write({name: numbers(4, 4)}))
    expected = f"x.safetensors is {what}. Expected a LoRA for SD1.5. It belongs in models/{folder}."
    assert str(refused.value) == expected


def test_a_model_of_no_known_kind_is_told_by_its_tensors(write: Write) -> None:
    with pytest.raises(ModelFileError, match="no model that this pack knows: it holds something. Expected a LoRA"):
        read_lora(write({"something": numbers(4, 4)}))


RAN = "pickled_code_ran"  # a folder that it makes


class Code:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (RAN,)


CUT_OFF = safetensors.torch.save(LORA)
CONTENTS: dict[str, Any] = {
    "empty": b"",
    "zeros": bytes(4096),
    "cut off in the header": CUT_OFF[:40],
    "cut off": CUT_OFF[:-10],
    "a web page": b"<!DOCTYPE html><html></html>",
    "random": bytes((i * 7919 + i // 13) % 256 for i in range(3000)),
    "a text": b"not a model",
    "a pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n",
    "code": pickle.dumps(Code(), protocol=2),
}
PICKLED: dict[str, Any] = {
    "a list": [numbers(2, 2)],
    "None": None,
    "a string": "lora",
    "a dictionary of numbers": {1: numbers(2, 2), 2: numbers(2, 2)},
    "a dictionary of strings": {"a": "b"},
    "an empty dictionary": {},
    "no tensor in its place": {DOWN: "b"},
    "tensors on no device": {DOWN: torch.empty(4, 4, device="meta")},
    "sparse": {DOWN: numbers(4, 4).to_sparse()},
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
@pytest.mark.parametrize("name", ["x.safetensors", "x.ckpt"])
def test_what_is_no_model_is_refused_in_one_message(
    write: Write, content: bytes, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelFileError) as refused:
        read_lora(write(content, name))
    assert_says_what_and_what_to_do(str(refused.value), name)
    assert not Path(RAN).exists()


@pytest.mark.parametrize("content", PICKLED.values(), ids=PICKLED)
def test_a_pickle_without_a_lora_is_refused_in_one_message(write: Write, content: Any) -> None:
    with pytest.raises(ModelFileError) as refused:
        read_lora(write(content, "x.pt"))
    assert_says_what_and_what_to_do(str(refused.value), "x.pt")


def assert_says_what_and_what_to_do(message: str, name: str) -> None:
    assert message.startswith(f"{name} ")
    assert "Expected a LoRA for SD1.5." in message
    assert message.split(". ")[-1].strip()
    assert len(message) < 400


@pytest.mark.parametrize(
    ("odd", "what"),
    [
        ({DOWN: torch.ones(2, 4, dtype=torch.int8)}, "has weights of the type torch.int8, quantized as a rule"),
        ({DOWN: torch.ones(2, 4, dtype=torch.complex64)}, "has weights of the type torch.complex64"),
        ({DOWN: torch.ones(0, 4)}, "is damaged: it has no numbers in"),
        ({DOWN: torch.tensor(1.0)}, "is damaged: it has no matrix in"),
        ({DOWN: torch.full((2, 4), torch.nan)}, "has values that are not numbers (NaN or infinity) in"),
        ({DOWN: torch.full((2, 4), torch.inf)}, "has values that are not numbers (NaN or infinity) in"),
        ({DOWN.replace("lora_down.weight", "alpha"): torch.tensor(torch.nan)}, "has values that are not numbers"),
        (
            {DOWN.replace("lora_down.weight", "alpha"): torch.ones(2)},
            "is damaged: it has an alpha that is not one number",
        ),
    ],
    ids=["int8", "complex", "rank 0", "0-d", "NaN", "infinity", "alpha NaN", "two alphas"],
)
def test_odd_tensors_are_named(write: Write, odd: dict[str, Tensor], what: str) -> None:
    with pytest.raises(ModelFileError) as refused:
        read_lora(write({**LORA, **odd}))
    message = str(refused.value)
    assert message.startswith(f"x.safetensors {what}")
    assert next(iter(odd)) in message
    assert_says_what_and_what_to_do(message, "x.safetensors")


# Each file is read once


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files whose tensors were read."""
    names: list[str] = []
    tensors = ModelFile.tensors

    def counted(self: ModelFile, *args: Any) -> dict[str, Tensor]:
        names.append(self.path.name)
        return tensors(self, *args)

    monkeypatch.setattr(ModelFile, "tensors", counted)
    return names


def test_a_file_is_read_once_however_often_it_is_asked_for(write: Write, reads: list[str]) -> None:
    paths = [write(LORA, "style.safetensors"), write(LORA, "fast.safetensors")]
    for _ in range(5):
        for path in paths:
            read_lora(path)
    assert reads == ["style.safetensors", "fast.safetensors"]


def test_a_replaced_file_is_read_again_and_the_former_one_given_back(write: Write, reads: list[str]) -> None:
    path = write(LORA)
    former = read_lora(path)
    replace_with_same_time(path, {key: 2 * value for key, value in LORA.items()})
    assert torch.equal(read_lora(path)[DOWN], 2 * former[DOWN])
    assert reads == [path.name] * 2
    assert len(read._kept) == 1


def test_few_files_are_kept(write: Write, reads: list[str]) -> None:
    paths = [write(LORA, f"{number}.safetensors") for number in range(KEPT + 1)]
    for path in (*paths, paths[0], paths[-1]):
        read_lora(path)
    assert reads == [path.name for path in (*paths, paths[0])]
    assert len(read._kept) == KEPT


def test_a_refused_file_is_not_kept(write: Write, reads: list[str]) -> None:
    path = write({DOWN: torch.full((2, 4), torch.nan)})
    for _ in range(2):
        with pytest.raises(ModelFileError):
            read_lora(path)
    assert not read._kept
