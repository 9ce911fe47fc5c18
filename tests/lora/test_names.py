"""Names of tensors: which layer they are for, whoever trained them."""

import pytest
from animatelcm.lora.names import is_for_text_encoder, known_name, layer_of

UNET = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0"
KOHYA = f"lora_unet_{UNET.replace('.', '_')}"
TEXT = "text_model.encoder.layers.0.self_attn.q_proj"


@pytest.mark.parametrize(
    ("name", "known"),
    [
        (f"base_model.model.{UNET}.lora_A.weight", f"{KOHYA}.lora_A.weight"),
        (f"base_model.model.{UNET}.lora_B.default.weight", f"{KOHYA}.lora_B.default.weight"),
        (f"base_model.model.{UNET}.hada_w1_a", f"{KOHYA}.hada_w1_a"),
        (f"base_model.model.unet.{UNET}.lora_A.weight", f"{KOHYA}.lora_A.weight"),
        (f"base_model.model.{TEXT}.lora_A.weight", f"text_encoder.{TEXT}.lora_A.weight"),
        (f"base_model.model.text_encoder.{TEXT}.lora_A.weight", f"text_encoder.{TEXT}.lora_A.weight"),
        (f"unet.{UNET}.lora.down.weight", f"{KOHYA}.lora.down.weight"),
    ],
)
def test_peft_and_diffusers_names_become_comfyuis(name: str, known: str) -> None:
    assert known_name(name) == known


@pytest.mark.parametrize(
    "name",
    [
        f"{KOHYA}.lora_up.weight",
        f"{KOHYA}.alpha",
        "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.up.weight",
        "diffusion_model.input_blocks.1.1.proj_in.lora_A.weight",
        f"text_encoder.{TEXT}.lora_linear_layer.up.weight",
        "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight",
    ],
)
def test_names_that_comfyui_knows_stay(name: str) -> None:
    assert known_name(name) == name


@pytest.mark.parametrize(
    "part",
    [
        *("lora_up.weight", "lora_down.weight", "lora_mid.weight", "alpha", "dora_scale", "reshape_weight"),
        *("lora_A.weight", "lora_B.default.weight", "lora.up.weight", "lora_linear_layer.down.weight"),
        *("hada_w1_a", "hada_t2", "lokr_w1", "lokr_w2_b", "oft_blocks", "rescale", "a1.weight", "b2.weight"),
        *("diff", "diff_b", "w_norm", "b_norm", "set_weight"),
    ],
)
@pytest.mark.parametrize("layer", [KOHYA, f"unet.{UNET}", "diffusion_model.input_blocks.1.1.proj_in"])
def test_all_tensors_of_a_layer_have_its_name(layer: str, part: str) -> None:
    assert layer_of(f"{layer}.{part}") == layer


def test_the_layer_of_diffusers_first_names() -> None:
    assert layer_of("unet.mid_block.attn1.processor.to_q_lora.up.weight") == "unet.mid_block.attn1.processor.to_q"


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        ("lora_te_text_model_encoder_layers_0_mlp_fc1", True),
        ("lora_te1_text_model_encoder_layers_0_mlp_fc1", True),
        (f"text_encoder.{TEXT}", True),
        ("text_encoders.clip_l.transformer.x", True),
        (TEXT, True),
        (KOHYA, False),
        (UNET, False),
        ("lora_unet_te_mlp", False),
    ],
)
def test_layers_of_a_text_encoder(layer: str, text: bool) -> None:
    assert is_for_text_encoder(layer) == text
