"""A server that is used for long: its memory and time over many prompts, and what is right after faults.

The shipped workflows run in turn with new seeds, LoRA weights and prompts, in one server. In another one, as the floor,
a graph of ComfyUI's own nodes runs as often: it samples, decodes and saves 16 frames with a new seed, prompt and LoRA
weight each time. RSS is the median of a tenth of the prompts; what counts is by how much it grows after the first
fifth. Then faults: interrupts at random moments, `kill -9` while sampling and while saving, two clients at once, models
replaced and deleted between prompts. After each, the clip of a fixed graph has to be the same to the last bit, all that
lies in the output folder has to be whole, and nothing may be left in the temporary one.

    python dev.py benchmark soak --prompts 1000
"""

import argparse
import copy
import hashlib
import itertools
import random
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import psutil
from _mini import Graph, change, shipped
from _pack import ROOT, import_pack

import_pack()

from animatelcm.comfyui_server import Server, Trouble, nodes_of, outputs, prompt_of  # noqa: E402 - needs the name above

WORKFLOWS = ["text_to_video", "image_to_video", "video_to_video", "layout_to_video", "long_video"]
WORDS = [f"a {size} {colour} circle" for size in ("large", "small") for colour in ("red", "green", "blue", "white")]
LONG = 24  # frames of the long clip: two windows at each step
MIB = 2**20
SETTLED = 0.2  # of the prompts, after which memory is to stay as it is


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=1000, help="in each of the two servers (1000)")
    parser.add_argument("--interrupts", type=int, default=50, help="at random moments (50)")
    arguments = parser.parse_args()
    say("| server | prompts | RSS after a fifth, MiB | at the end | growth | open files | s a prompt, first | last |")
    say("| --- |" + " --- |" * 7)
    for name, graphs in (("ours", ours), ("without our nodes", plain)):
        with tempfile.TemporaryDirectory() as folder, Server(Path(folder), "--disable-api-nodes") as server:
            say(soak(name, server, itertools.islice(graphs(), arguments.prompts)))
    say("\n| fault | times | the next clip |\n| --- | --- | --- |")
    for fault, usual in FAULTS.items():
        times = usual or arguments.interrupts
        with tempfile.TemporaryDirectory() as folder:
            say(f"| {fault.__doc__} | {times} | {fault(Path(folder), times)} |")


# Many prompts


def ours() -> Iterator[Graph]:
    """Endlessly the shipped workflows, each a little different from all before."""
    for number, name in enumerate(itertools.cycle(WORKFLOWS)):
        graph = shipped(name)
        change(graph, "AnimateLCMSampler", seed=number)
        change(graph, "AnimateLCMApply", beta=0.7 + number % 7 / 20)
        words = f"{WORDS[number % len(WORDS)]}, {number}"
        if name == "long_video":
            change(
                graph, "AnimateLCMPromptSchedule", before=words, text="0: moving right\n12: moving left", frames=LONG
            )
            change(graph, "AnimateLCMEmptyLatent", frames=LONG)
        else:
            prompt_of(graph)["text"] = words
        yield graph


def plain() -> Iterator[Graph]:
    """As much sampling and saving with ComfyUI's own nodes only."""
    for number in itertools.count():
        yield {
            "1": node("CheckpointLoaderSimple", ckpt_name="animatelcm_mini_synthetic.safetensors"),
            "2": node("CLIPTextEncode", text=f"a large red circle, {number}", clip=["8", 1]),
            "3": node("EmptyLatentImage", width=64, height=64, batch_size=16),
            "4": node(
                "KSampler",
                model=["1", 0],
                positive=["2", 0],
                negative=["2", 0],
                latent_image=["3", 0],
                seed=number,
                steps=4,
                cfg=1.0,
                sampler_name="lcm",
                scheduler="normal",
                denoise=1.0,
            ),
            "5": node("VAEDecode", samples=["4", 0], vae=["1", 2]),
            "6": node("CreateVideo", images=["5", 0], fps=8.0),
            "7": node("SaveVideo", video=["6", 0], filename_prefix="plain", format="mp4", codec="h264"),
            "8": node(
                "LoraLoader",
                model=["1", 0],
                clip=["1", 1],
                lora_name="animatelcm_mini_synthetic_lcm_lora.safetensors",
                strength_model=0.7 + number % 7 / 20,
                strength_clip=1.0,
            ),
        }


