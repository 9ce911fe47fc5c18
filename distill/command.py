"""The command line: `python -m distill all`, or one stage of it."""

import argparse
import os
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from .evaluate import evaluate
from .export import export
from .stages import ONE_PROCESS, STAGES

COMMANDS = STAGES | {"export": export, "evaluate": evaluate}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m distill", description="Train and measure the mini family.")
    stages = f"{', '.join(COMMANDS)}, or all"
    parser.add_argument("stages", nargs="+", choices=[*COMMANDS, "all"], metavar="stage", help=stages)
    parser.add_argument("--run", type=Path, default=Path("distill/run"), help="where states and results are kept")
    parser.add_argument("--minutes", type=float, help="training time of the stage (default: its own)")
    cores = os.cpu_count() if hasattr(os, "fork") else 1
    parser.add_argument("--processes", type=int, default=cores, help="to train with (default: one per core)")
    arguments = parser.parse_args()
    for name in COMMANDS if "all" in arguments.stages else arguments.stages:
        timed = name in STAGES and name not in ONE_PROCESS and arguments.minutes is not None
        options = {"minutes": arguments.minutes} if timed else {}
        run_stage(name, arguments.run, options, 1 if name in (*ONE_PROCESS, "export") else arguments.processes)


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
