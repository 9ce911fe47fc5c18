"""Motion LoRAs of every published form change a motion module as a merge in float64 does, and leave nothing behind."""

from collections.abc import Callable
from pathlib import Path

import comfy.model_management
import pytest
import safetensors.torch
import torch
from animatelcm.files.refusal import ModelFileError
from animatelcm.motion.attach import attach_motion, load_motion_module
from animatelcm.motion.attach_lora import attach_motion_lora
from animatelcm.motion.checkpoint import read_motion_module
from animatelcm.motion.config import MotionConfig
from animatelcm.motion.grammar import published_state_dict
from animatelcm.motion.motion_lora import place_of, read_motion_lora
from animatelcm.motion.transformer import MotionModule
from comfy.model_patcher import ModelPatcher
from diffusers import AnimateDiffPipeline, MotionAdapter
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor

from .comfy_model import sample
from .conftest import CONFIG, fill

Tensors = dict[str, Tensor]
Changes = dict[str, tuple[Tensor, Tensor]]  # up and down of each layer, by its name in AnimateDiff's motion modules
Form = Callable[[Changes], Tensors]
RANK, ALPHA = 4, 2.0
ATTENTION = "transformer_blocks.0.attention_blocks."
DIFFUSERS = (
    ("temporal_transformer.", ""),
    ("attention_blocks.0", "attn1"),
    ("attention_blocks.1", "attn2"),
)


def changes(published: Tensors, part: str = ".to_", seed: int = 5) -> Changes:
    """A low-rank change of every matrix whose name has `part` in it, a few percent of its size."""
    generator = torch.Generator().manual_seed(seed)
    layers = [name.removesuffix(".weight") for name, w in published.items() if part in name and w.ndim == 2]
    shapes = {layer: published[f"{layer}.weight"].shape for layer in layers}
    return {
        layer: (
            0.1 * torch.randn(rows, RANK, generator=generator),
            0.1 * torch.randn(RANK, columns, generator=generator),
        )
        for layer, (rows, columns) in shapes.items()
    }


def matrices(name: Callable[[str], str], up: str, down: str) -> Form:
    """A form that names layers by `name`, and their matrices by what follows."""
    return lambda found: {
        f"{name(layer)}{suffix}": matrix
        for layer, pair in found.items()
        for suffix, matrix in zip((up, down), pair, strict=True)
    }


def processor(layer: str) -> str:
    """As AnimateDiff names what a LoRA changes: ....attention_blocks.0.processor.to_out_lora."""
    block, _, projection = layer.removesuffix(".0").rpartition(".")
    return f"{block}.processor.{projection}_lora"


def diffusers(layer: str) -> str:
    for theirs, other in DIFFUSERS:
        layer = layer.replace(theirs, other)
    return f"unet.{layer}"


def kohya(layer: str) -> str:
    return f"lora_unet_{layer.replace('.', '_')}"


def with_alphas(form: Form, name: Callable[[str], str]) -> Form:
    return lambda found: form(found) | {f"{name(layer)}.alpha": torch.tensor(ALPHA) for layer in found}


KOHYA = matrices(kohya, ".lora_up.weight", ".lora_down.weight")
# A form, and by how much the file scales its change
FORMS: dict[str, tuple[Form, float]] = {
    "AnimateDiff": (matrices(processor, ".up.weight", ".down.weight"), 1.0),
    "AnimateDiff in training": (matrices(lambda x: f"module.{processor(x)}", ".up.weight", ".down.weight"), 1.0),
    "diffusers with PEFT": (matrices(diffusers, ".lora_B.weight", ".lora_A.weight"), 1.0),
    "PEFT": (
        matrices(lambda x: f"base_model.model.{diffusers(x)[5:]}", ".lora_B.default.weight", ".lora_A.default.weight"),
        1.0,
    ),
    "diffusers of 2023": (matrices(lambda x: processor(diffusers(x)), ".up.weight", ".down.weight"), 1.0),
    "diffusers between": (matrices(diffusers, ".lora.up.weight", ".lora.down.weight"), 1.0),
    "kohya": (with_alphas(KOHYA, kohya), ALPHA / RANK),
    "kohya without alphas": (KOHYA, 1.0),
    "kohya with diffusers' names": (
        with_alphas(
            matrices(lambda x: kohya(diffusers(x)[5:]), ".lora_up.weight", ".lora_down.weight"),
            lambda x: kohya(diffusers(x)[5:]),
        ),
        ALPHA / RANK,
    ),
}


@pytest.fixture(scope="module")
def published(weights: Tensors) -> Tensors:
    return published_state_dict(weights, 32)


@pytest.fixture(scope="module")
def motion(published: Tensors, tmp_path_factory: pytest.TempPathFactory) -> ModelPatcher:
    path = tmp_path_factory.mktemp("motion") / "motion.safetensors"
    safetensors.torch.save_file(published, path)
    return load_motion_module(str(path))


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    def write(tensors: Tensors, name: str = "lora.safetensors") -> Path:
        safetensors.torch.save_file({key: value.contiguous() for key, value in tensors.items()}, tmp_path / name)
        return tmp_path / name

    return write


