"""A Frechet video distance on features that are written down here: no learned network judges.

The distance of two Gaussians is Heusel et al.'s (2017), as in the Frechet video distance of Unterthiner et al. (2018).
The 176 features of a clip, in this order, over a grid of 4 x 4 cells:

- the mean colour of each cell in the first, the middle and the last frame (144);
- the strength of the edges in each cell, as a root mean square over all frames (16): blur makes it less;
- the change from one frame to the next in each cell, as a root mean square over all frames (16).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

GRID = 4
FEATURES = GRID**2 * (3 * 3 + 2)


def describe(clips: Tensor) -> Tensor:
    """The features of clips (N, F, 3, H, W) in 0..1: (N, 176)."""
    last = clips.shape[1] - 1
    colour = _cells(clips[:, [0, last // 2, last]])
    across, down = clips.diff(dim=-1)[..., :-1, :], clips.diff(dim=-2)[..., :-1]
    edges = _cells((across.square() + down.square()).sum(2, keepdim=True)).mean(1).sqrt()
    change = _cells(clips.diff(dim=1).square().sum(2, keepdim=True)).mean(1).sqrt()
    return torch.cat([part.flatten(1) for part in (colour, edges, change)], dim=1)


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)), of the means and covariances of rows (N, D)."""
    a, b = a.double(), b.double()
    cov_a, cov_b = torch.cov(a.T), torch.cov(b.T)
    root = _root(cov_a)
    crossed = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    return float((a.mean(0) - b.mean(0)).square().sum() + cov_a.trace() + cov_b.trace() - 2 * crossed)


def _cells(images: Tensor) -> Tensor:
    """The mean of each cell of images (N, F, C, H, W): (N, F, C, 4, 4)."""
    return F.adaptive_avg_pool2d(images.flatten(0, 1), GRID).unflatten(0, images.shape[:2])


def _root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    return vectors @ (values.clamp(min=0).sqrt()[:, None] * vectors.T)
