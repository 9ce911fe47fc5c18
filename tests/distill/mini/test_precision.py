"""What 16 bits leave of the signal that distillation learns from."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from animatelcm.distill.diffusion import LATENT_RANGE, MOTION, Model, add_noise, alpha_bar_at, consistency, ddim_step
from animatelcm.distill.mini.evaluation.recipe import Recipe, combine
from animatelcm.distill.mini.restore import restore
from animatelcm.distill.mini.scenes import FRAMES
from animatelcm.distill.mini.unet import LATENT_SHAPE
from animatelcm.sampling.schedule import alphas_cumprod, solver_grid
from torch import Tensor

SIGMA = 25.0  # of nearly pure noise, where colour, place and direction are decided


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Model]:
    """The shipped student and its teacher, on clips of a prompt."""
    run: Path = tmp_path_factory.mktemp("run")
    restore(run)
    prompts = ["a large red circle moving right on a blue background"] * 2
    return tuple(
        combine(run, recipe).guided_by(prompts)[0] for recipe in (Recipe(), Recipe(motion="motion", acceleration=None))
    )


def difference(student: Model, teacher: Model, dtype: torch.dtype) -> Tensor:
    """What the student says of neighbouring timesteps of a path, one less the other, its UNet computing in a type."""
    generator = torch.Generator().manual_seed(0)
    x0, epsilon = (torch.randn(2, FRAMES, *LATENT_SHAPE, generator=generator) for _ in range(2))
    sigmas = (1 / alphas_cumprod(MOTION) - 1).sqrt()[solver_grid(MOTION)]
    place = int((sigmas - SIGMA).abs().argmin())
    t, earlier = (solver_grid(MOTION)[i].expand(2) for i in (place, place - 1))
    alpha_bar, earlier_alpha_bar = (alpha_bar_at(MOTION, s, x0) for s in (t, earlier))
    x = add_noise(x0, epsilon, alpha_bar)
    x_earlier = ddim_step(x, teacher(x, t), alpha_bar, earlier_alpha_bar, LATENT_RANGE)

    def answer(x: Tensor, t: Tensor, alpha_bar: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            predicted = student(x, t)
        return consistency(x, predicted.float(), t, alpha_bar)

    return answer(x, t, alpha_bar) - answer(x_earlier, earlier, earlier_alpha_bar)


@torch.no_grad()
@pytest.mark.parametrize(
    ("dtype", "enough"), [(torch.float16, lambda cosine: cosine > 0.95), (torch.bfloat16, lambda cosine: cosine < 0.9)]
)
def test_fp16_keeps_what_online_and_target_differ_by_and_bf16_does_not(
    models: tuple[Model, Model], dtype: torch.dtype, enough: Callable[[float], bool]
) -> None:
    exact, rounded = (difference(*models, kind) for kind in (torch.float32, dtype))
    assert enough(float(torch.cosine_similarity(exact.flatten(), rounded.flatten(), dim=0)))
