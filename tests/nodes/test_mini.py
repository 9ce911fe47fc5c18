"""The mini family's checkpoint in real ComfyUI: recognised, loaded whole, and equal to what was trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from animatelcm.distill.ldm import controlnet_key, text_key, unet_key
from animatelcm.distill.lora import Lora
from animatelcm.distill.mini.autoencoder import build_autoencoder, decode, encode
from animatelcm.distill.mini.export import write
from animatelcm.distill.mini.stages import build_base
from animatelcm.distill.mini.text import encode_text
from animatelcm.distill.mini.unet import build_controlnet, predict_noise
from animatelcm.files.refusal import ModelFileError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..relative_error import relative_error

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

ROOT = Path(__file__).resolve().parents[2]
PROMPTS = ["a large red circle moving right on a blue background", "", "gibberish, and a green square"]


@pytest.fixture(scope="module")
def base() -> nn.ModuleDict:
    """The image model as it is before training, rounded to what the file can hold."""
    return build_base().half().float().eval()


@pytest.fixture(scope="module")
def autoencoder() -> nn.Module:
    return build_autoencoder().half().float()


@pytest.fixture(scope="module")
def loaded(base: nn.ModuleDict, autoencoder: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    """MODEL, CLIP and VAE, as CheckpointLoaderSimple makes them of the exported file."""
    import comfy.sd
    from animatelcm.distill.mini.export import checkpoint_weights
    from animatelcm.nodes.mini import register_mini

    register_mini()
    path = write(tmp_path_factory.mktemp("mini") / "mini.safetensors", checkpoint_weights(base, autoencoder))
    return comfy.sd.load_checkpoint_guess_config(str(path))[:3]


TABLE = "cond_stage_model.transformer.text_model.embeddings.token_embedding."
Weights = dict[str, Tensor]


def with_map(change: Callable[[Tensor], Tensor]) -> Callable[[Weights], Weights]:
    return lambda weights: weights | {f"{TABLE}token_map": change(weights[f"{TABLE}token_map"])}


VOCABULARIES: dict[str, tuple[Callable[[Weights], Weights], str]] = {
    "a word beyond the table": (with_map(lambda m: m.index_fill(0, torch.tensor(320), 128)), "beyond its table"),
    "a word before the table": (with_map(lambda m: m.index_fill(0, torch.tensor(320), -1)), "beyond its table"),
    "words that are no numbers": (with_map(lambda m: m.float().fill_(torch.nan)), "beyond its table of 128 rows"),
    "fewer words": (with_map(lambda m: m[:77]), r"shape \(77,\), not \(49408,\)"),
    "no words": (lambda weights: {k: w for k, w in weights.items() if "token_map" not in k}, "has no token map"),
    "a smaller table": (lambda w: w | {f"{TABLE}weight": torch.zeros(100, 64)}, r"shape \(100, 64\), not \(128, 64\)"),
}


@pytest.mark.parametrize("case", VOCABULARIES)
def test_a_vocabulary_that_does_not_fit_is_refused_at_loading(case: str, tmp_path: Path) -> None:
    import comfy.sd
    from animatelcm.nodes.mini import register_mini

    register_mini()
    change, message = VOCABULARIES[case]
    weights = load_file(ROOT / "models" / "checkpoints" / "animatelcm_mini_synthetic.safetensors")
    save_file(change(weights), tmp_path / "mini.safetensors")
    with pytest.raises(ModelFileError, match=f"(?s)mini family.*{message}.*Take models/checkpoints"):
        comfy.sd.load_checkpoint_guess_config(str(tmp_path / "mini.safetensors"))


def weights_of(patcher: ModelPatcher) -> Mapping[str, Tensor]:
    return patcher.model.state_dict()


def test_registering_twice_adds_one_class() -> None:
    import comfy.supported_models
    from animatelcm.nodes.mini import AnimateLCMMini, register_mini

    register_mini()
    register_mini()
    assert [m.__name__ for m in comfy.supported_models.models].count(AnimateLCMMini.__name__) == 1


def test_sd15_is_still_sd15() -> None:
    import comfy.supported_models
    from animatelcm.nodes.mini import register_mini

    register_mini()
    config = comfy.supported_models.SD15.unet_config
    assert next(m for m in comfy.supported_models.models if m.matches(config)) is comfy.supported_models.SD15


def test_every_weight_of_the_unet_arrives(base: nn.ModuleDict, loaded: tuple[Any, ...]) -> None:
    arrived = weights_of(loaded[0])
    for key, value in base["unet"].state_dict().items():
        name = unet_key(key).removeprefix("model.")
        assert torch.equal(arrived[name].float(), value), name


@torch.no_grad()
@pytest.mark.parametrize("prompt", PROMPTS)
def test_text_embeddings_equal_training(prompt: str, base: nn.ModuleDict, loaded: tuple[Any, ...]) -> None:
    clip = loaded[1]
    embedding = clip.encode_from_tokens(clip.tokenize(prompt))
    assert relative_error(embedding, encode_text(base["text"], [prompt])) < 1e-4


def test_prompt_weights_change_the_embedding(loaded: tuple[Any, ...]) -> None:
    clip = loaded[1]
    plain, stressed = (clip.encode_from_tokens(clip.tokenize(f"a {red} circle")) for red in ("red", "(red:1.4)"))
    assert relative_error(plain, stressed) > 1e-3


@torch.no_grad()
def test_the_unet_predicts_as_in_training(base: nn.ModuleDict, loaded: tuple[Any, ...]) -> None:
    import comfy.model_management

    comfy.model_management.load_models_gpu([loaded[0]])
    x, context, t = torch.randn(2, 4, 8, 8), torch.randn(2, 77, 64), torch.tensor([999, 20])
    network = loaded[0].model.diffusion_model
    predicted = network(x.to(network.dtype), t, context.to(network.dtype)).float()
    assert relative_error(predicted, predict_noise(base["unet"], x, t, context)) < 1e-4


@torch.no_grad()
def test_the_vae_encodes_and_decodes_as_in_training(autoencoder: nn.Module, loaded: tuple[Any, ...]) -> None:
    vae, image = loaded[2], torch.rand(1, 64, 64, 3)
    latents = vae.encode(image)
    ours = encode(autoencoder, image.permute(0, 3, 1, 2))
    assert relative_error(latents * 0.18215, ours) < 1e-3
    assert relative_error(vae.decode(latents).permute(0, 3, 1, 2), decode(autoencoder, ours)) < 1e-3


def test_every_weight_of_a_lora_is_consumed(base: nn.ModuleDict, loaded: tuple[Any, ...]) -> None:
    import comfy.lora

    lora = Lora(base["unet"], rank=4)
    keys = comfy.lora.model_lora_keys_unet(loaded[0].model, {})
    patches = comfy.lora.load_lora(lora.published(), keys)
    assert len(patches) == len(lora.layers)


@torch.no_grad()
def test_a_controlnet_answers_as_in_training(base: nn.ModuleDict, tmp_path: Path) -> None:
    import comfy.controlnet
    from animatelcm.nodes.mini import register_mini

    register_mini()
    trained = build_controlnet(base["unet"])
    for parameter in trained.parameters():
        parameter.copy_((parameter if parameter.any() else 0.05 * torch.randn_like(parameter)).half())
    path = write(tmp_path / "layout.safetensors", {controlnet_key(k): v for k, v in trained.state_dict().items()})
    loaded = comfy.controlnet.load_controlnet(str(path)).control_model.float()
    x, context, t, hint = (
        torch.randn(2, 4, 8, 8),
        torch.randn(2, 77, 64),
        torch.tensor([999, 20]),
        torch.rand(2, 3, 64, 64),
    )
    down, middle = trained(x, t, context, hint, return_dict=False)
    answer = loaded(x=x, hint=hint, timesteps=t, context=context)
    for found, expected in zip((*answer["output"], *answer["middle"]), (*down, middle), strict=True):
        assert expected.abs().mean() > 1e-3
        assert relative_error(found, expected) < 1e-4


def test_text_keys_are_clips() -> None:
    assert text_key("text_model.final_layer_norm.weight") == (
        "cond_stage_model.transformer.text_model.final_layer_norm.weight"
    )
