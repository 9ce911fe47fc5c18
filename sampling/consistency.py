"""The sampler of latent consistency models, as a function that k-diffusion's and ComfyUI's drivers can call."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import trange

from .noise import step_noise


@torch.no_grad()
def sample_consistency(
    model: Callable[..., Tensor],
    x: Tensor,
    sigmas: Tensor,
    extra_args: dict[str, Any] | None = None,
    callback: Callable[[dict[str, Any]], None] | None = None,
    disable: bool | None = None,
    noise_sampler: Callable[[Tensor, Tensor], Tensor] | None = None,
    numbers: Sequence[int] | None = None,
) -> Tensor:
    """Multistep consistency sampling (Algorithm 1 of "Consistency Models"; "Latent Consistency Models", section 4).

    Each step predicts the clean latent and adds fresh noise of the next, lower level to it; the last step adds none.

    Args:
        model: returns the clean latent of (noisy latent, sigma per row); anything in `extra_args` is passed on to it.
        x: noisy latent of level `sigmas[0]`, (frames, channels, height, width).
        sigmas: descending noise levels and a final 0, (steps + 1,).
        extra_args: its `seed` is the seed of the steps' noise.
        callback: called after every prediction, with what k-diffusion's samplers report.
        disable: whether to hide the progress bar.
        noise_sampler: replaces the steps' noise, (sigma, next sigma) -> noise.
        numbers: of the frames, for the steps' noise; see `initial_noise`.
    """
    extra_args = extra_args or {}
    seed = extra_args.get("seed") or 0

    def fresh(lower: float) -> Tensor:
        return step_noise(x.shape, seed, lower, numbers).to(x)

    rows, levels = x.new_ones([x.shape[0]]), sigmas.tolist()  # read back once, not in every step
    for i in trange(len(levels) - 1, disable=disable):
        denoised = model(x, sigmas[i] * rows, **extra_args)
        if callback is not None:
            callback({"x": x, "i": i, "sigma": sigmas[i], "sigma_hat": sigmas[i], "denoised": denoised})
        x = denoised
        lower = levels[i + 1]
        if lower > 0:
            noise = noise_sampler(sigmas[i], sigmas[i + 1]) if noise_sampler else fresh(lower)
            x = x + lower * noise
    return x
