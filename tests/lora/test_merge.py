"""What a LoRA file changes: the layers that fit; a file of another model changes nothing and is named."""

import logging
import re
from collections.abc import Callable
from pathlib import Path

import comfy.sd
import comfy.supported_models
import comfy.utils
import pytest
import torch
from animatelcm.files.refusal import ModelFileError
from animatelcm.lora.merge import LoraMismatchError, merge_lora
from animatelcm.nodes.folders import PACK_MODELS
from animatelcm.nodes.mini import register_mini
from comfy.model_patcher import ModelPatcher
from torch import Size, Tensor

from ..nodes.conftest import CONTEXT, UNET
from ..relative_error import relative_error
from .conftest import RANK, Make, kohya, low_rank, numbers, of_layers

Layers = dict[str, Size]
Save = Callable[..., Path]

TO_K = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
TO_K_WEIGHT = "diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight"


def merged(model: ModelPatcher, key: str) -> Tensor:
    """Return a weight that sampling would use."""
    model.patch_model()
    try:
        return comfy.utils.get_attr(model.model, key).clone()
    finally:
        model.unpatch_model()


# Files that fit


def test_every_layer_of_a_file_that_fits_is_patched(
    base: ModelPatcher, layers: Layers, save: Save, caplog: pytest.LogCaptureFixture
) -> None:
    model, _ = merge_lora(base, None, save(of_layers(layers)), 1.0)
    assert len(model.patches) == len(layers) > 200
    assert not base.patches
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    "name",
    [
        "lora_unet_{underscores}.lora_{down,up}.weight",
        "base_model.model.{dots}.lora_{A,B}.weight",
        "base_model.model.{dots}.lora_{A,B}.default.weight",
        "base_model.model.unet.{dots}.lora_{A,B}.weight",
        "unet.{dots}.lora_{A,B}.weight",
        "unet.{dots}.lora.{down,up}.weight",
        "unet.{processor}_lora.{down,up}.weight",
        "diffusion_model.{comfy}.lora_{A,B}.weight",
    ],
)
def test_the_names_of_trainers(base: ModelPatcher, save: Save, name: str) -> None:
    """kohya's, PEFT's, diffusers' of three ages, ComfyUI's own."""
    layer = name.format_map(
        {
            "underscores": TO_K.replace(".", "_"),
            "dots": TO_K,
            "processor": TO_K.replace("attn2.", "attn2.processor."),
            "comfy": TO_K_WEIGHT.removeprefix("diffusion_model.").removesuffix(".weight"),
            **{pair: "{" + pair + "}" for pair in ("down,up", "A,B")},
        }
    )
    down, up = numbers(RANK, CONTEXT), numbers(64, RANK)
    pair = re.search(r"\{(\w+),(\w+)\}", layer)
    tensors = {layer.replace(pair[0], pair[1]): down, layer.replace(pair[0], pair[2]): up}
    model, _ = merge_lora(base, None, save(tensors), 0.5)
    expected = comfy.utils.get_attr(base.model, TO_K_WEIGHT) + 0.5 * up @ down
    assert relative_error(merged(model, TO_K_WEIGHT), expected) < 1e-5


# Files of which a part fits


@pytest.fixture
def inpainting() -> ModelPatcher:
    """An inpainting model: its first convolution sees the mask and the masked picture too, 9 channels."""
    config = comfy.supported_models.SD15({**UNET, "in_channels": 9})
    config.set_inference_dtype(torch.float32, None)
    return ModelPatcher(config.get_model({}, ""), torch.device("cpu"), torch.device("cpu"))


def test_a_layer_that_does_not_fit_is_left_out_and_named(
    inpainting: ModelPatcher, layers: Layers, save: Save, caplog: pytest.LogCaptureFixture
) -> None:
    model, _ = merge_lora(inpainting, None, save(of_layers(layers), "style.safetensors"), 1.0)
    left_out = "diffusion_model.input_blocks.0.0.weight"
    assert len(model.patches) == len(layers) - 1
    assert left_out not in model.patches
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert warning == (
        f"AnimateLCM: style.safetensors is merged in part: 1 of its {len(layers)} layers do not fit this model "
        f"({left_out} has the shape (32, 9, 3, 3); the file's is (32, 36))."
    )


