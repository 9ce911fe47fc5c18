"""Every published form of a motion module is read to the same weights; every other file is refused by name."""

import dataclasses
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from animatelcm.files.refusal import ModelFileError
from animatelcm.motion.checkpoint import MotionCheckpoint, read_motion_module
from animatelcm.motion.config import MotionConfig
from animatelcm.motion.grammar import published_state_dict
from animatelcm.motion.image_encoder import ImageEncoder
from animatelcm.motion.transformer import MotionModule
from diffusers import MotionAdapter
from torch import Tensor

from .conftest import CONFIG, fill
from .test_image_encoder import WIDTHS
from .test_image_encoder import published as image_encoder

Tensors = dict[str, Tensor]
Save = Callable[..., Path]
TEMPORAL = "down_blocks.0.motion_modules.0.temporal_transformer."
ATTENTION = f"{TEMPORAL}transformer_blocks.0.attention_blocks.0."


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Write a checkpoint in a container, and return its path."""

    def write(content: Any, container: str = "safetensors", name: str = "motion.ckpt") -> Path:
        path = tmp_path / name
        if container == "safetensors":
            safetensors.torch.save_file(content, path)
        else:
            torch.save(content, path, _use_new_zipfile_serialization=container == "zip")
        return path

    return write


def published(weights: Tensors, frames: int | None = None, mid_block: bool = True) -> Tensors:
    return published_state_dict({k: v for k, v in weights.items() if mid_block or "mid" not in k}, frames)


def renamed(tensors: Tensors, old: str, new: str) -> Tensors:
    return {key.replace(old, new): value for key, value in tensors.items()}


def encoder_weights() -> Tensors:
    encoder = fill(ImageEncoder(image_encoder(WIDTHS)), seed=4)
    return {f"image_encoder.{key}": value for key, value in encoder.state_dict().items()}


NO_MID = dataclasses.replace(CONFIG, mid_channels=None)

# What a file holds, and the config that is read from it
FORMATS: dict[str, tuple[Callable[[Tensors], Tensors], MotionConfig]] = {
    "AnimateLCM_sd15_t2v": (published, CONFIG),
    "AnimateLCM_sd15_i2v": (
        lambda w: published(w | encoder_weights()),
        dataclasses.replace(CONFIG, image_encoder=image_encoder(WIDTHS)),
    ),
    "AnimateLCM's own code": (lambda w: renamed(published(w, 64), ".pe", ".pos_encoding"), CONFIG),
    "mm_sd_v15_v2": (lambda w: published(w, 32), dataclasses.replace(CONFIG, max_frames=32)),
    "v3_sd15_mm": (lambda w: published(w, 32, mid_block=False), dataclasses.replace(NO_MID, max_frames=32)),
    "mm_sd_v15": (lambda w: published(w, 24, mid_block=False), dataclasses.replace(NO_MID, max_frames=24)),
}


def assert_holds(checkpoint: MotionCheckpoint, config: MotionConfig, weights: Tensors) -> None:
    assert checkpoint.config == config
    MotionModule(config).load_state_dict(checkpoint.state_dict, strict=True)
    for key, weight in checkpoint.state_dict.items():
        torch.testing.assert_close(weight, weights[key].to(weight.dtype), rtol=0, atol=0)


# Read


@pytest.mark.parametrize("container", ["safetensors", "zip", "pickle"])
@pytest.mark.parametrize("form", FORMATS)
def test_published_files_are_read(form: str, container: str, weights: Tensors, save: Save) -> None:
    build, config = FORMATS[form]
    assert_holds(read_motion_module(save(build(weights), container)), config, weights | encoder_weights())


@pytest.mark.parametrize("mid_block", [True, False])
@pytest.mark.parametrize("frames", [24, 32])
def test_diffusers_motion_adapter_is_read(mid_block: bool, frames: int, save: Save) -> None:
    adapter = MotionAdapter(
        block_out_channels=CONFIG.down_channels, use_motion_mid_block=mid_block, motion_max_seq_length=frames
    )
    checkpoint = read_motion_module(save(fill(adapter, seed=2).state_dict()))
    assert checkpoint.config == dataclasses.replace(CONFIG if mid_block else NO_MID, max_frames=frames)
    theirs = adapter.down_blocks[1].motion_modules[1].transformer_blocks[0].attn2
    ours = checkpoint.state_dict["down_blocks.1.1.attentions.1.to_qkv.weight"]
    assert torch.equal(ours, torch.cat((theirs.to_q.weight, theirs.to_k.weight, theirs.to_v.weight)))


WRAPPERS: dict[str, Callable[[Tensors], Any]] = {
    "module. prefix": lambda tensors: {f"module.{key}": value for key, value in tensors.items()},
    "state_dict": lambda tensors: {"epoch": 3, "global_step": 7, "state_dict": tensors},
    "both": lambda tensors: {"state_dict": {f"module.{key}": value for key, value in tensors.items()}},
    "nested": lambda tensors: {"module": {"state_dict": tensors}},
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrappers_of_training_are_taken_off(wrapper: str, weights: Tensors, save: Save) -> None:
    assert_holds(read_motion_module(save(WRAPPERS[wrapper](published(weights)), "zip")), CONFIG, weights)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("container", ["safetensors", "zip"])
def test_dtypes(dtype: torch.dtype, container: str, weights: Tensors, save: Save) -> None:
    tensors = {key: value.to(dtype) for key, value in published(weights, 32).items()}
    checkpoint = read_motion_module(save(tensors, container))
    assert checkpoint.dtype == dtype
    assert_holds(checkpoint, dataclasses.replace(CONFIG, max_frames=32), weights)


def test_shape_is_read_from_the_file(save: Save) -> None:
    config = MotionConfig((64, 96), (96, 64), None, down_modules=1, up_modules=2, max_frames=48)
    tensors = fill(MotionModule(config), seed=3).state_dict()
    assert_holds(read_motion_module(save(published(dict(tensors), 48))), config, dict(tensors))


def test_the_extension_does_not_matter(weights: Tensors, save: Save) -> None:
    for container, name in (("zip", "motion.safetensors"), ("safetensors", "motion.pt")):
        assert_holds(read_motion_module(save(published(weights), container, name)), CONFIG, weights)


@pytest.mark.parametrize("frames", [None, 32])
def test_published_names_come_back(frames: int | None, weights: Tensors, save: Save) -> None:
    tensors = published(weights, frames)
    assert f"{ATTENTION}to_q.weight" in tensors
    assert (f"{ATTENTION}pos_encoder.pe" in tensors) is bool(frames)
    again = published_state_dict(read_motion_module(save(tensors)).state_dict, frames)
    assert again.keys() == tensors.keys()
    assert all(torch.equal(again[key], tensors[key]) for key in tensors)


# Refuse: other models

ONE = torch.zeros(4)


def test_other_models_are_named_with_their_folder(save: Save) -> None:
    path = save({"lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight": ONE}, name="some.ckpt")
    with pytest.raises(ModelFileError, match=r"^some.ckpt is a LoRA\. Expected a motion module.*models/loras"):
        read_motion_module(path)


def test_sdxl_motion_module_is_named(save: Save) -> None:
    config = MotionConfig((32, 64, 64), (64, 64, 32), None, max_frames=32)
    tensors = published(dict(MotionModule(config).state_dict()), 32)
    with pytest.raises(ModelFileError, match="motion module for SDXL"):
        read_motion_module(save(tensors))


# Refuse: damaged motion modules

SECOND = "up_blocks.2.motion_modules.1.temporal_transformer."
DAMAGES: dict[str, tuple[Callable[[Tensors], Any], str]] = {
    "missing weight": (lambda t: t.pop(f"{SECOND}proj_in.bias"), rf"lacks {SECOND}proj_in.bias\."),
    "missing projection": (lambda t: t.pop(f"{ATTENTION}to_k.weight"), rf"lacks {ATTENTION}to_k.weight\."),
    "missing first norm": (lambda t: t.pop(f"{TEMPORAL}norm.weight"), f"lacks {TEMPORAL}norm.weight"),
    "missing module": (lambda t: [t.pop(key) for key in list(t) if SECOND in key], f"lacks {SECOND}.* and 23 more"),
    "missing block": (lambda t: [t.pop(key) for key in list(t) if "up_blocks" in key], "lacks up_blocks.0"),
    "odd key": (lambda t: t.update({f"{TEMPORAL}gate": ONE}), f"no SD1.5 motion module has: {TEMPORAL}gate"),
    "third attention": (
        lambda t: t.update({ATTENTION.replace("blocks.0.to", "") + "2.to_q.weight": ONE}),
        "no SD1.5 motion module has",
    ),
    "wide weight": (
        lambda t: t.update({f"{SECOND}proj_in.weight": torch.zeros(64, 65)}),
        f"another shape: {SECOND}proj_in",
    ),
    "wide projection": (lambda t: t.update({f"{ATTENTION}to_q.weight": torch.zeros(8, 32)}), "another shape"),
    "NaN": (lambda t: t[f"{SECOND}proj_in.weight"][0].fill_(torch.nan), f"not numbers.*{SECOND}proj_in.weight"),
    "infinity": (lambda t: t[f"{ATTENTION}to_q.weight"][0].fill_(-torch.inf), "NaN or infinity"),
    "integers": (lambda t: t.update({f"{SECOND}proj_in.bias": torch.zeros(64, dtype=torch.int8)}), "16 or 32 bits"),
    "8 bits": (
        lambda t: t.update({f"{SECOND}proj_in.bias": torch.zeros(64).to(torch.float8_e4m3fn)}),
        "16 or 32 bits",
    ),
    "a number in place of a weight": (lambda t: t.update({f"{SECOND}norm.weight": torch.tensor(1.0)}), "another shape"),
    "a number in place of a width": (lambda t: t.update({f"{TEMPORAL}norm.weight": torch.tensor(1.0)}), "1 dimensions"),
    "no width": (lambda t: t.update({f"{TEMPORAL}norm.weight": torch.ones(0)}), "0 channels"),
    "width without numbers": (lambda t: t.update({f"{TEMPORAL}norm.weight": torch.ones(10**12, 0)}), "1 dimensions"),
    "wide norm": (
        lambda t: t.update({f"{TEMPORAL}norm.weight": torch.ones(65_544)}),
        "65544 channels are not 1 to 65536",
    ),
    "block without a number": (
        lambda t: t.update({TEMPORAL.replace("blocks.0", "blocks.x") + "norm.weight": ONE}),
        "no SD1.5 motion module has: down_blocks.x.motion_modules",
    ),
    "block of 900 digits": (
        lambda t: t.update({TEMPORAL.replace("blocks.0", "blocks." + "9" * 900) + "norm.weight": ONE}),
        "no SD1.5 motion module has: down_blocks.999",
    ),
    "module of 900 digits": (
        lambda t: t.update({TEMPORAL.replace("modules.0", "modules." + "9" * 900) + "norm.weight": ONE}),
        "no SD1.5 motion module has: down_blocks.0.motion_modules.999",
    ),
    "block 99": (
        lambda t: t.update({TEMPORAL.replace("blocks.0", "blocks.99") + "norm.weight": ONE}),
        "lacks down_blocks.4",
    ),
    "modules without end": (
        lambda t: t.update(
            {TEMPORAL.replace("modules.0", f"modules.{i}") + "norm.weight": ONE.clone() for i in range(4000)}
        ),
        "100 temporal transformers in a block",
    ),
    "learned encoding": (lambda t: t[f"{ATTENTION}pos_encoder.pe"].add_(0.01), "not the sinusoid.*Learned"),
    "flat encoding": (lambda t: t.update({f"{ATTENTION}pos_encoder.pe": torch.zeros(32)}), "not the sinusoid"),
    "encoding of no frames": (
        lambda t: t.update({f"{ATTENTION}pos_encoder.pe": torch.zeros(1, 0, 32)}),
        "position encoding for 0 frames",
    ),
    "encoding of a million frames": (
        lambda t: t.update({f"{ATTENTION}pos_encoder.pe": torch.zeros(1, 10**6, 2)}),
        "position encoding for 1000000 frames",
    ),
    "encoding of another width": (
        lambda t: t.update({f"{ATTENTION}pos_encoder.pe": torch.zeros(1, 32, 48)}),
        "another width than its blocks",
    ),
    "many encodings": (
        lambda t: t.update({f"{ATTENTION}pos_encoder.pe": torch.zeros(3, 32, 32)}),
        "not the sinusoid",
    ),
    "odd encoding": (lambda t: t.update({f"{ATTENTION}pos_encoder.pe": torch.zeros(1, 32, 33)}), "not the sinusoid"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_motion_modules_are_refused(damage: str, weights: Tensors, save: Save) -> None:
    spoil, message = DAMAGES[damage]
    tensors = published(weights, 32)
    spoil(tensors)
    with pytest.raises(ModelFileError, match=message):
        read_motion_module(save(tensors))


@pytest.mark.parametrize(
    ("removed", "message"),
    [
        ("body.3.block1.weight", "lacks img_encoder.body.3.block1.weight"),
        ("body.2.in_conv.bias", "lacks img_encoder.body.2.in_conv.bias"),
        ("body.2.in_conv", "block 2 of the image encoder changes the width without an in_conv"),
        ("body.7", "7 blocks of an image encoder"),
        ("body", "lacks|0 blocks"),
    ],
)
def test_an_image_encoder_that_lacks_weights_is_refused(
    removed: str, message: str, weights: Tensors, save: Save
) -> None:
    tensors = published(weights | encoder_weights())
    kept = {key: value for key, value in tensors.items() if not key.startswith(f"img_encoder.{removed}")}
    with pytest.raises(ModelFileError, match=message):
        read_motion_module(save(kept))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((64, 64, 2, 2), "a kernel of 2, not an odd one of 1 to 7"),
        ((64, 64, 0, 0), "a kernel of 0"),
        ((64, 64, 9, 9), "a kernel of 9"),
        ((64, 64, 1, 3), "another shape: img_encoder.body.3.block2.weight"),
        ((64,), "block2.weight has the shape .*, and 4 dimensions were expected"),
    ],
)
def test_an_image_encoder_that_could_not_sample_is_refused(
    shape: tuple[int, ...], message: str, weights: Tensors, save: Save
) -> None:
    tensors = published(weights | encoder_weights()) | {"img_encoder.body.3.block2.weight": torch.zeros(shape)}
    with pytest.raises(ModelFileError, match=message):
        read_motion_module(save(tensors))


@pytest.mark.parametrize("channels", [36, 40])
def test_impossible_widths_are_refused(channels: int, weights: Tensors, save: Save) -> None:
    tensors = published(weights)
    tensors[f"{TEMPORAL}norm.weight"] = torch.ones(channels)
    with pytest.raises(ModelFileError, match=r"not a motion module for SD1.5: .*(split|divisible)"):
        read_motion_module(save(tensors))


@pytest.mark.parametrize("frames", [2003, 4001, 5003, 100_003])  # primes, which no other tensor has
def test_refused_modules_leave_nothing_in_memory(frames: int, weights: Tensors, save: Save) -> None:
    path = save(published(weights, 32) | {f"{ATTENTION}pos_encoder.pe": torch.full((1, frames, 32), 0.1)})
    with pytest.raises(ModelFileError, match="position encoding"):
        read_motion_module(path)
    gc.collect()
    tensors = [thing for thing in gc.get_objects() if type(thing) is Tensor]
    assert tensors
    assert not [tensor.shape for tensor in tensors if frames in tensor.shape]
