"""The distance is that of two Gaussians, and the features tell apart what people would."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from animatelcm.distill.mini.evaluation.frechet import FEATURES, describe, frechet_distance
from animatelcm.distill.mini.scenes import FRAMES, draw_scenes, render
from scipy.linalg import sqrtm
from torch import Tensor
from torch.nn.functional import avg_pool2d

TIMES = torch.arange(FRAMES, dtype=torch.float32)


def with_moments(mean: Tensor, deviations: Tensor, count: int = 2000) -> Tensor:
    """Rows that have exactly these means and deviations, and no correlation."""
    rows = torch.randn(count, len(mean), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    q, _ = torch.linalg.qr(rows - rows.mean(0))
    return mean + q * (count - 1) ** 0.5 * deviations


def test_the_distance_of_uncorrelated_gaussians_is_the_closed_form() -> None:
    means, deviations = torch.randn(2, 6, dtype=torch.float64), 0.5 + torch.rand(2, 6, dtype=torch.float64)
    a, b = (with_moments(mean, deviation) for mean, deviation in zip(means, deviations, strict=True))
    expected = (means[0] - means[1]).square().sum() + (deviations[0] - deviations[1]).square().sum()
    assert frechet_distance(a, b) == pytest.approx(expected.item(), rel=1e-9)


def test_the_distance_is_scipys_matrix_root() -> None:
    a, b = (torch.randn(300, 12, dtype=torch.float64) @ torch.randn(12, 12, dtype=torch.float64) for _ in range(2))
    covariances = [np.cov(rows.numpy().T) for rows in (a, b)]
    crossed = sqrtm(covariances[0] @ covariances[1]).real
    means = (a.mean(0) - b.mean(0)).square().sum().item()
    expected = means + np.trace(covariances[0] + covariances[1] - 2 * crossed)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


def test_rows_are_at_no_distance_from_themselves_even_if_fewer_than_features() -> None:
    rows = torch.randn(20, 50)
    assert frechet_distance(rows, rows) == pytest.approx(0, abs=1e-5)


def test_each_group_of_features_sees_what_it_is_named_for() -> None:
    clip = render(draw_scenes(1, seed=3), TIMES)
    plain = torch.full_like(clip, 0.25)
    colour, edges, change = describe(plain).split([144, 16, 16], dim=1)
    torch.testing.assert_close(colour, torch.full_like(colour, 0.25))
    assert describe(clip).shape == (1, FEATURES)
    assert edges.abs().max() < 1e-6
    assert change.abs().max() < 1e-6
    held = describe(clip[:, :1].expand(-1, FRAMES, -1, -1, -1))
    assert held[:, 160:].abs().max() < 1e-6
    assert held[:, 144:160].max() > 0.01


SPOILS: dict[str, Callable[[Tensor], Tensor]] = {
    "blurred": lambda clips: avg_pool2d(clips.flatten(0, 1), 5, 1, 2, count_include_pad=False).view_as(clips),
    "frozen": lambda clips: clips[:, :1].expand_as(clips),
    "darkened": lambda clips: 0.8 * clips,
}


@pytest.fixture(scope="module")
def clips() -> tuple[Tensor, Tensor]:
    real, others = (render(draw_scenes(200, seed=seed), TIMES) for seed in (1, 2))
    return real, others


@pytest.mark.parametrize("spoil", SPOILS)
def test_spoilt_clips_are_farther_from_real_ones_than_others(clips: tuple[Tensor, Tensor], spoil: str) -> None:
    real, others = clips
    reference = describe(real)
    scale = reference.std(0).clamp(min=1e-6)
    shown = (describe(others), describe(SPOILS[spoil](others)))
    floor, distance = (frechet_distance(features / scale, reference / scale) for features in shown)
    assert distance > 1.1 * floor
