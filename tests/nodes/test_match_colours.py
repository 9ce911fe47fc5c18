"""AnimateLCM Match Colors: what ComfyUI's images may be, and which picture counts."""

import comfy.model_management
import pytest
import torch
from animatelcm.nodes.match_colours import AnimateLCMMatchColors
from animatelcm.video.colours import match_colours
from animatelcm.video.frames import VideoError
from torch import Tensor


def match(images: Tensor, picture: Tensor, strength: float = 1.0) -> Tensor:
    return AnimateLCMMatchColors.execute(images, picture, strength)[0]


@pytest.mark.parametrize("channels", [3, 4])
def test_the_frames_get_the_colours_of_the_picture(channels: int) -> None:
    images, picture = torch.rand(3, 8, 8, channels), torch.rand(1, 20, 10, channels)
    assert torch.equal(match(images, picture), match_colours(images, picture[0]))


def test_of_several_pictures_the_first_counts() -> None:
    images, pictures = torch.rand(3, 8, 8, 3), torch.rand(2, 8, 8, 3)
    assert torch.equal(match(images, pictures), match(images, pictures[:1]))


def test_frames_that_are_no_numbers_are_refused() -> None:
    images = torch.rand(3, 8, 8, 3)
    images[1, 2, 3, 0] = torch.inf
    with pytest.raises(VideoError, match="Frame 1 has values that are not numbers"):
        match(images, torch.rand(1, 8, 8, 3))


def test_an_interrupt_stops_it() -> None:
    comfy.model_management.interrupt_current_processing()
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        match(torch.rand(3, 8, 8, 3), torch.rand(1, 8, 8, 3))
