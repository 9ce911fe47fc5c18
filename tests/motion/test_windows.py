"""A clip in windows: every frame has what belongs to its number, whoever cuts the clip and however that is said.

The oracle is the whole clip at once, with the motion module attached and gamma 0: no frame depends on another there, so
that any difference is something that a frame has of another one.
"""

from typing import Any

import comfy.controlnet
import pytest
import torch
from animatelcm.motion.attach import MotionModelError, attach_motion
from animatelcm.motion.attach_image import KEY, Pictures, attach_pictures
from animatelcm.nodes.preflight import with_mask_check
from animatelcm.windows.frames import Frames, FramesError
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ..relative_error import relative_error
from .comfy_model import CONTEXT, SIZE, hooks, prompt, sample
from .test_attach_image import LATENT_SCALE, motion, tensors  # noqa: F401 - a motion module with an image encoder
from .windows import ANCHORED, CLIP, HANDLERS, WINDOWS, comfyuis_own, contract, in_windows

ONE_STEP = (14.0, 0.0)


@pytest.fixture(params=HANDLERS)
def handler(request: pytest.FixtureRequest) -> Any:
    return HANDLERS[request.param]()


@pytest.fixture
def moving(base: ModelPatcher, motion: ModelPatcher) -> ModelPatcher:  # noqa: F811
    return attach_motion(base, motion)


@pytest.fixture
def still(base: ModelPatcher, motion: ModelPatcher) -> ModelPatcher:  # noqa: F811
    return attach_motion(base, motion, gamma=0.0)


def denoised(model: ModelPatcher, **inputs: Any) -> Tensor:
    found = sample(model, frames=CLIP, sigmas=ONE_STEP, **inputs)
    assert not hooks(model)
    return found


def assert_same(found: Tensor, expected: Tensor) -> None:
    assert relative_error(found, expected) < 1e-4


def far(one: Tensor, other: Tensor) -> bool:
    return relative_error(one, other) > 1e-3


# The motion module


@pytest.mark.parametrize("cfg", [1.0, 2.0])
def test_a_window_moves_as_a_clip_of_its_own(base: ModelPatcher, moving: ModelPatcher, cfg: float) -> None:
    """Its frames see each other, and those of other windows do not."""
    found = denoised(in_windows(moving, contract(WINDOWS)), cfg=cfg)
    assert_same(found[:3], sample(moving, frames=3, sigmas=ONE_STEP, cfg=cfg))
    assert far(found, denoised(moving, cfg=cfg))


def test_the_anchor_is_seen_by_the_window(moving: ModelPatcher) -> None:
    plain, anchored = (denoised(in_windows(moving, contract(windows))) for windows in (WINDOWS, ANCHORED))
    assert_same(plain[:3], anchored[:3])
    assert far(plain[3:], anchored[3:])


def test_every_handler_gives_the_same_clip(moving: ModelPatcher, handler: Any, request: Any) -> None:
    windows = ANCHORED if "anchor" in request.node.name else WINDOWS
    assert_same(denoised(in_windows(moving, handler)), denoised(in_windows(moving, contract(windows))))


def test_a_window_of_as_many_frames_as_there_are_positions_has_room_for_an_anchor(moving: ModelPatcher) -> None:
    longest = Frames(tuple(range(1, 65)), 65, anchor=0)
    found = sample(in_windows(moving, contract((Frames((0,), 65), longest))), frames=65, sigmas=ONE_STEP)
    assert found.isfinite().all()


def test_comfyuis_windows_of_64_frames_work_with_its_anchor(moving: ModelPatcher) -> None:
    found = sample(in_windows(moving, comfyuis_own(True, length=64)), frames=66, sigmas=ONE_STEP)
    assert found.isfinite().all()


def test_a_window_of_more_frames_than_positions_is_refused(moving: ModelPatcher) -> None:
    windows = (Frames(tuple(range(65)), 65),)
    with pytest.raises(MotionModelError, match="65 frames.*positions for 64"):
        sample(in_windows(moving, contract(windows)), frames=65, sigmas=ONE_STEP)


def test_a_window_that_names_other_frames_than_it_has_is_refused(moving: ModelPatcher) -> None:
    handler = contract(WINDOWS)
    handler.published = lambda frames: contract(WINDOWS).published(Frames((0, 1), CLIP))
    with pytest.raises(FramesError, match="sees 3 frames, and the context window names 2"):
        denoised(in_windows(moving, handler))


# What belongs to a frame


