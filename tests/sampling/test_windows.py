"""Windows over a long clip, as numbers."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from animatelcm.sampling.windows import (
    FIXED,
    FLAT,
    FROM_AFAR,
    LAYOUTS,
    LOOPED,
    MOVING,
    UNIFORM,
    WEIGHTS,
    WindowError,
    WindowPlan,
    halving,
    shares,
    windows,
)
from comfy.context_windows import (
    create_windows_static_standard,
    create_windows_uniform_looped,
    create_windows_uniform_standard,
)
from hypothesis import given
from hypothesis import strategies as some

STEPS = some.integers(0, 20)
OF = 21  # steps


@some.composite
def plans(draw: some.DrawFn, layouts: tuple[str, ...] = LAYOUTS) -> WindowPlan:
    length = draw(some.integers(2, 64))
    return WindowPlan(
        length,
        draw(some.integers(0, length - 1)),
        draw(some.booleans()),
        draw(some.sampled_from(layouts)),
        draw(some.integers(1, 4)),
        draw(some.sampled_from(WEIGHTS)),
    )


@given(plans(), some.integers(1, 600), STEPS)
def test_every_frame_is_in_a_window_at_every_step(plan: WindowPlan, frames: int, step: int) -> None:
    found = windows(plan, frames, step, OF)
    assert {frame for window in found for frame in window} == set(range(frames))
    for window in found:
        assert len(set(window)) == len(window) <= min(plan.length, frames)


@given(plans(), some.integers(1, 600), STEPS)
def test_the_shares_of_a_frame_add_up_to_one(plan: WindowPlan, frames: int, step: int) -> None:
    found = windows(plan, frames, step, OF)
    total = [0.0] * frames
    for window, share in zip(found, shares(found, plan.weights), strict=True):
        for frame, value in zip(window, share, strict=True):
            assert value > 0
            total[frame] += value
    assert total == pytest.approx([1.0] * frames)


@given(plans(), some.integers(1, 300), STEPS, some.randoms())
def test_shares_do_not_depend_on_the_order_of_windows(plan: WindowPlan, frames: int, step: int, random: object) -> None:
    found = list(windows(plan, frames, step, OF))
    share = dict(zip(found, shares(found, plan.weights), strict=True))
    random.shuffle(found)
    for window, values in zip(found, shares(found, plan.weights), strict=True):
        assert values == pytest.approx(share[window])


@given(plans(), some.integers(1, 64), STEPS)
def test_a_clip_of_at_most_a_window_is_one_window(plan: WindowPlan, frames: int, step: int) -> None:
    if frames <= plan.length:
        assert windows(plan, frames, step, OF) == (tuple(range(frames)),)


@given(plans(), some.integers(1, 600), STEPS)
def test_windows_of_a_clip_that_is_no_loop_go_forwards(plan: WindowPlan, frames: int, step: int) -> None:
    for window in windows(plan, frames, step, OF):
        forwards = all(one < other for one, other in itertools.pairwise(window))
        assert forwards or plan.loop or plan.layout == LOOPED


@given(plans((FROM_AFAR, MOVING, FIXED)), some.integers(65, 300), STEPS)
def test_a_loop_has_no_first_frame(plan: WindowPlan, frames: int, step: int) -> None:
    """At every step the windows are those of the first step, turned; all go around without a gap."""
    loop = WindowPlan(plan.length, plan.overlap, True, plan.layout)
    first, now = ({frozenset(window) for window in windows(loop, frames, i, OF)} for i in (0, step))
    turned = [{frozenset((frame + by) % frames for frame in window) for window in first} for by in range(frames)]
    assert now in turned
    for window in windows(loop, frames, step, OF):
        assert all((one + 1) % frames == other for one, other in itertools.pairwise(window))


@given(some.integers(0, 15), some.integers(33, 4096), some.booleans(), STEPS)
def test_what_windows_cost(overlap: int, frames: int, loop: bool, step: int) -> None:
    """One overlap per join, and at the ends of a clip up to half a window more."""
    plan = WindowPlan(16, overlap, loop)
    found = windows(plan, frames, step, OF)
    joins = math.ceil(frames / (16 - overlap)) + 1
    assert sum(map(len, found)) <= frames + joins * overlap + (0 if loop else 16)


def joins(plan: WindowPlan, frames: int, step: int) -> set[int]:
    """The frames from which on another window has the most say."""
    now = windows(plan, frames, step, OF)
    says: list[dict[float, int]] = [{} for _ in range(frames)]
    for number, (window, share) in enumerate(zip(now, shares(now, plan.weights), strict=True)):
        for frame, value in zip(window, share, strict=True):
            says[frame].setdefault(round(value, 9), number)
    most = [say[max(say)] for say in says]
    return {frame for frame in range(1, frames) if most[frame] != most[frame - 1]}


@given(some.integers(0, 8), some.integers(33, 400), some.booleans(), some.integers(0, 6))
def test_a_join_is_somewhere_else_at_the_next_step(overlap: int, frames: int, loop: bool, step: int) -> None:
    plan = WindowPlan(16, overlap, loop, MOVING)
    assert joins(plan, frames, step)
    assert not joins(plan, frames, step) & joins(plan, frames, step + 1)


def test_thousands_of_frames_have_windows() -> None:
    assert len(windows(WindowPlan(layout=MOVING), 4096, 3, OF)) == math.ceil(4094 / 14) + 1


@given(plans((UNIFORM, LOOPED)), some.integers(65, 600), STEPS)
def test_uniform_windows_have_frames_at_even_distances(plan: WindowPlan, frames: int, step: int) -> None:
    distances = {
        (other - one) % frames
        for window in windows(plan, frames, step, OF)
        for one, other in itertools.pairwise(window)
    }
    assert distances <= {2**i for i in range(plan.stride)}


# What AnimateDiff-Evolved calls them, and ComfyUI has taken over from it


@dataclass
class TheirOptions:
    """What ComfyUI's functions read of its context handler."""

    context_length: int
    context_overlap: int
    context_stride: int
    closed_loop: bool
    _step: int


