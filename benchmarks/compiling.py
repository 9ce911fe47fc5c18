"""What torch.compile makes of the model: how often it compiles, how far the clip is from the eager one, how fast it is.

ComfyUI's TorchCompileModel before and after the motion module, and AnimateLCM Compile, on the mini family, beside the
same model without them. From prompt to prompt the seed, the words, gamma and the weight of the acceleration LoRA
change, as a user changes them; none of that may compile anything anew. "graphs" are those of the first prompt,
"recompilations" all later ones. Seconds per step are medians of the prompts, and none of them has a compilation in it.

    python dev.py benchmark compiling
    python dev.py benchmark compiling --size 64 --prompts 4 --backend eager
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from _pack import ROOT, import_pack
from torch import Tensor

import_pack()

FAMILY = "animatelcm_mini_synthetic"
WORDS = ("a red circle moving right", "a blue square standing still", "a green triangle moving up")
GAMMAS, BETAS = (1.0, 0.0, 0.8, 0.5), (0.8, 1.0, 0.6)
STEPS, FRAMES = 4, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128, help="side of the video in pixels")
    parser.add_argument("--prompts", type=int, default=20)
    parser.add_argument("--backend", default="inductor", help="of torch.compile; 'eager' only records graphs")
    arguments = parser.parse_args()
    family = Family.load()
    print("| | graphs | recompilations | relative error | s per step, eager | s per step, compiled |")
    print(f"|{' --- |' * 6}", flush=True)
    for way in WAYS:
        print(row(family, way, arguments), flush=True)


def torch_compile(model: Any, backend: str) -> Any:
    from comfy_extras.nodes_torch_compile import TorchCompileModel

    return TorchCompileModel.execute(model, backend).args[0]


def regional(model: Any, backend: str, unet: bool) -> Any:
    from animatelcm.motion.attach_compile import attach_compiler

    return attach_compiler(model, unet, backend, say=lambda text: None)


# Each takes what makes the model of a prompt, and what it is made from; and returns the compiled model
Make = Callable[[Any], Any]
WAYS: dict[str, Callable[[Make, Any, str], Any]] = {
    "TorchCompileModel, Apply AnimateLCM": lambda make, model, backend: make(torch_compile(model, backend)),
    "Apply AnimateLCM, TorchCompileModel": lambda make, model, backend: torch_compile(make(model), backend),
    "AnimateLCM Compile, motion module": lambda make, model, backend: regional(make(model), backend, False),
    "AnimateLCM Compile, motion module and UNet": lambda make, model, backend: regional(make(model), backend, True),
}


def row(family: "Family", way: str, arguments: argparse.Namespace) -> str:
    """One line of the table."""
    from animatelcm.motion.regions import region
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    region.cache_clear()
    counters.clear()
    errors, seconds, graphs = [], [], [0]
    for i in range(arguments.prompts):
        make = partial(family.moving, i=i)
        eager = make(family.model)
        expected, took_eager = timed(family, eager, i, arguments.size)
        found, took = timed(family, WAYS[way](make, family.model, arguments.backend), i, arguments.size)
        errors.append(float((found - expected).norm() / expected.norm()))
        graphs.append(counters["stats"]["unique_graphs"])
        if graphs[-1] == graphs[-2]:
            seconds.append((took_eager, took))
    times = torch.tensor(seconds).median(dim=0).values / STEPS
    again = graphs[-1] - graphs[1]
    return f"| {way} | {graphs[1]} | {again} | {max(errors):.1e} | {times[0]:.3f} | {times[1]:.3f} |"


def timed(family: "Family", model: Any, i: int, size: int) -> tuple[Tensor, float]:
    """The latent of a prompt, and how long it took."""
    import comfy.sample
    from animatelcm.sampling.model_sampling import consistency_sampler, sample_sigmas
    from animatelcm.sampling.noise import initial_noise

    clip, shape = family.clip, (FRAMES, 4, size // 8, size // 8)
    prompt = clip.encode_from_tokens_scheduled(clip.tokenize(WORDS[i % len(WORDS)]))
    noise, sampler, sigmas = initial_noise(shape, i), consistency_sampler(), sample_sigmas(model, STEPS, 1.0)
    began = time.perf_counter()
    found = comfy.sample.sample_custom(
        model, noise, 1.0, sampler, sigmas, prompt, prompt, torch.zeros(shape), disable_pbar=True, seed=i
    )
    return found, time.perf_counter() - began


@dataclass(frozen=True)
class Family:
    """The mini family's models, as ComfyUI loads them."""

    model: Any
    clip: Any
    motion: Any
    lora: dict[str, Tensor]

    @classmethod
    def load(cls) -> "Family":
        import comfy.sd
        import comfy.utils
        from animatelcm.motion.attach import load_motion_module
        from animatelcm.nodes.mini import register_mini

        register_mini()
        models = ROOT / "models"
        model, clip, *_ = comfy.sd.load_checkpoint_guess_config(str(models / f"checkpoints/{FAMILY}.safetensors"))
        motion = load_motion_module(str(models / f"animatediff_models/{FAMILY}_t2v.safetensors"))
        return cls(
            model, clip, motion, comfy.utils.load_torch_file(str(models / f"loras/{FAMILY}_lcm_lora.safetensors"))
        )

    def moving(self, model: Any, i: int) -> Any:
        """A model with the motion module, the acceleration LoRA and the schedule, as prompt `i` has them."""
        import comfy.sd
        from animatelcm.motion.attach import attach_motion
        from animatelcm.sampling.model_sampling import apply_schedule
        from animatelcm.sampling.schedule import T2V

        fast, _ = comfy.sd.load_lora_for_models(model, None, self.lora, BETAS[i % len(BETAS)], 0.0)
        return apply_schedule(attach_motion(fast, self.motion, GAMMAS[i % len(GAMMAS)]), T2V)


if __name__ == "__main__":
    main()
