"""How far results are from what is expected, in a measure that holds on any processor.

Sums are taken in another order on another processor, with another number of threads and for another shape, so that each
of their values is wrong by a share of the largest ones, however small itself: an absolute tolerance, or one that is
relative to each value alone, holds for the numbers of one machine.
"""

from torch import Tensor


def relative_error(found: Tensor, expected: Tensor) -> float:
    """The largest difference of two results, as a share of the largest value that is expected. NaN where one is NaN."""
    assert found.shape == expected.shape
    found, expected = found.detach().double(), expected.detach().double()
    return float((found - expected).abs().max() / expected.abs().max())