def merged(published: Tensors, *loras: tuple[Changes, float]) -> Tensors:
    """The published weights with the changes in them, computed in float64."""
    result = {name: weight.double() for name, weight in published.items()}
    for found, scale in loras:
        for layer, (up, down) in found.items():
            result[f"{layer}.weight"] += scale * (up.double() @ down.double())
    return {name: weight.float() for name, weight in result.items()}


def loaded_weights(motion: ModelPatcher) -> Tensors:
    """The weights as they are while the module runs."""
    comfy.model_management.load_models_gpu([motion], force_patch_weights=True)
    return {key: weight.detach().clone() for key, weight in motion.model.state_dict().items()}


def assert_has(motion: ModelPatcher, tensors: Tensors, save: Callable[..., Path]) -> None:
    """Whether a motion module runs with the weights of a published file."""
    wanted = read_motion_module(save(tensors, "merged.safetensors")).state_dict
    for key, weight in loaded_weights(motion).items():
        error = (weight.double() - wanted[key].double()).abs().max()
        assert error <= 1e-6 * wanted[key].abs().max(), key


# Merged


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("strength", [0.7, -0.5])
def test_equals_a_merge_in_float64(
    form: str, strength: float, published: Tensors, motion: ModelPatcher, save: Callable[..., Path]
) -> None:
    write, scale = FORMS[form]
    found = changes(published)
    assert len(found) == 21 * 2 * 4
    patched = attach_motion_lora(motion, save(write(found)), strength)
    assert_has(patched, merged(published, (found, strength * scale)), save)


def test_kohyas_may_change_every_matrix(published: Tensors, motion: ModelPatcher, save: Callable[..., Path]) -> None:
    found = changes(published, "temporal_transformer")
    assert {layer.rpartition(".")[2] for layer in found} > {"proj_in", "proj_out", "proj", "2", "to_q"}
    patched = attach_motion_lora(motion, save(KOHYA(found)), 1.0)
    assert_has(patched, merged(published, (found, 1.0)), save)


def test_several_add_up(published: Tensors, motion: ModelPatcher, save: Callable[..., Path]) -> None:
    one, two = changes(published, seed=6), changes(published, "blocks.1.to_v", seed=7)
    path = save(FORMS["AnimateDiff"][0](one), "one.safetensors")
    both = attach_motion_lora(attach_motion_lora(motion, path, 0.4), save(KOHYA(two), "two.safetensors"), 0.9)
    assert_has(both, merged(published, (one, 0.4), (two, 0.9)), save)


def test_the_module_itself_stays_as_it_was(published: Tensors, motion: ModelPatcher, save: Callable[..., Path]) -> None:
    patched = attach_motion_lora(motion, save(KOHYA(changes(published))), 1.0)
    loaded_weights(patched)
    assert not motion.patches
    assert_has(motion, published, save)
    wanted = read_motion_module(save(published)).state_dict
    assert all(torch.equal(weight, wanted[key]) for key, weight in loaded_weights(motion).items())


def test_a_video_is_that_of_the_merged_module(
    published: Tensors, base: ModelPatcher, motion: ModelPatcher, save: Callable[..., Path]
) -> None:
    found = changes(published)
    patched = attach_motion(base, attach_motion_lora(motion, save(KOHYA(found)), 0.8))
    whole = load_motion_module(str(save(merged(published, (found, 0.8)), "merged.safetensors")))
    video, wanted, plain = (
        sample(model) for model in (patched, attach_motion(base, whole), attach_motion(base, motion))
    )
    assert (video - wanted).abs().max() < 1e-4 * wanted.abs().max()
    assert (plain - wanted).abs().max() > 1e-2 * wanted.abs().max()


def test_what_diffusers_writes_equals_its_own_merge(save: Callable[..., Path], tmp_path: Path) -> None:
    adapter = fill(MotionAdapter(block_out_channels=CONFIG.down_channels, motion_max_seq_length=32), seed=8)
    motion = load_motion_module(str(save(dict(adapter.state_dict()), "adapter.safetensors")))
    layers = ["to_q", "to_k", "to_v", "to_out.0"]
    with torch.random.fork_rng():
        inject_adapter_in_model(LoraConfig(r=RANK, target_modules=layers, init_lora_weights=False), adapter)
    AnimateDiffPipeline.save_lora_weights(tmp_path / "written", unet_lora_layers=get_peft_model_state_dict(adapter))
    (path,) = (tmp_path / "written").iterdir()
    for layer in adapter.modules():
        if isinstance(layer, LoraLayer):
            layer.scaling["default"] = 0.6
            layer.merge()
    wanted = {name.replace(".base_layer", ""): w for name, w in adapter.state_dict().items() if "lora_" not in name}
    assert_has(attach_motion_lora(motion, path, 0.6), wanted, save)