def node(kind: str, **inputs: Any) -> Graph:
    return {"class_type": kind, "inputs": inputs}


def soak(name: str, server: Server, graphs: Iterator[Graph]) -> str:
    """Run graphs one after the other; the row of the table."""
    process = psutil.Process(server.process.pid)
    memory, seconds = [], []
    for graph in graphs:
        began = time.perf_counter()
        succeed(server, graph)
        seconds.append(time.perf_counter() - began)
        memory.append(process.memory_info().rss / MIB)
    part = max(1, len(memory) // 10)
    settled = memory[int(SETTLED * len(memory)) :]
    first, last = statistics.median(settled[:part]), statistics.median(settled[-part:])
    growth, times = f"{100 * (last / first - 1):+.2f} %", [seconds[:part], seconds[-part:]]
    cells = [len(memory), f"{first:.0f}", f"{last:.0f}", growth, process.num_fds()]
    return f"| {' | '.join(map(str, [name, *cells, *(f'{statistics.median(part):.2f}' for part in times)]))} |"


def succeed(server: Server, graph: Graph) -> list[Graph]:
    """Run a graph that has to succeed; the files it wrote."""
    entry = server.run(graph)
    if entry["status"]["status_str"] != "success":
        raise Trouble(f"A right prompt failed: {entry['status']['messages'][-1]}")
    return list(outputs(entry))


# Faults


def probe() -> Graph:
    """The graph whose clip has to stay the same."""
    graph = shipped("text_to_video")
    change(graph, "AnimateLCMSampler", seed=123456)
    return graph


def long() -> Graph:
    """A graph that samples, decodes and saves for seconds."""
    graph = shipped("text_to_video")
    change(graph, "AnimateLCMSampler", seed=random.getrandbits(32), steps=12)
    change(graph, "ImageScaleBy", scale_by=8.0)
    return graph


def clip(server: Server) -> str:
    """The hash of the probe's file, made anew."""
    server.post("/free", {"free_memory": True})
    (file,) = succeed(server, probe())
    return hashlib.sha256(server.view(file)).hexdigest()


def verdict(server: Server, before: str) -> str:
    """Whether the probe's clip is the same, and how many files are not whole or should not be there."""
    same = "the same to the last bit" if clip(server) == before else "ANOTHER"
    saved, temporary = (
        [path for path in (server.folder / name).rglob("*") if path.is_file()] for name in ("output", "temp")
    )
    left = [path for path in temporary if not path.name.startswith("ComfyUI_temp_")]  # previews of pictures
    return f"{same}; {sum(map(is_damaged, saved))} of {len(saved)} saved files damaged, {len(left)} left in temp"


def is_damaged(video: Path) -> bool:
    try:
        with av.open(str(video)) as container:
            return not sum(1 for _ in container.decode(video=0))
    except av.error.FFmpegError:
        return True


def interrupts(folder: Path, times: int) -> str:
    """/interrupt at a random moment"""
    with Server(folder, "--disable-api-nodes") as server:
        before, stopped = clip(server), 0
        for _ in range(times):
            prompt = server.queue(long())
            time.sleep(random.uniform(0, 1.5))
            server.post("/interrupt", {})
            messages = server.wait_for_history(prompt)["status"]["messages"]
            stopped += any(kind == "execution_interrupted" for kind, _ in messages)
        return f"{stopped} prompts stopped; {verdict(server, before)}"


def killed(folder: Path, times: int, moment: str) -> str:
    """Kill a server with -9 as soon as a node of a kind runs, and start it again."""
    with Server(folder, "--disable-api-nodes") as server:
        before, hit = clip(server), 0
    for _ in range(times):
        with Server(folder, "--disable-api-nodes") as server:
            graph = long()

            def kill(kind: str, data: Graph, graph: Graph = graph, server: Server = server) -> None:
                if kind == "executing" and data["node"] and graph[data["node"]]["class_type"] == moment:
                    time.sleep(random.uniform(0, 0.3))
                    server.process.kill()

            try:
                server.run(graph, kill)
            except (Trouble, OSError):
                hit += server.process.wait() == -signal.SIGKILL
    with Server(folder, "--disable-api-nodes") as server:
        return f"{hit} servers killed; {verdict(server, before)}"


def killed_while_sampling(folder: Path, times: int) -> str:
    """Kill -9 while sampling"""
    return killed(folder, times, "AnimateLCMSampler")


def killed_while_saving(folder: Path, times: int) -> str:
    """Kill -9 while saving"""
    return killed(folder, times, "AnimateLCMSaveVideo")


def two_clients(folder: Path, times: int) -> str:
    """Two clients at once, with other graphs"""
    with Server(folder, "--disable-api-nodes") as server:
        before, failures = clip(server), []

        def run(graphs: list[Graph]) -> None:
            try:
                for graph in graphs:
                    succeed(server, graph)
            except Exception as error:  # told by the thread that waits
                failures.append(error)

        graphs = list(itertools.islice(ours(), 2 * times))
        clients = [threading.Thread(target=run, args=(graphs[i::2],)) for i in range(2)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        return f"{len(failures)} failures" if failures else verdict(server, before)


def replaced_models(folder: Path, times: int) -> str:
    """A motion module and a LoRA replaced, deleted and put back"""
    with Server(folder, "--disable-api-nodes") as server:
        files = {}
        for kind, slot in (("animatediff_models", "motion_module"), ("loras", "acceleration_lora")):
            (right,) = {inputs[slot] for inputs in all_inputs(probe()) if isinstance(inputs.get(slot), str)}
            files[server.folder / "models" / kind / f"soak_{right}"] = ROOT / "models" / kind / right
        for copied, original in files.items():
            shutil.copy(original, copied)
        before = clip(server)
        for _ in range(times):
            for copied, original in files.items():
                graph = copied_names(probe())
                copied.write_bytes(original.read_bytes()[:-1000])  # cut off
                expect_failure(server, graph)
                copied.unlink()
                expect_failure(server, graph)
                shutil.copy(original, copied)
                succeed(server, graph)
        return verdict(server, before)


def all_inputs(graph: Graph) -> list[Graph]:
    return [node["inputs"] for node in graph.values()]


def copied_names(graph: Graph) -> Graph:
    """A graph with the copies of the motion module and the LoRA."""
    graph = copy.deepcopy(graph)
    for inputs in nodes_of(graph, "AnimateLCMLoadMotionModule"):
        inputs["motion_module"] = f"soak_{inputs['motion_module']}"
    for inputs in nodes_of(graph, "AnimateLCMApply"):
        inputs["acceleration_lora"] = f"soak_{inputs['acceleration_lora']}"
    return graph


def expect_failure(server: Server, graph: Graph) -> None:
    try:
        if server.run(graph)["status"]["status_str"] == "success":
            raise RuntimeError("A damaged or missing model went unnoticed.")
    except Trouble:  # refused before the queue
        return


FAULTS: dict[Callable[[Path, int], str], int] = {
    interrupts: 0,  # as asked for
    killed_while_sampling: 3,
    killed_while_saving: 3,
    two_clients: 6,
    replaced_models: 2,
}


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    try:
        main()
    except Trouble as trouble:
        sys.exit(str(trouble))
