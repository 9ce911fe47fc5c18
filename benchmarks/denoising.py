"""Time of one clip: this pack, ComfyUI's bare UNet (the floor), diffusers' AnimateDiff (a peer), and the VAE behind it.

Full-size SD1.5 and AnimateLCM with random weights, the same 4 consistency steps without CFG; ours also compiled, with
two LoRAs on every layer, with a picture to animate, and with a layout that a ControlNet follows. They take turns in one
run and medians are compared, so that a slower minute of the machine falls on all of them. A second table does the same
with ways to decode a clip.

    python dev.py benchmark denoising                       128x128 on a CPU; all at once take 23 GB
    python dev.py benchmark denoising --beside diffusers    the pack as it is, the floor and the peer alone
    python dev.py benchmark denoising --size 512 --guided   on a GPU, with 50 steps of CFG and memory beside it
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from _decoders import decoders
from _full_size import CONTEXT, LATENT_CHANNELS, comfyui_model, controlnet, diffusers_unet, motion_file, with_loras
from _pack import import_pack
from tqdm import tqdm

import_pack()
Denoise = Callable[[], torch.Tensor]
BESIDE = ("compiled", "loras", "picture", "layout", "diffusers")
PAPER = 24.47  # times as fast as 50 steps with CFG, on an A800
GUIDED = "50 steps with CFG"
OURS, FLOOR = "AnimateLCM native", "ComfyUI's bare UNet"
COMPILED = f"{OURS}, compiled"


@dataclass
class Turns:
    """What the turns of one contestant took: seconds of each, and the most memory of the GPU in bytes."""

    seconds: list[float] = field(default_factory=list)
    memory: int = 0

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def main() -> None:
    arguments = parse()
    torch.set_grad_enabled(False)
    dtype = torch.float16 if torch.cuda.is_available() else torch.float32
    with tempfile.TemporaryDirectory() as folder:
        contestants = comfyui_contestants(arguments, dtype, Path(folder))
    if "diffusers" in arguments.beside:
        contestants["diffusers AnimateDiff"] = diffusers_contestant(arguments, dtype)
    print(setting(arguments, dtype))
    print(compared(contestants, arguments.rounds, FLOOR))
    contestants.clear()  # their models make room
    print(compared(decoders(torch.randn(latent_shape(arguments))), arguments.rounds, "VAE"))


def compared(contestants: dict[str, Denoise], rounds: int, floor: str) -> str:
    """Let contestants take turns, and return what came of it as a table."""
    flops = {name: counted_flops(run) for name, run in tqdm(contestants.items(), desc="warming up")}
    if COMPILED in flops:
        flops[COMPILED] = flops[OURS]  # a graph's first run has the layer itself beside it
    turns = alternate(contestants, rounds)
    rows = [table(turns, flops, floor)]
    if GUIDED in turns:
        times = turns[GUIDED].median / turns[OURS].median
        rows.append(f"{GUIDED} take {times:.2f} times as long as {OURS}; in the paper {PAPER}.")
    return "\n\n".join(rows) + "\n"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128, help="width and height in pixels")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3, help="timed runs of each, in turn")
    parser.add_argument(
        "--beside", nargs="*", choices=BESIDE, default=BESIDE, help="what takes turns with the pack and the bare UNet"
    )
    parser.add_argument("--guided", action="store_true", help="add the teacher's 50 steps with CFG (100 evaluations)")
    return parser.parse_args()


# The contestants: each is a function that denoises one clip and returns its latents


def comfyui_contestants(arguments: argparse.Namespace, dtype: torch.dtype, folder: Path) -> dict[str, Denoise]:
    from animatelcm.motion.attach import attach_motion, load_motion_module
    from animatelcm.motion.attach_compile import attach_compiler
    from animatelcm.motion.attach_image import Pictures, attach_pictures
    from animatelcm.sampling.model_sampling import apply_schedule
    from animatelcm.sampling.schedule import T2V
    from safetensors.torch import save_file

    def motion(pictures: bool = False) -> Any:
        path = folder / f"{pictures}.safetensors"
        if not path.exists():
            save_file(motion_file(dtype, pictures), path)
        return load_motion_module(str(path))

    bare = apply_schedule(comfyui_model(dtype), T2V)
    ours = attach_motion(bare, motion())
    contestants = {OURS: denoise_in_comfyui(ours, arguments), FLOOR: denoise_in_comfyui(bare, arguments)}
    if "compiled" in arguments.beside:
        compiled = attach_compiler(ours, unet=True, say=lambda words: None)
        contestants[COMPILED] = denoise_in_comfyui(compiled, arguments)
    if "loras" in arguments.beside:
        # On weights of its own: merging is paid once, before sampling, and not at every turn
        merged = with_loras(attach_motion(apply_schedule(comfyui_model(dtype), T2V), motion()), count=2)
        contestants[f"{OURS}, two LoRAs"] = denoise_in_comfyui(merged, arguments)
    if "picture" in arguments.beside:
        picture = Pictures(torch.randn(1, *latent_shape(arguments)[1:]), keyframes=(0,))
        animated = attach_pictures(attach_motion(bare, motion(pictures=True)), picture)
        contestants[f"{OURS}, a picture"] = denoise_in_comfyui(animated, arguments)
    if "layout" in arguments.beside:
        led = layout_control(arguments, dtype)
        contestants[f"{OURS}, a layout"] = denoise_in_comfyui(ours, arguments, control=led)
    if arguments.guided:
        contestants[GUIDED] = denoise_in_comfyui(ours, arguments, steps=50, cfg=7.5)
    return contestants


def denoise_in_comfyui(
    model: object, arguments: argparse.Namespace, steps: int = 0, cfg: float = 1.0, **prompted: Any
) -> Denoise:
    import comfy.sample
    from animatelcm.sampling.model_sampling import consistency_sampler
    from animatelcm.sampling.schedule import T2V, step_sigmas

    prompt = [[torch.randn(1, *CONTEXT), prompted]]
    latent = torch.zeros(latent_shape(arguments))
    sigmas = step_sigmas(T2V, steps or arguments.steps)

    def denoise() -> torch.Tensor:
        noise = torch.randn(latent.shape)
        sampler = consistency_sampler()
        return comfy.sample.sample_custom(
            model, noise, cfg, sampler, sigmas, prompt, prompt, latent, disable_pbar=True, seed=0
        )

    return denoise


def layout_control(arguments: argparse.Namespace, dtype: torch.dtype) -> Any:
    """A ControlNet with one hint per frame, as ComfyUI's own node applies it."""
    from animatelcm.layout.boxes import Layout
    from animatelcm.layout.draw import hints
    from animatelcm.layout.keyframes import Keyframe

    there = Keyframe(0, 0.0, 0.3, 0.4, 0.4), Keyframe(arguments.frames - 1, 0.6, 0.3, 0.4, 0.4)
    layout = Layout().with_keyframe("box", "", there[0]).with_keyframe("box", "", there[1])
    drawn = hints(layout, arguments.frames, arguments.size, arguments.size, "outline", 2)
    return controlnet(dtype).set_cond_hint(drawn.movedim(-1, 1))