def test_frames_have_their_own_embedding_of_other_packs(still: ModelPatcher, handler: Any) -> None:
    """As IP-Adapter does it: a row per frame of the clip, chosen by `sub_idxs`."""
    rows = torch.randn(CLIP, 1, CONTEXT, generator=torch.Generator().manual_seed(4))

    def adapt(q: Tensor, k: Tensor, v: Tensor, options: dict[str, Any]) -> tuple[Tensor, ...]:
        params = options["ad_params"]
        assert params["full_length"] == CLIP
        own = rows[params["sub_idxs"] or slice(None)]
        return q, torch.cat((k, own), 1), torch.cat((v, own), 1)

    adapted = still.clone()
    adapted.set_model_attn2_patch(adapt)
    expected = denoised(adapted)
    assert far(expected, denoised(still))
    assert_same(denoised(in_windows(adapted, handler)), expected)


def test_no_more_than_two_windows_of_pictures_are_kept(still: ModelPatcher) -> None:
    kept: list[int] = []

    def watch(executor: Any, x: Tensor, t: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        result = executor(x, t, *args, **kwargs)
        kept.append(len(args[3][KEY].features))
        return result

    shown = attach_pictures(still, Pictures(torch.randn(2, 4, SIZE, SIZE) / LATENT_SCALE, (0, CLIP - 1)))
    shown.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "watch", watch)
    windows = tuple(Frames((first, first + 1), CLIP) for first in range(CLIP - 1))
    denoised(in_windows(shown, contract(windows)))
    assert kept == [1, 2, 2, 2, 2]


def test_windows_longer_than_the_positions_are_refused_before_the_first_step(moving: ModelPatcher) -> None:
    handler = contract(WINDOWS)
    handler.context_length = 65  # as ComfyUI's handlers and Long Clip's have it
    with pytest.raises(MotionModelError, match="The windows have 65 frames, and the motion module has positions for"):
        sample(in_windows(moving, handler), frames=70, sigmas=ONE_STEP)


def test_frames_have_their_own_pictures(still: ModelPatcher, handler: Any) -> None:
    """Without the encoder's count of frames, which starts anew in each window."""
    latents = torch.randn(2, 4, SIZE, SIZE, generator=torch.Generator().manual_seed(8)) / LATENT_SCALE
    shown = attach_pictures(still, Pictures(latents, (0, CLIP - 1), motion_scale=0.0))
    expected = denoised(shown)
    assert far(expected, denoised(still))
    assert_same(denoised(in_windows(shown, handler)), expected)


@pytest.mark.parametrize("count", [3, CLIP, CLIP + 2], ids=["repeated", "one each", "cut"])
def test_frames_have_their_own_masks(still: ModelPatcher, count: int) -> None:
    masks = (torch.arange(count) % 2).float()[:, None, None].expand(-1, SIZE, SIZE)
    positive = prompt(1)
    positive[0][1].update(mask=masks, mask_strength=1.0)
    both = [*positive, [prompt(3)[0][0], {"mask": 1 - masks, "mask_strength": 1.0}]]
    checked = with_mask_check(still)
    expected = denoised(checked, positive=both)
    unmasked = torch.arange(CLIP) % count % 2 == 0
    assert_same(expected[unmasked], denoised(still, positive=prompt(3))[unmasked])
    assert_same(denoised(in_windows(checked, contract(ANCHORED)), positive=both), expected)


@pytest.mark.parametrize("count", [3, CLIP, CLIP + 2], ids=["repeated", "one each", "cut"])
def test_frames_have_their_own_prompts(still: ModelPatcher, count: int) -> None:
    positive = [[torch.cat([prompt(seed)[0][0] for seed in range(count)]), {}]]
    checked = with_mask_check(still)
    expected = denoised(checked, positive=positive)
    assert_same(expected[4], denoised(still, positive=prompt(4 % count))[4])
    assert_same(denoised(in_windows(checked, contract(ANCHORED)), positive=positive), expected)


def test_controlnets_of_other_packs_see_the_window(still: ModelPatcher) -> None:
    seen: list[Any] = []

    class Control(comfy.controlnet.ControlBase):
        def get_control(self, x: Tensor, t: Tensor, cond: Any, batched: int, options: Any) -> None:
            seen.append(options["ad_params"]["sub_idxs"])

    positive = prompt(1)
    positive[0][1]["control"] = Control()
    denoised(in_windows(still, contract(ANCHORED)), positive=positive)
    assert seen == [[0, 1, 2], [2, 3, 4, 5]]
