"""Weights over frames and places: numbers, lists and masks in one."""

import pytest
import torch
from animatelcm.motion.attach import attach_motion
from animatelcm.motion.weights import Weight, at_places, of_frames, weight_over
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..relative_error import relative_error
from .comfy_model import SIZE, sample
from .test_attach_image import motion, tensors  # noqa: F401 - a motion module
from .windows import CLIP, WINDOWS, contract, in_windows


def test_a_number_stays_one() -> None:
    assert weight_over(0.7) == 0.7


def test_a_list_is_one_number_per_frame() -> None:
    assert weight_over([0.5, 1.0]).flatten().tolist() == [0.5, 1.0]


@pytest.mark.parametrize(
    ("values", "frames", "expected"),
    [
        (0.5, 3, [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]]),
        ([0.5], 2, [[0.5, 0.5], [0.5, 0.5]]),
        ([0.5, 2.0], 1, [[0.5, 0.5], [2.0, 2.0]]),
        ([0.5, 2.0], 3, [[0.5, 0.5], [2.0, 2.0], [2.0, 2.0]]),
    ],
)
def test_masks_multiply_numbers_and_the_shorter_ones_last_holds_on(
    values: float | list[float], frames: int, expected: list[list[float]]
) -> None:
    assert weight_over(values, torch.ones(frames, 1, 2)).squeeze(1).tolist() == expected


def test_a_frame_has_its_own_numbers_weight_and_the_last_holds_on() -> None:
    weight = of_frames(weight_over([0.0, 0.1, 0.2]), (2, 0, 7), torch.device("cpu"))
    assert weight.flatten().tolist() == pytest.approx([0.2, 0.0, 0.2])


def test_a_mask_takes_the_size_and_the_precision_of_the_features() -> None:
    mask = torch.tensor([[[0.0, 1.0], [0.0, 1.0]]])
    weight = at_places(mask, torch.zeros(1, 3, 1, 4, dtype=torch.float16))
    assert weight.dtype == torch.float16
    assert weight.tolist() == [[[[0.0, 0.25, 0.75, 1.0]]]]  # between the centres, evenly


@pytest.mark.parametrize("weight", [0.5, torch.tensor(0.5)])
def test_one_number_fits_all_places(weight: float | torch.Tensor) -> None:
    assert at_places(weight, torch.zeros(1, 3, 4, 4)) is weight


def test_one_number_per_frame_fits_all_places() -> None:
    assert at_places(weight_over([0.5, 1.0]), torch.zeros(4, 3, 4, 4)).shape == (2, 1, 1, 1)


# On a model


def clip(model: ModelPatcher, motion: ModelPatcher, windows: bool = False, **weights: Weight) -> Tensor:  # noqa: F811
    """One step of a clip."""
    moving = attach_motion(model, motion, **weights)
    return sample(in_windows(moving, contract(WINDOWS)) if windows else moving, frames=CLIP, sigmas=(14.0, 0.0))


@pytest.mark.parametrize("name", ["gamma", "scale"])
@pytest.mark.parametrize("shape", [(CLIP, 1, 1), (1, SIZE, SIZE), (CLIP, 3, 5)], ids=["list", "mask", "masks"])
def test_the_same_weight_everywhere_is_a_number(
    base: ModelPatcher,
    motion: ModelPatcher,  # noqa: F811
    name: str,
    shape: tuple[int, ...],
) -> None:
    everywhere = clip(base, motion, **{name: torch.full(shape, 0.7)})
    assert relative_error(everywhere, clip(base, motion, **{name: 0.7})) < 1e-4
    assert relative_error(everywhere, clip(base, motion)) > 3e-4


@pytest.mark.parametrize("windows", [False, True], ids=["whole", "windows"])
def test_a_frame_of_gamma_0_is_the_image_models(base: ModelPatcher, motion: ModelPatcher, windows: bool) -> None:  # noqa: F811
    """It sees no other: the weights of a window are those of its frames' numbers."""
    gammas = [float(number % 2) for number in range(CLIP)]
    moving = clip(base, motion, windows, gamma=weight_over(gammas))
    still = clip(base, motion, gamma=0.0)
    assert relative_error(moving[::2], still[::2]) < 1e-4
    assert relative_error(moving[1::2], still[1::2]) > 1e-3


def test_frames_of_scale_0_are_all_alike_to_others(base: ModelPatcher, motion: ModelPatcher) -> None:  # noqa: F811
    """Softmax of equal scores: no frame stands out, which is other than the module's own attention."""
    assert relative_error(clip(base, motion, scale=0.0), clip(base, motion)) > 3e-4
    assert relative_error(clip(base, motion, scale=0.0), clip(base, motion, scale=torch.zeros(CLIP, 1, 1))) < 1e-4
