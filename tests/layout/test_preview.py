"""The picture of a layout."""

import torch
from animatelcm.layout.boxes import Box, Keyframe, Layout
from animatelcm.layout.draw import colour
from animatelcm.layout.preview import preview
from torch import Tensor

LAYOUT = Layout(
    (
        Box("fox", (Keyframe(0, 0.05, 0.6, 0.3, 0.3), Keyframe(15, 0.65, 0.1, 0.3, 0.3))),
        Box("moon", (Keyframe(0, 0.1, 0.1, 0.2, 0.2),)),
    )
)


def near(picture: Tensor, rgb: tuple[float, float, float]) -> Tensor:
    return (picture[0] - torch.tensor(rgb)).abs().amax(-1) < 0.01


def test_a_preview_is_one_picture_of_the_size_asked_for() -> None:
    picture = preview(LAYOUT, 16, 320, 200)
    assert picture.shape == (1, 200, 320, 3)
    assert picture.min() >= 0 and picture.max() <= 1


def test_the_last_place_of_every_box_is_drawn_in_its_colour() -> None:
    picture = preview(LAYOUT, 16, 400, 400)
    for i, (left, top, right, bottom) in enumerate([(260, 40, 380, 160), (40, 40, 120, 120)]):
        mine = near(picture, colour(LAYOUT, i))
        assert mine[top, left + 2 : right - 1].float().mean() > 0.9
        assert mine[top + 2 : bottom - 1, right - 2 : right + 1].any(1).float().mean() > 0.9


def test_an_earlier_place_is_darker() -> None:
    picture = preview(LAYOUT, 16, 400, 400)[0]
    assert 0 < picture[240, 60].max() < 0.6 * picture[40, 300].max()


def test_a_keyframe_after_the_last_frame_is_not_drawn() -> None:
    mine = near(preview(LAYOUT, 8, 400, 400), colour(LAYOUT, 0))
    assert mine[240 + 60, 80] and not mine[100 - 3 : 100 + 3, 320 - 3 : 320 + 3].any()


def test_a_preview_of_one_frame_and_of_no_box_is_drawn() -> None:
    assert preview(LAYOUT, 1, 64, 64).shape == (1, 64, 64, 3)
    assert preview(Layout(), 16, 64, 64).unique().numel() <= 3
