"""Every style is found in what is drawn in it, and in no plain clip, nor at night."""

import pytest
import torch
from animatelcm.distill.mini.evaluation.metrics import measure, scores
from animatelcm.distill.mini.evaluation.styles import styled
from animatelcm.distill.mini.scenes import FRAMES, LOOKS, STYLES, draw_scenes, render
from torch.nn.functional import avg_pool2d

TIMES = torch.arange(0, FRAMES, 3, dtype=torch.float32)
SCENES = draw_scenes(40, seed=3)


@pytest.mark.parametrize("style", STYLES[1:])
def test_a_style_is_found_in_its_clips(style: str) -> None:
    assert styled(render(SCENES, TIMES, style), style).all()


@pytest.mark.parametrize("style", STYLES[1:])
def test_a_style_is_found_in_soft_clips_as_a_vae_decodes_them(style: str) -> None:
    clips = render(SCENES, TIMES, style)
    soft = avg_pool2d(clips.flatten(0, 1), 3, 1, 1, count_include_pad=False).view_as(clips)
    assert styled(0.5 * (clips + soft), style).float().mean() >= 0.95


@pytest.mark.parametrize("style", STYLES[1:])
@pytest.mark.parametrize("look", ["plain", "night"])
def test_what_is_drawn_plainly_has_no_style(look: str, style: str) -> None:
    assert styled(render(SCENES, TIMES, look), style).float().mean() <= 0.1


@pytest.mark.parametrize("look", LOOKS)
def test_colour_shape_and_movement_are_measured_in_every_look(look: str) -> None:
    found = scores(measure(render(SCENES, TIMES, look)), SCENES)
    for name in ("colour", "shape", "one_blob", "coherent"):
        assert found[name].mean() == 1, name


def test_noise_and_nothing_have_no_style() -> None:
    clips = torch.stack([torch.rand(4, 3, 64, 64), torch.full((4, 3, 64, 64), 0.5)])
    assert not any(styled(clips, style).any() for style in STYLES[1:])
