"""What training on SD1.5 takes: memory and arithmetic of each shipped configuration, from shapes alone.

Two steps of each run on tensors without content, so that it needs neither weights nor a GPU. Time is that of the
arithmetic at a share of a card's peak, without reading the data. `image_encoder` asks for values, and is left out.

    python dev.py benchmark training_cost
"""

import argparse
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from _full_size import CONTEXT, LATENT_CHANNELS
from _pack import import_pack
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.weak import WeakIdKeyDictionary
from tqdm import tqdm
from transformers import CLIPTextConfig, CLIPTextModel

import_pack()

from animatelcm.distill.lora import Lora  # noqa: E402 - needs the name above
from animatelcm.distill.mini.text import tokenizer  # noqa: E402 - likewise
from animatelcm.distill.places import freeze  # noqa: E402 - likewise
from animatelcm.distill.sd15.base import Base  # noqa: E402 - likewise
from animatelcm.distill.sd15.config import EXAMPLES, Config, read_config  # noqa: E402 - likewise
from animatelcm.distill.sd15.data import Batch  # noqa: E402 - likewise
from animatelcm.distill.sd15.stages import STAGES, Given, Stage  # noqa: E402 - likewise
from animatelcm.motion.config import MotionConfig  # noqa: E402 - likewise
from animatelcm.motion.transformer import MotionModule  # noqa: E402 - likewise

WIDTHS = (320, 640, 1280, 1280)
VAE_BLOCKS = 4
GIB = 2**30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peak", type=float, default=312, help="TFLOP/s of one card in bf16 (312: A100)")
    parser.add_argument("--share", type=float, default=0.35, help="share of the peak that is reached")
    parser.add_argument("--cards", type=int, default=8)
    arguments = parser.parse_args()
    print(f"| configuration | trained, M | rows | GiB | TFLOP a step | hours on {arguments.cards} cards |")
    print("|" + " --- |" * 6)
    with Shapes():
        for path in tqdm([EXAMPLES / f"{name}.toml" for name in STAGES if name != "image_encoder"], leave=False):
            print(row(path, arguments), flush=True)


def row(path: Path, arguments: argparse.Namespace) -> str:
    config = read_config(path)
    stage = build(config)
    memory, flops = measured(stage, config)
    trained = sum(parameter.numel() for parameter in stage.trains.parameters())
    hours = config.training.steps * flops / (arguments.peak * 1e12 * arguments.share) / 3600
    cells = [f"{trained / 1e6:.0f}", f"{config.training.batch}", f"{memory / GIB:.0f}", f"{flops / 1e12:.0f}"]
    return f"| {path.stem} | {' | '.join(cells)} | {hours:.1f} |"


def build(config: Config) -> Stage:
    """A stage of SD1.5's size."""
    needs_motion, needs_lora = config.networks.motion is not None, config.networks.lora is not None
    with frozen_precision():
        base = build_base(config.training.gradient_checkpointing)
        lora = freeze(Lora(base.unet, rank=64)) if needs_lora else None
        motion = build_motion() if needs_motion else None
    stage = STAGES[config.stage](Given(base, build_motion() if needs_motion else None, lora), config)
    stage.given = Given(base, motion, lora)
    return stage


@contextmanager
def frozen_precision() -> Iterator[None]:
    """What is frozen is in 16 bits. Tensors without content cannot be converted afterwards."""
    torch.set_default_dtype(torch.bfloat16)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def build_base(gradient_checkpointing: bool) -> Base:
    return Base(
        UNet2DConditionModel(sample_size=64, block_out_channels=WIDTHS, cross_attention_dim=CONTEXT[1]),
        AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * VAE_BLOCKS,
            up_block_types=("UpDecoderBlock2D",) * VAE_BLOCKS,
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            latent_channels=LATENT_CHANNELS,
        ),
        CLIPTextModel(
            CLIPTextConfig(hidden_size=CONTEXT[1], intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
        ),
        tokenizer(),
        gradient_checkpointing,
    )


def build_motion() -> MotionModule:
    return freeze(MotionModule(MotionConfig(WIDTHS, WIDTHS[::-1], WIDTHS[-1])))


def measured(stage: Stage, config: Config) -> tuple[int, int]:
    """Bytes at the peak of the second step, when the optimizer has its moments, and FLOP of one step."""
    optimizer = torch.optim.AdamW(stage.trains.parameters())
    data, rows, counter = config.data, config.training.batch, FlopCounterMode(display=False)
    with Memory() as memory:
        memory.count(networks(stage))
        for step in range(2):
            pixels = torch.empty(rows, stage.frames, 3, data.height, data.width)
            with counter, torch.autocast("cpu", torch.bfloat16):
                loss = stage(Batch(pixels, ["a prompt"] * rows), step)
                loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return memory.peak, counter.get_total_flops()  # begun anew by each step


def networks(stage: Stage) -> list[torch.Tensor]:
    given, base = stage.given, stage.base
    modules = [stage, base.unet, base.vae, base.text, given.motion, given.lora]
    return [parameter for module in modules if module is not None for parameter in module.parameters()]


class Shapes(FakeTensorMode):
    """Tensors without content; copies of a module's are of the same mode."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "Shapes":
        return self


class Memory(TorchDispatchMode):
    """Counts the bytes of all storages that are alive, and keeps the peak."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.known: WeakIdKeyDictionary = WeakIdKeyDictionary()

    def count(self, content: Any) -> None:
        for tensor in tree_leaves(content):
            if isinstance(tensor, torch.Tensor) and (storage := tensor.untyped_storage()) not in self.known:
                self.known[storage] = size = storage.nbytes()
                weakref.finalize(storage, self._freed, size)
                self.now += size
                self.peak = max(self.peak, self.now)

    def _freed(self, size: int) -> None:
        self.now -= size

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        self.count(result)
        return result


if __name__ == "__main__":
    main()
