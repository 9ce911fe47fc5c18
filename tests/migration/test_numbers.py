"""Numbers stay: latents of moved graphs are those of a second implementation of what AnimateDiff-Evolved computes.

The image model and the motion module are diffusers' here; schedules, guidance, windows, their weights and the samplers
are written down again, in float64, from ADE's and ComfyUI's definitions.
"""

import asyncio
import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import comfy.k_diffusion.sampling
import comfy.model_management
import comfy.supported_models
import folder_paths
import pytest
import safetensors.torch
import torch
from animatelcm.migration.move import move
from animatelcm.nodes.extension import AnimateLCMExtension
from comfy.model_patcher import ModelPatcher
from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete
from diffusers import MotionAdapter, UNet2DConditionModel, UNetMotionModel
from torch import Tensor, nn

import nodes as comfy_nodes

from ..motion.conftest import normalized_per_frame
from ..motion.diffusers_model import SIZE, comfy_model, diffusers_adapter, diffusers_unet
from ..nodes.conftest import UNET
from .build import Json
from .workflows import SQRT_LINEAR, Recipe, built

FRAMES, SIDE, SEED, CFG = 4, SIZE, 7, 1.5
MODULE, LORA = "AnimateLCM_of_the_tests.safetensors", "v2_lora_ZoomIn.ckpt"
POSITIVE, NEGATIVE = torch.randn(2, 1, 77, UNET["context_dim"], generator=torch.Generator().manual_seed(2)).unbind()


@dataclass(frozen=True)
class Theirs:
    """What a workflow asks of AnimateDiff-Evolved."""

    spacing: str
    original_steps: int = 1000
    sampler: str = "lcm"
    scheduler: str = "sgm_uniform"
    steps: int = 3
    effect: float = 1.0
    scale: float = 1.0
    motion_lora: float = 0.0
    grouped: bool = False
    windows: list[list[int]] = field(default_factory=lambda: [list(range(FRAMES))])
    weights: str = "pyramid"


# The second implementation


def noise_levels(spacing: str) -> Tensor:
    """Sigmas of all 1000 timesteps."""
    if spacing == "average":
        return (noise_levels("linear") + noise_levels("sqrt_linear")) / 2
    start, end = 0.00085, 0.012
    if spacing == "sqrt_linear":
        betas = torch.linspace(start, end, 1000, dtype=torch.float64)
    else:
        betas = torch.linspace(start**0.5, end**0.5, 1000, dtype=torch.float64) ** 2
    share = torch.cumprod(1 - betas, 0)
    return ((1 - share) / share).sqrt()


class Levels:
    """Timesteps that a model knows, and their noise levels."""

    def __init__(self, spacing: str, known: int) -> None:
        self.stride = 1000 // known
        self.sigmas = noise_levels(spacing)[self.stride - 1 :: self.stride]
        self.distilled = known < 1000

    def timestep(self, sigma: Tensor) -> int:
        nearest = (self.sigmas.log() - sigma.log()).abs().argmin()
        return int(nearest) * self.stride + self.stride - 1

    def sigma(self, timestep: float) -> Tensor:
        place = min(max((timestep - self.stride + 1) / self.stride, 0), len(self.sigmas) - 1)
        low, share = int(place), place - int(place)
        high = min(low + 1, len(self.sigmas) - 1)
        return ((1 - share) * self.sigmas[low].log() + share * self.sigmas[high].log()).exp()

    def of_steps(self, scheduler: str, steps: int) -> list[Tensor]:
        """The noise levels of a sample, and 0: timesteps at equal distances, without the last one ("sgm_uniform")."""
        first, last = self.timestep(self.sigmas[-1]), self.timestep(self.sigmas[0])
        count = steps if scheduler == "sgm_uniform" else steps - 1
        timesteps = [first + (last - first) * i / count for i in range(steps)]
        return [*map(self.sigma, timesteps), torch.tensor(0.0, dtype=torch.float64)]


def their_latents(unet: UNetMotionModel, theirs: Theirs) -> Tensor:
    """Latents, (frames, 4, height, width), as the model sees them."""
    levels = Levels(theirs.spacing, theirs.original_steps)
    sigmas = levels.of_steps(theirs.scheduler, theirs.steps)
    frames = 1 + max(frame for window in theirs.windows for frame in window)
    noise = torch.randn(frames, 4, SIDE, SIDE, generator=torch.manual_seed(SEED))
    steps_noise = comfy.k_diffusion.sampling.default_noise_sampler(noise, seed=SEED)
    x = noise.double() * (1 + sigmas[0] ** 2).sqrt()
    for sigma, lower in itertools.pairwise(sigmas):
        denoised = guided(unet, levels, x, sigma, theirs)
        if theirs.sampler == "lcm":
            x = denoised + (lower * steps_noise(sigma, lower).double() if lower > 0 else 0)
        else:
            x = x + (x - denoised) / sigma * (lower - sigma)
    return x


