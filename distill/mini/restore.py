"""The reverse of `export`: the stages' results from the family's files, to train a stage without those before it."""

from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn

from ...motion.checkpoint import read_motion_module
from ...motion.grammar import OUR_ENCODER
from ..ldm import controlnet_key, text_key, unet_key, vae_key
from ..lora import Lora
from .autoencoder import build_autoencoder
from .export import FILES, MODELS, file_of
from .stages import build_base
from .train import save
from .unet import build_controlnet, build_unet

CHECKPOINTS = ("base", "personalized")
MOTION_MODULES = ("motion", "lcm_video")


def restore(run: Path, models: Path = MODELS) -> None:
    """Write the result of each stage whose file is there, but none that the run has of its own."""
    if file_of("base", models).exists():
        _keep(run, "vae", _network(build_autoencoder(), load_file(file_of("base", models)), vae_key))
    for stage in FILES:
        if file_of(stage, models).exists():
            _keep(run, stage, _result(stage, file_of(stage, models)))


def _keep(run: Path, stage: str, result: Mapping[str, Tensor]) -> None:
    if not (run / f"{stage}.pt").exists():
        save(run / f"{stage}.pt", result)


def _result(stage: str, path: Path) -> Mapping[str, Tensor]:
    if stage in CHECKPOINTS:
        return _network(build_base(), load_file(path), _base_key)
    if stage in MOTION_MODULES:
        return {key: weight.float() for key, weight in read_motion_module(path).state_dict.items()}
    if stage == "image_encoder":
        weights = read_motion_module(path).state_dict
        return {k.removeprefix(OUR_ENCODER): w.float() for k, w in weights.items() if k.startswith(OUR_ENCODER)}
    if stage == "layout":
        return _network(build_controlnet(build_unet()), load_file(path), controlnet_key)
    return _lora(load_file(path))


def _lora(published: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    lora = Lora(build_unet(), max(len(w) for name, w in published.items() if name.endswith(".lora_down.weight")))
    lora.load_published(published)
    return lora.state_dict()


def _network(network: nn.Module, published: Mapping[str, Tensor], name: Callable[[str], str]) -> dict[str, Tensor]:
    """The network's weights under its own names; what the file has beyond their shapes is the padding of `widen`."""
    return {
        key: published[name(key)][tuple(slice(n) for n in weight.shape)].to(weight.dtype)
        for key, weight in network.state_dict().items()
    }


def _base_key(key: str) -> str:
    part, _, rest = key.partition(".")
    return {"unet": unet_key, "text": text_key}[part](rest)
