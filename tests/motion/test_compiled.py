"""A model that ComfyUI's TorchCompileModel compiles gives the clip of the eager one, and is compiled once."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch._dynamo.testing
from animatelcm.motion.attach import MotionModelError, attach_motion, check_all_ran
from animatelcm.motion.attach_image import Pictures, attach_pictures
from animatelcm.motion.hooks import Ran
from animatelcm.motion.weights import weight_over
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from comfy_extras.nodes_torch_compile import TorchCompileModel
from torch import Tensor

from .comfy_model import SIZE, hooks, sample
from .smallest import PLACES, assert_same, smallest_model, smallest_motion, with_lora

LATENT = torch.randn(1, 4, SIZE, SIZE, generator=torch.Generator().manual_seed(8))
Counter = torch._dynamo.testing.CompileCounter
Attach = Callable[[ModelPatcher], ModelPatcher]


@pytest.fixture(scope="module")
def base() -> ModelPatcher:
    return smallest_model()


@pytest.fixture(scope="module")
def motion() -> ModelPatcher:
    return smallest_motion()


@pytest.fixture(autouse=True)
def nothing_is_left(base: ModelPatcher) -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()
    assert not hooks(base)


@pytest.fixture
def counter() -> Any:
    return Counter()


def compiled(model: ModelPatcher, backend: Any) -> ModelPatcher:
    return TorchCompileModel.execute(model, backend)[0]


@pytest.fixture(params=["before", "after"])
def check(request: pytest.FixtureRequest, base: ModelPatcher, counter: Any) -> Callable[..., None]:
    """Sample a model that is compiled before or after something is attached to it, and compare with the eager one."""
    first = compiled(base, counter)

    def run(attach: Attach, **inputs: Any) -> None:
        made = attach(first) if request.param == "before" else compiled(attach(base), counter)
        assert_same(sample(made, **inputs), sample(attach(base), **inputs))

    return run


def plain(model: ModelPatcher) -> ModelPatcher:
    return model


@pytest.mark.parametrize("gammas", [(0.0, 1.0, 0.5, 0.0), (1.0, 0.0, 0.7)], ids=["0 first", "1 first"])
def test_one_graph_is_right_for_every_gamma_and_lora(
    check: Callable[..., None], motion: ModelPatcher, counter: Any, gammas: tuple[float, ...]
) -> None:
    for strength, gamma in enumerate(gammas):
        check(lambda model, gamma=gamma, beta=strength: attach_motion(with_lora(model, beta), motion, gamma))
    assert counter.frame_count == 1


def test_one_graph_is_right_for_all_masks(check: Callable[..., None], motion: ModelPatcher, counter: Any) -> None:
    for gammas in ([0.0, 1.0], [0.5, 0.2]):
        weights = weight_over(gammas, torch.rand(2, 8, 8)), weight_over(gammas)
        check(lambda model, weights=weights: attach_motion(model, motion, *weights))
    assert counter.frame_count == 1


def test_the_bare_model_and_the_motion_model_do_not_mix(
    check: Callable[..., None], motion: ModelPatcher, counter: Any
) -> None:
    """Dynamo does not guard on a hook where none was when it compiled."""
    for attach in (plain, lambda model: attach_motion(model, motion), plain):
        check(attach)
    assert counter.frame_count == 2


def test_a_picture_is_one_more_graph_at_all_times(
    check: Callable[..., None], motion: ModelPatcher, counter: Any
) -> None:
    def animate(model: ModelPatcher, start: float) -> ModelPatcher:
        return attach_pictures(attach_motion(model, motion), Pictures(LATENT, (0,), strengths=(1.0,), start=start))

    check(lambda model: attach_motion(model, motion))
    for start in (0.0, 0.5):
        check(lambda model, start=start: animate(model, start))
    check(lambda model: attach_motion(model, motion))
    assert counter.frame_count == 2


def test_as_many_rows_in_other_clips_are_another_graph(base: ModelPatcher, motion: ModelPatcher, counter: Any) -> None:
    """Two prompts on 2 frames are 4 rows, and so is one prompt on 4 frames."""
    eager = attach_motion(base, motion)
    made = compiled(eager, counter)
    for frames, cfg in ((4, 1.0), (2, 2.0), (4, 1.0)):
        assert_same(sample(made, frames=frames, cfg=cfg), sample(eager, frames=frames, cfg=cfg))
    assert counter.frame_count == 2


@pytest.mark.inductor
def test_inductor_gives_the_eager_clip(base: ModelPatcher, motion: ModelPatcher) -> None:
    made, eager = compiled(base, "inductor"), base
    for gamma in (0.0, 1.0, 0.5):
        assert_same(sample(attach_motion(made, motion, gamma)), sample(attach_motion(eager, motion, gamma)))


# What ran


def test_a_compiled_unet_that_skips_layers_is_found_out(base: ModelPatcher, motion: ModelPatcher, counter: Any) -> None:
    def skip_middle(executor: Any, *args: Any, **kwargs: Any) -> Tensor:
        unet = executor.class_obj.diffusion_model
        unet = getattr(unet, "_orig_mod", unet)
        middle, unet.middle_block = unet.middle_block, torch.nn.Sequential()
        try:
            return executor(*args, **kwargs)
        finally:
            unet.middle_block = middle

    model = compiled(attach_motion(base, motion), counter)
    model.add_wrapper(WrappersMP.APPLY_MODEL, skip_middle)
    with pytest.raises(MotionModelError, match="3 of 4 parts of the motion module ran"):
        sample(model)


@pytest.mark.parametrize(
    ("ran", "must_run", "message"),
    [
        (Ran([True], [True] * PLACES), True, None),
        (Ran(), False, None),
        (Ran([True], [True] * 3), False, "3 of 4 parts"),
        (Ran([True], []), False, "0 of 4 parts"),
        (Ran(), True, "compiled UNet ran without the motion module"),
    ],
    ids=["all", "a cache answered", "a part", "the UNet alone", "a graph without it"],
)
def test_a_unet_without_the_motion_module_is_an_error_and_a_cache_is_none(
    ran: Ran, must_run: bool, message: str | None
) -> None:
    if message is None:
        check_all_ran(ran, PLACES, must_run)
    else:
        with pytest.raises(MotionModelError, match=message):
            check_all_ran(ran, PLACES, must_run)


def test_a_compiled_model_may_have_a_cache(base: ModelPatcher, motion: ModelPatcher, counter: Any) -> None:
    """As ComfyUI's EasyCache, which answers inside of what is compiled."""

    def cached(executor: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return torch.zeros_like(x)

    model = compiled(attach_motion(base, motion), counter)
    model.add_wrapper(WrappersMP.DIFFUSION_MODEL, cached)
    assert sample(model).isfinite().all()
