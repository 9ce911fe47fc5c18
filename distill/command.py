"""The command line: `python -m distill all`, or one stage of it; `--config FILE` trains on SD1.5 instead."""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from ..files.refusal import ModelFileError
from .mini.export import export
from .mini.restore import restore
from .mini.stages import ONE_PROCESS, STAGES


def evaluate(_run: Path, minutes: float = float("inf")) -> None:
    from .mini.evaluation.results import evaluate  # needs packages that training does without

    evaluate(minutes)


ALL: dict[str, Callable[..., object]] = {**STAGES, "export": export, "evaluate": evaluate}
COMMANDS = ALL | {"restore": restore}
ALONE = (*ONE_PROCESS, "export", "restore")  # what one process does
ON_SD15 = ("lcm_image", "lcm_video", "image_encoder", "style")


def main() -> None:
    arguments = parse()
    if arguments.config:
        train_on_sd15(arguments.stages, arguments.config)
        return
    for name in ALL if "all" in arguments.stages else arguments.stages:
        timed = name not in ALONE and arguments.minutes is not None
        options = {"minutes": arguments.minutes} if timed else {}
        run_stage(name, arguments.run, options, 1 if name in ALONE else arguments.processes)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m distill", description="Train and measure the mini family.")
    stages = f"{', '.join(COMMANDS)}, or all"
    parser.add_argument("stages", nargs="+", metavar="stage", help=stages)
    parser.add_argument("--run", type=Path, default=Path("distill/run"), help="where states and results are kept")
    parser.add_argument("--minutes", type=float, help="time of the stage or the evaluation (default: its own)")
    cores = os.cpu_count() if hasattr(os, "fork") else 1
    parser.add_argument("--processes", type=int, default=cores, help="to train with (default: one per core)")
    on_sd15 = f"train one stage on SD1.5, as a TOML file says: {', '.join(ON_SD15)}"
    parser.add_argument("--config", type=Path, metavar="FILE", help=on_sd15)
    arguments = parser.parse_args()
    known = ON_SD15 if arguments.config else (*COMMANDS, "all")
    if unknown := [name for name in arguments.stages if name not in known]:
        parser.error(f"there is no stage {unknown[0]!r} here; there is {', '.join(known)}")
    return arguments


def train_on_sd15(stages: list[str], path: Path) -> None:
    """Train one stage; `accelerate launch -m distill` spreads it over GPUs and machines."""
    from .sd15.config import ConfigError, read_config  # needs packages that the mini family does without
    from .sd15.engine import train
    from .sd15.index import DataError

    try:
        config = read_config(path)
        if stages != [config.stage]:
            raise ConfigError(f"{path} is of the stage {config.stage}, and {' '.join(stages)} was asked for.")
        print(f"Wrote {train(config)}")
    except (ConfigError, DataError, ModelFileError) as error:
        sys.exit(str(error))


def run_stage(name: str, run: Path, options: dict[str, float], processes: int) -> None:
    """Fork before any arithmetic: the parent never starts threads of its own."""
    if processes == 1:
        COMMANDS[name](run, **options)
        return
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"file://{folder}/meeting"
        mp.start_processes(_worker, (name, run, options, processes, meeting), processes, start_method="fork")


def _worker(rank: int, name: str, run: Path, options: dict[str, float], processes: int, meeting: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=processes)
    COMMANDS[name](run, **options)
