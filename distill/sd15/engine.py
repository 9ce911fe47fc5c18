"""The training loop on accelerate: averaged weights, checkpoints that a killed run goes on from, logs, sample grids."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration, set_seed
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from ..distillation import move_average
from .config import Config, ConfigError
from .data import Batch, Batches, Samples
from .index import find_entries
from .stages import Stage, build_stage, latent_shape

CHECKPOINT = "step-*"
MOST_OVERFLOWS = 40  # in a row: the scale of the loss is halved each time, from 2^16 on
SHOWN = 4  # samples of a grid where the configuration names no prompts, and frames of each
DTYPES = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def train(config: Config) -> Path:
    """Train a stage to its end, from its newest checkpoint where there is one, and return the file that it writes.

    Raises:
        ConfigError, DataError, ModelFileError: if something that the configuration names cannot be used.
    """
    training = config.training
    accelerator = build_accelerator(config)
    index = find_entries(config.data.sources)
    set_seed(training.seed, device_specific=True)
    stage = build_stage(config)
    stage.pretrained.to(accelerator.device, DTYPES[training.precision])
    optimizer = torch.optim.AdamW(
        stage.trains.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay
    )
    prepared, optimizer = accelerator.prepare(stage, optimizer)
    run = Run(accelerator, config, stage, optimizer)
    run.resume()
    samples = Samples(index, config.data, stage.frames, training.seed)
    batches = Batches(samples, training.batch, config.data.workers, run.rank, run.world, run.place.taken[run.rank])
    shown = shown_batch(samples, config) if accelerator.is_main_process else None
    with run.logs() as logs:
        for loss in steps(run, prepared, batches):
            logs.show(loss, batches)
            last = run.place.step == training.steps
            if last or run.place.step % training.save_every == 0:
                run.save(batches.taken)
            if shown is not None and (last or run.place.step % training.sample_every == 0):
                logs.draw(sample_grid(run, shown))
    return write_result(config, stage) if accelerator.is_main_process else result_path(config)


def build_accelerator(config: Config) -> Accelerator:
    """Find the devices of this run.

    Raises:
        ConfigError: if they cannot compute in the precision that is asked for.
    """
    training = config.training
    try:
        return Accelerator(
            mixed_precision=training.precision,
            gradient_accumulation_steps=training.accumulate,
            project_config=ProjectConfiguration(str(config.run)),
        )
    except ValueError as error:
        raise ConfigError(
            f"training.precision is {training.precision}, which this machine cannot do: {error} Choose another one; "
            '"no" works everywhere.'
        ) from None


def steps(run: "Run", prepared: torch.nn.Module, batches: Batches) -> Iterator[float]:
    """Take optimizer steps until the last one, and yield the mean loss of each.

    A step whose gradients overflow in 16 bits is left out by the optimizer, and by the average and the count as well.

    Raises:
        ConfigError: if every step overflows.
    """
    accelerator, training, stage = run.accelerator, run.config.training, run.stage
    losses: list[Tensor] = []
    overflows = 0
    stream = iter(batches) if run.place.step < training.steps else iter(())
    for batch in stream:
        with accelerator.accumulate(prepared):
            loss = prepared(batch, run.place.step)
            accelerator.backward(loss)
            losses.append(loss.detach())
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(stage.trains.parameters(), training.largest_gradient)
            for group in run.optimizer.param_groups:
                group["lr"] = training.learning_rate * min(1.0, (run.place.step + 1) / max(1, training.warmup))
            run.optimizer.step()
            run.optimizer.zero_grad()
        if not accelerator.sync_gradients:
            continue
        overflows = overflows + 1 if accelerator.optimizer_step_was_skipped else 0
        if overflows > MOST_OVERFLOWS:
            raise ConfigError(
                f"The gradients of {overflows} steps in a row are no numbers. The learning rate, or a file that this "
                "run is trained on, is the usual cause."
            )
        if overflows:
            losses = []
            continue
        move_average(stage.average.parameters(), stage.trains.parameters(), training.ema)
        run.place.step += 1
        yield float(accelerator.reduce(torch.stack(losses).mean(), "mean"))
        losses = []
        if run.place.step >= training.steps:
            return


# What is kept


@dataclass
class Place:
    """Where a run stands.

    Attributes:
        step: optimizer steps done.
        taken: samples that each process has taken.
    """

    step: int
    taken: list[int]

    def state_dict(self) -> dict[str, Any]:
        return vars(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if len(state["taken"]) != len(self.taken):
            raise ConfigError(
                f"The newest checkpoint is of {len(state['taken'])} processes, and this run has {len(self.taken)}. "
                "Start as many, or another run."
            )
        self.step, self.taken = state["step"], state["taken"]


class Run:
    """A run's folder and its state: networks, optimizer, random numbers, place in the data."""

    def __init__(self, accelerator: Accelerator, config: Config, stage: Stage, optimizer: Any) -> None:
        self.accelerator, self.config, self.stage, self.optimizer = accelerator, config, stage, optimizer
        self.rank, self.world = accelerator.process_index, accelerator.num_processes
        self.place = Place(0, [0] * self.world)
        accelerator.register_for_checkpointing(self.place)

    def resume(self) -> None:
        """Go on from the newest checkpoint, if there is one."""
        kept = sorted(self.config.run.glob(CHECKPOINT))
        if kept:
            self.accelerator.load_state(str(kept[-1]))

    def save(self, taken: int) -> None:
        """Write a checkpoint under another name first, and drop the oldest ones."""
        device = self.accelerator.device
        self.place.taken = self.accelerator.gather(torch.tensor([taken], device=device)).tolist()
        done = self.config.run / f"step-{self.place.step:08d}"
        part = self.config.run / "part"
        if self.accelerator.is_main_process:
            shutil.rmtree(part, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        self.accelerator.save_state(str(part))
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            shutil.rmtree(done, ignore_errors=True)
            part.rename(done)
            for old in sorted(self.config.run.glob(CHECKPOINT))[: -self.config.training.keep]:
                shutil.rmtree(old)

    @contextmanager
    def logs(self) -> Iterator["Logs"]:
        """A progress bar and TensorBoard's files, of the main process."""
        main = self.accelerator.is_main_process
        rows = self.config.training.batch * self.config.training.accumulate * self.world
        unit = " images" if self.stage.frames == 1 else " clips"
        bar = tqdm(
            total=self.config.training.steps * rows,
            initial=self.place.step * rows,
            unit=unit,
            desc=self.config.stage,
            disable=not main,
        )
        writer = SummaryWriter(str(self.config.run / "tensorboard"), purge_step=self.place.step) if main else None
        try:
            with bar:
                yield Logs(self, bar, writer, rows)
        finally:
            if writer:
                writer.close()


class Logs:
    """What is said while it trains."""

    def __init__(self, run: Run, bar: tqdm, writer: SummaryWriter | None, rows: int) -> None:
        self.run, self.bar, self.writer, self.rows = run, bar, writer, rows
        self.named = 0

    def show(self, loss: float, batches: Batches) -> None:
        """Put the loss behind the bar, and name each file that could not be read, once."""
        self.bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
        self.bar.update(self.rows)
        for name, reason in list(batches.broken.items())[self.named :]:
            self.bar.write(f"Skipped {name}: {reason} ({len(batches.broken)} files so far)")
        self.named = len(batches.broken)
        if self.writer:
            self.writer.add_scalar("loss", loss, self.run.place.step)
            self.writer.add_scalar("skipped files", len(batches.broken), self.run.place.step)

    def draw(self, grid: Tensor) -> None:
        """Keep a sample grid, (3, H, W) in 0..1, as a picture and in TensorBoard."""
        folder = self.run.config.run / "samples"
        folder.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray((grid.movedim(0, -1) * 255).round().byte().numpy())
        picture.save(folder / f"step-{self.run.place.step:08d}.png")
        if self.writer:
            self.writer.add_image("samples", grid, self.run.place.step)


# Samples and the result


def shown_batch(samples: Samples, config: Config) -> Batch:
    """What every sample grid shows: the configured prompts, or the first captions, with the first pictures."""
    prompts = config.training.prompts
    batch = next(iter(Batches(samples, len(prompts) or SHOWN, workers=0)))
    return Batch(batch.pixels, prompts or batch.captions)


@torch.no_grad()
def sample_grid(run: Run, shown: Batch) -> Tensor:
    """A row per caption, with some frames of its clip: (3, H, W) in 0..1. Draws no number that training would draw."""
    stage, device = run.stage, run.accelerator.device
    generator = torch.Generator().manual_seed(run.config.training.seed)
    x = torch.randn(len(shown.captions), stage.frames, *latent_shape(run.config), generator=generator)
    with torch.random.fork_rng(), run.accelerator.autocast():
        clips = stage.base.decode(stage.sample(shown, x.to(device), generator))
    picked = torch.linspace(0, clips.shape[1] - 1, min(SHOWN, clips.shape[1])).long()
    return torch.cat([torch.cat(list(clip[picked]), dim=2) for clip in clips], dim=1)


def result_path(config: Config) -> Path:
    return config.run / f"{config.stage}.safetensors"


def write_result(config: Config, stage: Stage) -> Path:
    """The average in half precision, in the published format."""
    path = result_path(config)
    part = path.with_suffix(".part")
    weights = {key: value.detach().half().cpu().contiguous() for key, value in stage.published().items()}
    save_file(weights, part, {"title": f"{config.stage}, trained with ComfyUI-AnimateLCM-Native"})
    part.replace(path)
    return path