def diffusers_contestant(arguments: argparse.Namespace, dtype: torch.dtype) -> Denoise:
    """Diffusers' UNet and scheduler in the plainest loop, without the rest of its pipeline."""
    from diffusers import LCMScheduler

    device = "cuda" if torch.cuda.is_available() else "cpu"
    unet = diffusers_unet(dtype).to(device)
    scheduler = LCMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="linear", original_inference_steps=100)
    prompt = torch.randn(arguments.frames, *CONTEXT, dtype=dtype, device=device)
    frames, channels, height, width = latent_shape(arguments)

    def denoise() -> torch.Tensor:
        scheduler.set_timesteps(arguments.steps, device=device)
        latent = torch.randn(1, channels, frames, height, width).to(device, dtype)
        for timestep in scheduler.timesteps:
            noise = unet(latent, timestep, encoder_hidden_states=prompt).sample
            latent = scheduler.step(noise, timestep, latent, return_dict=False)[0]
        return latent.float().cpu()

    return denoise


def latent_shape(arguments: argparse.Namespace) -> tuple[int, int, int, int]:
    return arguments.frames, LATENT_CHANNELS, arguments.size // 8, arguments.size // 8


# Measuring


def counted_flops(denoise: Denoise) -> int:
    """Floating-point operations of one run: products and convolutions, two per multiply-add. Also warms up."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        latents = denoise()
    if not latents.isfinite().all():
        raise ArithmeticError("The random model overflowed; its times would mean nothing.")
    return counter.get_total_flops()


def alternate(contestants: dict[str, Denoise], rounds: int) -> dict[str, Turns]:
    """Let each contestant run `rounds` times, taking turns. Every run ends with its result on the CPU."""
    turns = {name: Turns() for name in contestants}
    for name in tqdm(list(contestants) * rounds, desc="taking turns"):
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        contestants[name]()
        turns[name].seconds.append(time.perf_counter() - start)
        if torch.cuda.is_available():
            turns[name].memory = max(turns[name].memory, torch.cuda.max_memory_allocated())
    return turns


def peak_flops() -> float:
    """FLOP/s of one large fp16 matrix product on this GPU, the best of ten."""
    a, b = (torch.randn(8192, 8192, dtype=torch.float16, device="cuda") for _ in range(2))
    times = []
    for _ in range(10):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        a @ b
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1000)
    return float(2 * 8192**3 / min(times))


# The table


def setting(arguments: argparse.Namespace, dtype: torch.dtype) -> str:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    size = f"{arguments.frames} frames {arguments.size}x{arguments.size}, {arguments.steps} steps, no CFG"
    return f"{size}, {dtype}, {device}, torch {torch.__version__}, median of {arguments.rounds}\n"


def table(turns: dict[str, Turns], flops: dict[str, int], floor: str) -> str:
    peak = peak_flops() if torch.cuda.is_available() else None
    header = f"| | median s | fastest s | slowest s | x {floor} | TFLOP | TFLOP/s | share of measured peak | GB |"
    rows = [header, "|" + " --- |" * 9]
    for name, of in turns.items():
        rate = flops[name] / of.median
        cells = [f"{of.median:.3f}", f"{min(of.seconds):.3f}", f"{max(of.seconds):.3f}"]
        cells += [f"{of.median / turns[floor].median:.3f}", f"{flops[name] / 1e12:.2f}", f"{rate / 1e12:.3f}"]
        cells += [f"{rate / peak:.1%}", f"{of.memory / 1e9:.2f}"] if peak else ["-", "-"]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
