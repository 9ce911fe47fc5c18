"""Samplers against a model whose probability flow is known: x0 is Gaussian, so the noise is a multiple of x."""

import pytest
import torch
from animatelcm.distill.diffusion import MOTION, Model, alpha_bar_at
from animatelcm.distill.mini.evaluation import samplers
from animatelcm.distill.mini.evaluation.samplers import Sampler, ddim_guided, dpm_guided
from torch import Tensor

DEVIATION = 0.3


class Gaussian:
    """The exact noise prediction for x0 of mean nought and deviation 0.3; guidance has nothing to add."""

    def guided_by(self, prompts: list[str]) -> tuple[Model, Model]:
        def model(x: Tensor, t: Tensor) -> Tensor:
            alpha_bar = alpha_bar_at(MOTION, t, x)
            return (1 - alpha_bar).sqrt() * x / (alpha_bar * DEVIATION**2 + 1 - alpha_bar)

        return model, model


def sampled(sampler: Sampler, x: Tensor) -> Tensor:
    return sampler(Gaussian(), x, [""] * len(x), torch.Generator())  # type: ignore[arg-type]


def exact(x: Tensor) -> Tensor:
    """Where the flow from t = 999 ends: it scales x to the deviation that the data have."""
    alpha_bar = alpha_bar_at(MOTION, torch.tensor([999]), x)
    return x * DEVIATION / (alpha_bar * DEVIATION**2 + 1 - alpha_bar).sqrt()


@pytest.mark.parametrize("sampler", [ddim_guided, dpm_guided])
@pytest.mark.parametrize("cfg", [1.0, 3.0])
def test_many_steps_follow_the_flow(sampler: type, cfg: float) -> None:
    x = torch.randn(2, 3, 4, 2, 2)
    torch.testing.assert_close(sampled(sampler(500, cfg), x), exact(x), rtol=0.02, atol=1e-3)


def test_dpm_is_nearer_to_the_flow_than_ddim_in_eight_steps() -> None:
    x = torch.randn(2, 3, 4, 2, 2)
    ddim, dpm = ((sampled(sampler(8, 1.0), x) - exact(x)).abs().mean() for sampler in (ddim_guided, dpm_guided))
    assert dpm < ddim


@pytest.mark.parametrize("sampler", [ddim_guided, dpm_guided])
def test_one_step_is_the_clamped_x0(sampler: type) -> None:
    x = 40 * torch.randn(2, 3, 4, 2, 2)
    t = torch.tensor([999, 999])
    alpha_bar = alpha_bar_at(MOTION, t, x)
    noise = Gaussian().guided_by([])[0](x, t)
    expected = ((x - (1 - alpha_bar).sqrt() * noise) / alpha_bar.sqrt()).clamp(
        -samplers.LATENT_RANGE, samplers.LATENT_RANGE
    )
    torch.testing.assert_close(sampled(sampler(1, 1.0), x), expected, rtol=1e-3, atol=1e-3)
