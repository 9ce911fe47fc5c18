"""The picture of a layout."""

import pytest
import torch
from animatelcm.layout.boxes import Box, Layout
from animatelcm.layout.draw import colour
from animatelcm.layout.keyframes import Keyframe
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


def test_every_box_is_drawn_in_its_own_colour() -> None:
    written = Box("sun", (Keyframe(0, 0.4, 0.7, 0.2, 0.2),), colour="#3366ff")
    layout = Layout((*LAYOUT.boxes, written))
    picture, without = preview(layout, 16, 400, 400), preview(LAYOUT, 16, 400, 400)
    assert near(picture, (0.2, 0.4, 1.0))[280:361, 160:241].sum() >= 4 * 78
    assert not near(without, (0.2, 0.4, 1.0)).any()
    assert not near(preview(Layout(), 16, 400, 400), colour(LAYOUT, 0)).any()


def test_places_become_brighter_from_the_first_frame_to_the_last() -> None:
    """The left edges of the fox at the five moments that are shown, at the height of the box's middle."""
    picture = preview(
        Layout((Box("fox", (Keyframe(0, 0.1, 0.1, 0.1, 0.8), Keyframe(8, 0.8, 0.1, 0.1, 0.8))),)), 9, 400, 400
    )
    light = [picture[0, 100, round(400 * (0.1 + 0.7 * frame / 8))].max() for frame in (0, 2, 4, 6, 8)]
    assert light == sorted(light)
    assert light[0] == pytest.approx(0.25 * 1.0 + 0.75 * 24 / 255, abs=0.01)
    assert light[-1] == 1


@pytest.mark.parametrize("place", [(-2.0, -2.0), (3.0, 3.0), (-0.1, 0.9)])
def test_a_box_outside_of_the_picture_can_be_shown(place: tuple[float, float]) -> None:
    layout = Layout((Box("away \N{GRINNING FACE}", (Keyframe(0, *place, 0.3, 0.3),)),))
    assert preview(layout, 16, 64, 48).shape == (1, 48, 64, 3)


def test_an_earlier_place_is_darker() -> None:
    picture = preview(LAYOUT, 16, 400, 400)[0]
    assert 0 < picture[240, 60].max() < 0.6 * picture[40, 300].max()


def test_a_keyframe_after_the_last_frame_is_not_drawn() -> None:
    mine = near(preview(LAYOUT, 8, 400, 400), colour(LAYOUT, 0))
    assert mine[240 + 60, 80] and not mine[100 - 3 : 100 + 3, 320 - 3 : 320 + 3].any()


def test_a_preview_of_one_frame_and_of_no_box_is_drawn() -> None:
    assert preview(LAYOUT, 1, 64, 64).shape == (1, 64, 64, 3)
    assert preview(Layout(), 16, 64, 64).unique().numel() <= 3