def test_layers_of_unknown_names_are_said(
    base: ModelPatcher, layers: Layers, save: Save, caplog: pytest.LogCaptureFixture
) -> None:
    file = save(of_layers({**layers, "strange.layer": Size((4, 4))}))
    model, _ = merge_lora(base, None, file, 1.0)
    assert len(model.patches) == len(layers)
    assert f"1 of its {len(layers) + 1} layers do not fit" in caplog.text
    assert "lora_unet_strange_layer" in caplog.text


# Files of other models


def lycoris(shape: Size) -> dict[str, Tensor]:
    columns = Size(shape[1:]).numel()
    return {
        f"hada_w{i}_{side}": numbers(*size)
        for i in (1, 2)
        for side, size in (("a", (shape[0], 2)), ("b", (2, columns)))
    }


def kronecker(shape: Size) -> dict[str, Tensor]:
    return {"lokr_w1": numbers(2, 2), "lokr_w2": numbers(shape[0] // 2, Size(shape[1:]).numel() // 2)}


def generalized(shape: Size) -> dict[str, Tensor]:
    rows, columns = shape[0], Size(shape[1:]).numel()
    sizes = {"a1": (columns, 2), "a2": (2, columns), "b1": (rows, 2), "b2": (2, columns)}
    return {f"{name}.weight": numbers(*size) for name, size in sizes.items()}


def difference(shape: Size) -> dict[str, Tensor]:
    return {"diff": numbers(*shape)}


def two_ranks(shape: Size) -> dict[str, Tensor]:
    return {**low_rank(shape), "lora_up.weight": numbers(shape[0], RANK + 1)}


def wider(layers: Layers, context: int) -> Layers:
    """The layers of a model with another text encoder."""
    return {
        layer: Size((shape[0], context)) if "attn2.to_k" in layer or "attn2.to_v" in layer else shape
        for layer, shape in layers.items()
    }


ADAPTERS = pytest.mark.parametrize("make", [low_rank, lycoris, kronecker, generalized, difference])


@ADAPTERS
def test_a_file_of_a_wider_model_is_refused(base: ModelPatcher, layers: Layers, save: Save, make: Make) -> None:
    attention = {layer: Size(4 * n for n in shape) for layer, shape in layers.items() if "to_" in layer}
    with pytest.raises(LoraMismatchError, match="was made for .*: (\\d+) of its \\1 layers do not fit this model"):
        merge_lora(base, None, save(of_layers(attention, make)), 1.0)
    assert not base.patches


@ADAPTERS
@pytest.mark.parametrize(
    ("context", "model"),
    [(768, "SD1.5"), (1024, "SD2"), (2048, "SDXL"), (96, "a model with a text encoder of width 96")],
)
def test_the_width_of_its_prompt_tells_which_model_a_file_was_made_for(
    base: ModelPatcher, layers: Layers, save: Save, make: Make, context: int, model: str
) -> None:
    """SD2's UNet differs from SD1.5's in nothing else: most layers of its LoRAs fit."""
    if make is generalized:
        model = "another model"  # ComfyUI multiplies the weight first, and the shape of the whole is not known
    attention = {layer: shape for layer, shape in wider(layers, context).items() if "to_" in layer}
    with pytest.raises(LoraMismatchError, match=f"was made for {re.escape(model)}: 32 of its 128 layers do not fit"):
        merge_lora(base, None, save(of_layers(attention, make)), 1.0)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_up.weight", "SDXL"),
        ("lora_unet_input_blocks_8_1_transformer_blocks_9_attn1_to_k.lora_up.weight", "SDXL"),
        ("transformer.single_transformer_blocks.0.attn.to_k.lora_A.weight", "Flux or a relative of it"),
        ("lora_unet_double_blocks_0_img_attn_proj.lora_up.weight", "Flux or a relative of it"),
        ("transformer.transformer_blocks.0.attn.to_k.lora_A.weight", "a transformer such as Flux or Wan"),
        ("diffusion_model.blocks.0.self_attn.q.lora_A.weight", "a transformer such as Flux or Wan"),
        ("base_model.model.layers.0.self_attn.q_proj.lora_A.weight", "another model"),
    ],
)
def test_names_tell_which_model_a_file_was_made_for(base: ModelPatcher, save: Save, name: str, model: str) -> None:
    names = [name, f"{kohya('strange')}.lora_up.weight"]
    pairs = [*names, *(name.replace("lora_up", "lora_down").replace("lora_A", "lora_B") for name in names)]
    with pytest.raises(LoraMismatchError) as refused:
        merge_lora(base, None, save({name: numbers(2, 2) for name in pairs}), 1.0)
    message = str(refused.value)
    assert re.search(
        rf"'x.safetensors' was made for {model}: (\d) of its \1 layers do not fit this model \(it", message
    )
    assert message.endswith("Choose one that was made for this model.")