@pytest.mark.parametrize(
    ("layout", "loop", "theirs"),
    [
        (LOOPED, False, create_windows_uniform_looped),
        (LOOPED, True, create_windows_uniform_looped),
        (UNIFORM, True, create_windows_uniform_looped),
        (UNIFORM, False, create_windows_uniform_standard),
        (FIXED, False, create_windows_static_standard),
    ],
)
@given(
    length=some.integers(8, 32),
    overlap=some.integers(0, 4),
    stride=some.integers(1, 4),
    longer=some.integers(2, 200),
    step=STEPS,
)
def test_windows_of_animatediff_evolved_are_the_same(
    layout: str, loop: bool, theirs: Callable[..., Any], length: int, overlap: int, stride: int, longer: int, step: int
) -> None:
    frames = (length - 1) * 2 ** (stride - 1) + longer  # no window is longer than the clip
    ours = windows(WindowPlan(length, overlap, loop, layout, stride, FLAT), frames, step, OF)
    expected = theirs(frames, TheirOptions(length, overlap, stride, loop, step), {})
    assert sorted(ours) == sorted(tuple(map(int, window)) for window in expected)


@given(plans((UNIFORM, LOOPED)), some.integers(65, 200), STEPS)
def test_distances_at_which_a_window_is_longer_than_the_clip_are_left_out(
    plan: WindowPlan, frames: int, step: int
) -> None:
    fitting = [stride for stride in range(1, plan.stride + 1) if (plan.length - 1) * 2 ** (stride - 1) < frames]
    shorter = replace(plan, stride=fitting[-1])
    assert windows(plan, frames, step, OF) == windows(shorter, frames, step, OF)


def test_each_step_begins_as_far_as_can_be_from_those_before() -> None:
    assert [halving(step) for step in range(8)] == [0, 1 / 2, 1 / 4, 3 / 4, 1 / 8, 5 / 8, 3 / 8, 7 / 8]


@given(plans((FROM_AFAR,)), some.integers(2, 600), some.integers(2, 40))
def test_from_afar_windows_see_the_whole_clip_in_the_first_quarter_of_the_steps(
    plan: WindowPlan, frames: int, steps: int
) -> None:
    far, distance = plan.far_steps(frames, steps), plan.distance(frames)
    assert far < steps
    for step in range(far):
        found = windows(plan, frames, step, steps)
        assert sorted(frame for window in found for frame in window) == list(range(frames))
        assert {other - one for window in found for one, other in itertools.pairwise(window)} <= {distance}
        for window in found:  # side by side: the n-th frame of each starts from the noise of the same group
            assert [frame // distance for frame in window] == list(range(len(window)))
    for step in range(far, steps):
        near = WindowPlan(plan.length, plan.overlap, plan.loop, MOVING)
        assert windows(plan, frames, step, steps) == windows(near, frames, step - far, steps)


@pytest.mark.parametrize(
    ("frames", "steps", "loop", "far"),
    [(64, 4, False, 1), (64, 8, False, 2), (64, 3, False, 1), (64, 1, False, 0), (16, 4, False, 0), (64, 4, True, 0)],
)
def test_how_many_steps_see_from_afar(frames: int, steps: int, loop: bool, far: int) -> None:
    assert WindowPlan(16, 2, loop, FROM_AFAR).far_steps(frames, steps) == far


@pytest.mark.parametrize("overlap", [16, 20, -1])
def test_an_overlap_of_the_whole_window_is_refused(overlap: int) -> None:
    with pytest.raises(WindowError, match=f"Windows of 16 frames cannot overlap by {overlap}"):
        WindowPlan(16, overlap)