def guided(unet: UNetMotionModel, levels: Levels, x: Tensor, sigma: Tensor, theirs: Theirs) -> Tensor:
    positive, negative = (fused(unet, levels, x, sigma, text, theirs) for text in (POSITIVE, NEGATIVE))
    return negative + CFG * (positive - negative)


def fused(unet: UNetMotionModel, levels: Levels, x: Tensor, sigma: Tensor, text: Tensor, theirs: Theirs) -> Tensor:
    """What the model makes of a clip, window by window."""
    total, count = torch.zeros_like(x), torch.zeros(len(x), 1, 1, 1, dtype=torch.float64)
    for window in theirs.windows:
        length = len(window)
        tent = [min(i + 1, length - i) if theirs.weights == "pyramid" else 1 for i in range(length)]
        weights = torch.tensor(tent, dtype=torch.float64)[:, None, None, None]
        total[window] += weights * denoised(unet, levels, x[window], sigma, text)
        count[window] += weights
    return total / count


def denoised(unet: UNetMotionModel, levels: Levels, x: Tensor, sigma: Tensor, text: Tensor) -> Tensor:
    timestep = levels.timestep(sigma)
    seen = (x / (1 + sigma**2).sqrt()).float().movedim(0, 1)[None]
    noise = unet(seen, timestep, text.expand(x.shape[0], -1, -1)).sample[0].movedim(1, 0).double()
    x0 = x - sigma * noise
    if not levels.distilled:
        return x0
    scaled = 10.0 * timestep
    return 0.25 / (scaled**2 + 0.25) * x + scaled / (scaled**2 + 0.25) ** 0.5 * x0


# Ours: the moved graph, node by node


@pytest.fixture(scope="module")
def unet() -> UNet2DConditionModel:
    return diffusers_unet()


@pytest.fixture(scope="module")
def adapter() -> MotionAdapter:
    return diffusers_adapter()


@pytest.fixture(scope="module")
def checkpoint(unet: UNet2DConditionModel) -> ModelPatcher:
    return comfy_model(unet)


@pytest.fixture(scope="module")
def lora(adapter: MotionAdapter) -> dict[str, Tensor]:
    """What a motion LoRA adds to weights of the motion module at strength 1, as pairs (up, down) of rank 2."""
    generator = torch.Generator().manual_seed(9)
    names = [name for name in adapter.state_dict() if ".attn" in name and name.endswith(".weight")]
    pairs = {}
    for name in names:
        width = len(adapter.state_dict()[name])
        pairs[name] = 0.3 * torch.randn(2, width, 2, generator=generator) / width**0.5
    return pairs


@pytest.fixture(scope="module", autouse=True)
def files(adapter: MotionAdapter, lora: dict[str, Tensor]) -> Iterator[None]:
    """The motion module as diffusers saves it, and the motion LoRA as AnimateDiff publishes them."""
    models = Path(folder_paths.models_dir)
    module, motion_lora = models / "animatediff_models" / MODULE, models / "animatediff_motion_lora" / LORA
    for path in (module, motion_lora):
        path.parent.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(adapter.state_dict(), module)
    parts = {published(name, "up"): up for name, (up, _) in lora.items()}
    parts |= {published(name, "down"): down.T for name, (_, down) in lora.items()}
    torch.save({"state_dict": {key: part.contiguous() for key, part in parts.items()}}, motion_lora)
    yield
    module.unlink()
    motion_lora.unlink()


def published(name: str, part: str) -> str:
    """The name of a part of a motion LoRA's layer in AnimateDiff's files."""
    place, layer = name.split(".transformer_blocks.0.attn")
    number, layer = layer.removesuffix(".weight").removesuffix(".0").split(".")
    block = f"{place}.temporal_transformer.transformer_blocks.0.attention_blocks.{int(number) - 1}"
    return f"{block}.processor.{layer}_lora.{part}.weight"


NODES = {node.GET_SCHEMA().node_id: node for node in asyncio.run(AnimateLCMExtension().get_node_list())}
COMFYS = {**comfy_nodes.NODE_CLASS_MAPPINGS, "ModelSamplingDiscrete": ModelSamplingDiscrete}


def outputs_of(prompt: Json, id: str, ready: dict[str, Any]) -> Any:
    """Run a graph up to a node, and return the node's outputs."""
    if id not in ready:
        node = prompt[id]
        inputs = {
            name: outputs_of(prompt, value[0], ready)[value[1]] if isinstance(value, list) else value
            for name, value in node["inputs"].items()
        }
        if node["class_type"] in NODES:
            ready[id] = NODES[node["class_type"]].execute(**inputs).result
        else:
            kind = COMFYS[node["class_type"]]
            ready[id] = getattr(kind(), kind.FUNCTION)(**inputs)
    return ready[id]


