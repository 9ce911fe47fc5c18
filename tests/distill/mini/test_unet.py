"""The image model with what animates it: an image encoder's features are added where T2I adapters add theirs."""

import torch
from animatelcm.distill.mini.scenes import FRAMES
from animatelcm.distill.mini.stages import features
from animatelcm.distill.mini.unet import build_image_encoder, build_motion, build_unet, predict_video_noise
from torch import Tensor

from ...relative_error import relative_error

CLIPS = 2


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(CLIPS, FRAMES, 4, 8, 8, generator=generator)
    return x, torch.tensor([999, 40]), torch.randn(CLIPS, 77, 64, generator=generator)


@torch.no_grad()
def test_features_are_added_as_diffusers_adds_an_adapters() -> None:
    torch.manual_seed(0)
    unet, (x, t, context) = build_unet().eval(), inputs()
    image_features = features(build_image_encoder(), x[:, 0], torch.tensor([0.8, 0.3]))
    expected = unet(
        x.flatten(0, 1),
        t.repeat_interleave(FRAMES),
        context.repeat_interleave(FRAMES, dim=0),
        down_intrablock_additional_residuals=list(image_features),
    ).sample
    found = predict_video_noise(unet, build_motion(), x, t, context, gamma=0.0, image_features=image_features)
    assert relative_error(found.flatten(0, 1), expected) < 1e-4


@torch.no_grad()
def test_the_temporal_transformers_see_what_the_frames_are_told() -> None:
    torch.manual_seed(0)
    unet, motion, (x, t, context) = build_unet().eval(), build_motion(), inputs()
    image_features = [torch.zeros(CLIPS * FRAMES, 64, side, side) for side in (8, 4, 2, 1)]
    image_features[0][0] = 1.0  # the first frame alone
    plain, changed = (
        predict_video_noise(unet, motion, x, t, context, image_features=features) for features in ((), image_features)
    )
    assert relative_error(changed[0, 1:], plain[0, 1:]) > 1e-3
    assert relative_error(changed[1], plain[1]) < 1e-5


@torch.no_grad()
def test_features_of_clips_are_apart() -> None:
    torch.manual_seed(0)
    encoder, pictures = build_image_encoder(), inputs()[0][:, 0]
    both = features(encoder, pictures, torch.tensor([0.8, 0.3]))
    second = features(encoder, pictures[1:], torch.tensor([0.3]))
    for level, alone in zip(both, second, strict=True):
        assert relative_error(level[FRAMES:], alone) < 1e-5
