"""What 'AnimateLCM Compile' compiles of the motion module and the UNet: the eager clip, and one graph a shape."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch._dynamo.testing
import torch._inductor.config
import torch._inductor.utils
from animatelcm.motion import regions
from animatelcm.motion.attach import MotionModelError, attach_motion
from animatelcm.motion.attach_compile import attach_compiler
from animatelcm.motion.attach_image import Pictures, attach_pictures
from animatelcm.motion.regions import Region, region, shape_of
from animatelcm.motion.weights import weight_over
from comfy.model_patcher import ModelPatcher
from comfy_extras.nodes_torch_compile import TorchCompileModel
from torch import Tensor, nn

from .comfy_model import SIZE, hooks, sample
from .smallest import PLACES, assert_same, smallest_model, smallest_motion, with_lora

LATENT = torch.randn(1, 4, SIZE, SIZE, generator=torch.Generator().manual_seed(8))
Counter = torch._dynamo.testing.CompileCounter
SIZES = range(1, 10)  # more than the eight graphs that torch.compile makes of one code object


@pytest.fixture(scope="module")
def base() -> ModelPatcher:
    return smallest_model()


@pytest.fixture(scope="module")
def motion() -> ModelPatcher:
    return smallest_motion()


@pytest.fixture(scope="module")
def model(base: ModelPatcher, motion: ModelPatcher) -> ModelPatcher:
    return attach_motion(base, motion)


@pytest.fixture(scope="module")
def clip(model: ModelPatcher) -> Tensor:
    """The eager clip."""
    return sample(model)


@pytest.fixture(autouse=True)
def nothing_is_left(base: ModelPatcher) -> Iterator[None]:
    torch._dynamo.reset()
    region.cache_clear()
    yield
    region.cache_clear()
    torch._dynamo.reset()
    assert not hooks(base)
    assert not [layer for layer in base.model.modules() if "forward" in vars(layer)]


@pytest.fixture
def counter() -> Any:
    return Counter()


@pytest.fixture(params=[False, True], ids=["motion", "motion and UNet"])
def unet(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


# One graph a shape


def test_the_clip_is_the_eager_one_in_a_graph_for_each_shape(
    model: ModelPatcher, clip: Tensor, counter: Any, unet: bool
) -> None:
    """Here all temporal transformers have one shape, the residual blocks two, and the feed-forwards one."""
    assert_same(sample(attach_compiler(model, unet, counter)), clip)
    assert counter.frame_count == (4 if unet else 1)


def test_nothing_is_compiled_anew_for_other_numbers_loras_seeds_and_nodes(
    base: ModelPatcher, motion: ModelPatcher, counter: Any, unet: bool
) -> None:
    for strength, gamma in enumerate((0.5, 1.0, 0.0, 0.7)):
        made = attach_motion(with_lora(base, strength), motion, gamma, scale=1.0 + strength)
        assert_same(sample(attach_compiler(made, unet, counter)), sample(made))
        if not strength:
            graphs = counter.frame_count
    assert counter.frame_count == graphs


def test_masks_are_one_more_graph(base: ModelPatcher, motion: ModelPatcher, counter: Any) -> None:
    for gammas in ([0.0, 1.0], [0.5, 0.2]):
        made = attach_motion(base, motion, weight_over(gammas, torch.rand(2, 8, 8)), weight_over(gammas))
        assert_same(sample(attach_compiler(made, False, counter)), sample(made))
    assert counter.frame_count == 1


def test_a_picture_is_told_as_ever(model: ModelPatcher, counter: Any) -> None:
    made = attach_pictures(attach_compiler(model, True, counter), Pictures(LATENT, (0,), strengths=(1.0,)))
    assert_same(sample(made), sample(attach_pictures(model, Pictures(LATENT, (0,), strengths=(1.0,)))))
    assert counter.frame_count == 4


def test_every_length_has_a_graph_however_many_there_are(model: ModelPatcher, counter: Any) -> None:
    made = attach_compiler(model, False, counter)
    for frames in (*SIZES, *SIZES):
        assert_same(sample(made, frames=frames, sigmas=(14.0, 0.0)), sample(model, frames=frames, sigmas=(14.0, 0.0)))
    assert counter.frame_count == len(SIZES)


@pytest.mark.inductor
def test_inductor_gives_the_eager_clip(model: ModelPatcher, clip: Tensor, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert_same(sample(attach_compiler(model, unet=True)), clip)
    (told,) = (record for record in caplog.records if record.message.startswith("AnimateLCM compiled"))
    assert (told.levelno, "as they are" in told.message) == (logging.INFO, False)


@pytest.mark.parametrize("ours_first", [True, False])
def test_a_model_that_is_compiled_as_a_whole_stays_one_graph(
    model: ModelPatcher, clip: Tensor, counter: Any, ours_first: bool
) -> None:
    said: list[str] = []

    def ours(made: ModelPatcher) -> ModelPatcher:
        return attach_compiler(made, True, counter, said.append)

    def theirs(made: ModelPatcher) -> ModelPatcher:
        return TorchCompileModel.execute(made, counter)[0]

    made = theirs(ours(model)) if ours_first else ours(theirs(model))
    assert_same(sample(made), clip)
    assert counter.frame_count == 1
    (told,) = said
    assert "TorchCompileModel" in told


# What is said


def test_it_says_what_takes_long_and_what_was_compiled(model: ModelPatcher, counter: Any) -> None:
    said: list[str] = []
    made = attach_compiler(model, False, counter, said.append)
    for _ in range(2):
        sample(made)
    assert said[0] == "compiling graph 1 ..."
    assert said[1].startswith(f"{PLACES} TemporalTransformer in 1 graph, compiled in ")
    assert said[2:] == [f"{PLACES} TemporalTransformer in 1 graph, compiled before"]


def test_a_model_without_a_motion_module_is_refused(base: ModelPatcher) -> None:
    with pytest.raises(MotionModelError, match="Put 'Apply AnimateLCM' before this node"):
        attach_compiler(base, unet=True)


# What goes wrong


def missing(graph: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
    raise RuntimeError("no compiler here")


def wrong(graph: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
    return lambda *inputs: [output + 1 for output in graph(*inputs)]


def failing(calls: int) -> Callable[..., Any]:
    """A backend whose code fails at its `calls`-th call."""
    left = iter(range(calls - 1))

    def backend(graph: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
        def run(*inputs: Any) -> Any:
            if next(left, None) is None:
                raise RuntimeError("lost the device")
            return graph(*inputs)

        return run

    return backend


@pytest.mark.parametrize(
    ("backend", "why"),
    [
        (missing, "no compiler here"),
        (wrong, "times as far off as rounding may be"),
        (failing(1), "lost the device"),
        (failing(7), "lost the device"),
    ],
    ids=["no compiler", "wrong result", "first call", "later call"],
)
def test_a_compiler_that_fails_leaves_the_eager_clip_and_says_why(
    model: ModelPatcher, clip: Tensor, caplog: pytest.LogCaptureFixture, unet: bool, backend: Any, why: str
) -> None:
    assert_same(sample(attach_compiler(model, unet, backend)), clip)
    (told,) = (record for record in caplog.records if why in record.message)
    assert told.levelno == logging.WARNING
    assert "run as they are" in told.message


@pytest.mark.inductor
def test_inductor_without_a_compiler_on_the_machine_leaves_the_eager_clip(
    model: ModelPatcher, clip: Tensor, caplog: pytest.LogCaptureFixture
) -> None:
    with torch._inductor.config.patch({"cpp.cxx": ("no-such-compiler",)}), torch._inductor.utils.fresh_inductor_cache():
        assert torch.equal(sample(attach_compiler(model, unet=False)), clip)
    assert "InvalidCxxCompiler" in caplog.text


def test_what_dynamo_cannot_follow_runs_as_it_is() -> None:
    def broken(layer: nn.Module, x: Tensor) -> Tensor:
        torch._dynamo.graph_break()
        return layer(x)

    layer, x = nn.Linear(3, 3), torch.ones(2, 3)
    found = region(broken, "eager", shape_of(layer, (x,)))
    assert torch.equal(found(layer, x), layer(x))
    assert found.failure.startswith("Unsupported")


def test_an_error_of_the_layer_is_the_layers_own() -> None:
    found = Region(regions.call, regions.call)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        found(nn.Linear(3, 3), torch.ones(2, 4))
    assert not found.failure


def test_a_layer_that_another_node_replaces_is_left_alone(model: ModelPatcher, clip: Tensor, counter: Any) -> None:
    block, calls = model.model.diffusion_model.input_blocks[1][0], []

    def theirs(*inputs: Any) -> Tensor:
        calls.append(block)
        return type(block).forward(block, *inputs)

    block.forward = theirs
    try:
        assert_same(sample(attach_compiler(model, True, counter)), clip)
        assert block.forward is theirs
    finally:
        del block.forward
    assert calls