def test_what_the_module_lacks_is_left_out_and_named(
    published: Tensors, motion: ModelPatcher, save: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    found = changes(published)
    kept = {name: weight for name, weight in published.items() if "mid_block" not in name}
    without_mid = load_motion_module(str(save(kept, "v3.safetensors")))
    patched = attach_motion_lora(without_mid, save(FORMS["AnimateDiff"][0](found)), 1.0)
    fitting = {layer: pair for layer, pair in found.items() if "mid_block" not in layer}
    assert_has(patched, merged(kept, (fitting, 1.0)), save)
    assert "the motion module has no such layers as lora.safetensors changes: mid_block.motion_modules.0" in caplog.text


# Refused


def test_a_motion_module_in_its_place_is_named(
    published: Tensors, motion: ModelPatcher, save: Callable[..., Path]
) -> None:
    with pytest.raises(
        ModelFileError, match=r"is a motion module for SD1.5\. Expected a motion LoRA.*animatediff_models"
    ):
        attach_motion_lora(motion, save(published), 1.0)


def test_a_style_lora_in_its_place_is_named_with_its_own(motion: ModelPatcher, save: Callable[..., Path]) -> None:
    path = save({"lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight": torch.ones(4, 4)}, "style.safetensors")
    with pytest.raises(ModelFileError, match=r"^style.safetensors is a LoRA\. Expected a motion LoRA.*models/loras"):
        attach_motion_lora(motion, path, 1.0)


FIRST = f"down_blocks.0.motion_modules.0.temporal_transformer.{ATTENTION}0.processor.to_q_lora."
DAMAGES: dict[str, tuple[Callable[[Tensors], object], str]] = {
    "no partner": (lambda t: t.pop(f"{FIRST}up.weight"), "one of the two matrices for down_blocks.0.0.* is missing"),
    "no product": (lambda t: t.update({f"{FIRST}up.weight": torch.ones(32, 3)}), "have no product"),
    "no matrix": (lambda t: t.update({f"{FIRST}up.weight": torch.tensor(1.0)}), "have no product"),
    "rank 0": (
        lambda t: t.update({f"{FIRST}up.weight": torch.ones(32, 0), f"{FIRST}down.weight": torch.ones(0, 32)}),
        "have no product",
    ),
    "several alphas": (lambda t: t.update({f"{FIRST[:-1]}.alpha": torch.ones(3)}), "alpha.*is not one number"),
    "NaN": (lambda t: t[f"{FIRST}up.weight"].fill_(torch.nan), "NaN or infinity"),
    "integers": (lambda t: t.update({f"{FIRST}up.weight": torch.ones(32, RANK, dtype=torch.int8)}), "quantized"),
    "another layer": (
        lambda t: t.update({FIRST.replace("to_q", "to_x") + "up.weight": torch.ones(1)}),
        "no layer of a",
    ),
    "LoHa": (lambda t: t.update({f"{FIRST}hada_w1_a": torch.ones(4, 4)}), "in another way than by two matrices"),
    "another block": (
        lambda t: t.update({FIRST.replace("blocks.0.m", "blocks.999.m") + "up.weight": torch.ones(1)}),
        "no layer of a motion module",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_motion_lora_is_refused(damage: str, published: Tensors, save: Callable[..., Path]) -> None:
    spoil, message = DAMAGES[damage]
    tensors = FORMS["AnimateDiff"][0](changes(published))
    spoil(tensors)
    with pytest.raises(ModelFileError, match=f"{message}.*Expected a motion LoRA for SD1.5"):
        read_motion_lora(save(tensors))


def test_one_for_another_width_is_refused(motion: ModelPatcher, save: Callable[..., Path]) -> None:
    wide = MotionConfig((64, 64, 64, 64), (64, 64, 64, 64), 64)
    found = changes(published_state_dict(dict(fill(MotionModule(wide), seed=3).state_dict())))
    with pytest.raises(ModelFileError, match=r"as a matrix of \(64, 64\); this motion module's is \(32, 32\)"):
        attach_motion_lora(motion, save(KOHYA(found)), 1.0)


def test_one_of_mostly_other_layers_is_refused(
    published: Tensors, motion: ModelPatcher, save: Callable[..., Path]
) -> None:
    found = {layer.replace("motion_modules.0", "motion_modules.7"): pair for layer, pair in changes(published).items()}
    found = {layer: pair for layer, pair in found.items() if "modules.7" in layer or "mid" in layer}
    with pytest.raises(ModelFileError, match="changes 72 layers, of which this motion module has 0"):
        attach_motion_lora(motion, save(KOHYA(found)), 1.0)


def test_names_of_no_motion_lora_have_no_place() -> None:
    assert place_of("lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight") is None
    assert place_of(FIRST) is None
    assert place_of(f"{FIRST}down.weight") == ("down_blocks.0.0.attentions.0.to_q.weight", "down")