def our_latents(recipe: Recipe, checkpoint: ModelPatcher, theirs: Theirs) -> Tensor:
    """Latents of the moved graph, as the model sees them."""
    prompt = move(built(recipe).api()).document
    assert not [node for node in prompt.values() if node["class_type"].startswith("ADE_")]
    by_type = {node["class_type"]: id for id, node in prompt.items()}
    texts = [id for id, node in prompt.items() if node["class_type"] == "CLIPTextEncode"]
    prompt[by_type["KSampler"]]["inputs"] |= {"sampler_name": theirs.sampler, "scheduler": theirs.scheduler}
    prompt[by_type["EmptyLatentImage"]]["inputs"] |= {"width": 8 * SIDE, "height": 8 * SIDE}
    ready = {by_type["CheckpointLoaderSimple"]: (checkpoint, None, None)}
    ready |= {id: ([[text, {}]],) for id, text in zip(texts, (POSITIVE, NEGATIVE), strict=True)}
    (latent,) = outputs_of(prompt, by_type["KSampler"], ready)
    return checkpoint.model.latent_format.process_in(latent["samples"]).double()


class OverFrames(nn.Module):
    """A GroupNorm over all frames of the one clip that diffusers' UNet is called with."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 5:  # (1, channels, frames, height, width), as its motion blocks have it
            return self.norm(x)
        return self.norm(x.movedim(0, 1)[None])[0].movedim(1, 0)


def normed_over_frames(unet: UNetMotionModel) -> UNetMotionModel:
    """The UNet, all of whose GroupNorms are `OverFrames`: what ADE makes of all of them during a call."""
    for module in list(unet.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.GroupNorm):
                setattr(module, name, OverFrames(child))
    return unet


def recipe(**parts: Any) -> Recipe:
    return Recipe(module=MODULE, lora=None, **{"loader": "gen2", "context": None, "frames": FRAMES, "steps": 3} | parts)


WINDOWS = {"frames": 6, "context": "static", "context_options": (("context_length", 4), ("context_overlap", 1))}
STATIC = [[0, 1, 2, 3], [2, 3, 4, 5]]
IMPROPER = {"loader": "context", "loader_options": (("apply_v2_models_properly", False),)}
CASES = {
    "lcm": (recipe(schedule="lcm"), Theirs("linear", 50)),
    "autoselect, normal": (recipe(schedule="autoselect"), Theirs("linear", 50, scheduler="normal")),
    "lcm[100_ots]": (recipe(schedule="lcm[100_ots]"), Theirs("linear", 100)),
    "lcm >> sqrt_linear": (recipe(schedule="lcm >> sqrt_linear"), Theirs("sqrt_linear", 50)),
    "lcm avg": (recipe(schedule="lcm avg(sqrt_linear,linear)"), Theirs("average", 50)),
    "sqrt_linear": (recipe(schedule=SQRT_LINEAR), Theirs("sqrt_linear", sampler="euler", scheduler="normal")),
    "ModelSamplingDiscrete behind it": (recipe(schedule=SQRT_LINEAR, discrete="after"), Theirs("linear", 50)),
    "effect": (recipe(schedule="lcm", effect=1.3), Theirs("linear", 50, effect=1.3)),
    "scale": (recipe(schedule="lcm", scale=1.2), Theirs("linear", 50, scale=1.2)),
    "motion LoRA": (recipe(schedule="lcm", motion_lora=0.7), Theirs("linear", 50, motion_lora=0.7)),
    "GroupNorm over all frames": (recipe(schedule="lcm", **IMPROPER), Theirs("linear", 50, grouped=True)),
    "GroupNorm over all frames of a window": (
        recipe(schedule="lcm", **WINDOWS | IMPROPER),
        Theirs("linear", 50, windows=STATIC, grouped=True),
    ),
    "fixed windows": (
        recipe(schedule="lcm", **WINDOWS),
        Theirs("linear", 50, windows=STATIC),
    ),
    "flat weights, sqrt_linear, effect": (
        recipe(
            loader="gen1",
            schedule=SQRT_LINEAR,
            effect=0.7,
            **WINDOWS | {"context_options": (*WINDOWS["context_options"], ("fuse_method", "flat"))},
        ),
        Theirs("sqrt_linear", sampler="euler", effect=0.7, windows=STATIC, weights="flat"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_latents_are_those_of_a_second_implementation(
    name: str,
    unet: UNet2DConditionModel,
    adapter: MotionAdapter,
    lora: dict[str, Tensor],
    checkpoint: ModelPatcher,
) -> None:
    given, theirs = CASES[name]
    normed = normed_over_frames if theirs.grouped else normalized_per_frame
    animated = normed(UNetMotionModel.from_unet2d(copy.deepcopy(unet), copy.deepcopy(adapter)))
    assert lora.keys() <= dict(animated.named_parameters()).keys()
    with torch.no_grad():
        for key, weight in animated.named_parameters():
            if key in lora:
                weight.add_(theirs.motion_lora * lora[key][0] @ lora[key][1].T)
            if "motion_modules" in key and "proj_out" in key:
                weight.mul_(theirs.effect)
            if "motion_modules" in key and ".to_k." in key:
                weight.mul_(theirs.scale)
        expected = their_latents(animated, theirs)
        ours = our_latents(given, checkpoint, theirs)
    assert ((ours - expected).norm() / expected.norm()).item() <= 1e-3
