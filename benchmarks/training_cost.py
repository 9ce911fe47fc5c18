"""What training on SD1.5 takes: memory and arithmetic of each shipped configuration, from shapes alone.

Two steps of each run on tensors without content, so that it needs neither weights nor a GPU. Time is that of the
arithmetic at a share of a card's peak, without reading the data.

    python dev.py benchmark training_cost
"""

import argparse
from pathlib import Path

import torch
from _full_size import CONTEXT, LATENT_CHANNELS
from _pack import import_pack
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch._subclasses import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm
from transformers import CLIPTextConfig, CLIPTextModel

import_pack()

from animatelcm.distill.lora import Lora  # noqa: E402 - needs the name above
from animatelcm.distill.sd15.base import Base  # noqa: E402 - likewise
from animatelcm.distill.sd15.config import EXAMPLES, Config, read_config  # noqa: E402 - likewise
from animatelcm.distill.sd15.data import Batch  # noqa: E402 - likewise
from animatelcm.distill.sd15.stages import STAGES, Given, Stage  # noqa: E402 - likewise
from animatelcm.distill.text import tokenizer  # noqa: E402 - likewise
from animatelcm.distill.unet import freeze  # noqa: E402 - likewise
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
    for path in tqdm(sorted(EXAMPLES.glob("*.toml")), leave=False):
        print(row(path, arguments), flush=True)


def row(path: Path, arguments: argparse.Namespace) -> str:
    config = read_config(path)
    with FakeTensorMode():
        stage = build(config)
        memory, flops = measured(stage, config)
        trained = sum(parameter.numel() for parameter in stage.trains.parameters())
    hours = config.training.steps * flops / (arguments.peak * 1e12 * arguments.share) / 3600
    cells = [f"{trained / 1e6:.0f}", f"{config.training.batch}", f"{memory / GIB:.0f}", f"{flops / 1e12:.0f}"]
    return f"| {path.stem} | {' | '.join(cells)} | {hours:.1f} |"


def build(config: Config) -> Stage:
    """A stage of SD1.5's size; what is frozen in 16 bits."""
    base = Base(
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
        config.training.gradient_checkpointing,
    )
    needs_motion, needs_lora = config.networks.motion is not None, config.networks.lora is not None
    motion = freeze(MotionModule(MotionConfig(WIDTHS, WIDTHS[::-1], WIDTHS[-1]))) if needs_motion else None
    lora = freeze(Lora(base.unet, rank=64)) if needs_lora else None
    stage = STAGES[config.stage](Given(base, motion, lora), config)
    stage.given.to(torch.device("cpu"), torch.bfloat16)
    return stage


def measured(stage: Stage, config: Config) -> tuple[int, int]:
    """Bytes at the peak of the second step, when the optimizer has its moments, and FLOP of one step."""
    optimizer = torch.optim.AdamW(stage.trains.parameters())
    frozen = [network for network in vars(stage.given).values() if isinstance(network, torch.nn.Module)]
    tracker, counter = MemTracker(), FlopCounterMode(display=False)
    tracker.track_external(stage, optimizer, stage.base.unet, stage.base.vae, stage.base.text, *frozen)
    data, rows = config.data, config.training.batch
    with tracker:
        for step in range(2):
            pixels = torch.empty(rows, stage.frames, 3, data.height, data.width)
            with counter, torch.autocast("cpu", torch.bfloat16):
                loss = stage(Batch(pixels, ["a prompt"] * rows), step)
                loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    (peak,) = (sizes["Total"] for sizes in tracker.get_tracker_snapshot("peak").values())
    return peak, counter.get_total_flops() // 2


if __name__ == "__main__":
    main()