def test_a_file_whose_matrices_do_not_fit_each_other_is_refused(base: ModelPatcher, layers: Layers, save: Save) -> None:
    with pytest.raises(LoraMismatchError, match="cannot be put together from the file's"):
        merge_lora(base, None, save(of_layers(layers, two_ranks)), 1.0)


def test_a_matrix_without_its_partner_is_refused(base: ModelPatcher, save: Save) -> None:
    tensors = of_layers({TO_K: Size((64, CONTEXT))})
    del tensors[f"{kohya(TO_K)}.lora_down.weight"]
    with pytest.raises(ModelFileError, match=f"is damaged: it lacks {kohya(TO_K)}.lora_down.weight. Expected a LoRA"):
        merge_lora(base, None, save(tensors), 1.0)


# The text encoder

TE_LAYER = "lora_te_text_model_encoder_layers_0_mlp_fc1"
TE_WEIGHT = "clip_l.transformer.text_model.encoder.layers.0.mlp.fc1.weight"


@pytest.fixture(scope="module")
def clip() -> comfy.sd.CLIP:
    register_mini()
    checkpoint = PACK_MODELS / "checkpoints" / "animatelcm_mini_synthetic.safetensors"
    return comfy.sd.load_checkpoint_guess_config(str(checkpoint), output_vae=False, output_model=False)[1]


def for_text_encoder(width: int) -> dict[str, Tensor]:
    return {f"{TE_LAYER}.{part}": value for part, value in low_rank(Size((2 * width, width))).items()}


@pytest.mark.parametrize("name", [TE_LAYER, "base_model.model.text_model.encoder.layers.0.mlp.fc1"])
def test_its_layers_are_merged_where_one_is_connected(
    base: ModelPatcher, clip: comfy.sd.CLIP, layers: Layers, save: Save, name: str
) -> None:
    text = {
        key.replace(TE_LAYER, name).replace("lora_up", "lora_B").replace("lora_down", "lora_A"): value
        for key, value in for_text_encoder(64).items()
    }
    model, patched = merge_lora(base, clip, save({**of_layers(layers), **text}), 1.0)
    assert len(model.patches) == len(layers)
    assert list(patched.patcher.patches) == [TE_WEIGHT]
    assert not clip.patcher.patches


def test_its_layers_are_no_misfits_where_none_is_connected(
    base: ModelPatcher, layers: Layers, save: Save, caplog: pytest.LogCaptureFixture
) -> None:
    model, patched = merge_lora(base, None, save({**of_layers(layers), **for_text_encoder(64)}), 1.0)
    assert patched is None
    assert len(model.patches) == len(layers)
    assert "in part" not in caplog.text


def test_a_file_for_it_alone_says_that_it_is_missing(base: ModelPatcher, save: Save) -> None:
    with pytest.raises(LoraMismatchError, match="changes the text encoder only, and none is connected. Connect 'clip'"):
        merge_lora(base, None, save(for_text_encoder(64)), 1.0)


def test_a_wider_text_encoders_layers_do_not_fit(base: ModelPatcher, clip: comfy.sd.CLIP, save: Save) -> None:
    with pytest.raises(LoraMismatchError, match=f"{TE_WEIGHT} has the shape"):
        merge_lora(base, clip, save(for_text_encoder(96)), 1.0)
