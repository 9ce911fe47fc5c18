"""What each frame is told, and how encodings of prompts are mixed."""

import pytest
import torch
from animatelcm.prompts.mixing import MIXINGS, Mix, as_long_as_each_other, mixed, mixes, stretches
from animatelcm.prompts.preview import COLOURS, colours, preview
from hypothesis import given
from hypothesis import strategies as some

LETTERS = some.text("abc", min_size=1, max_size=1)
PROMPTS = some.dictionaries(some.integers(0, 40), LETTERS, min_size=1, max_size=6).map(
    lambda d: dict(sorted(d.items()))
)


@given(PROMPTS, some.integers(1, 50), some.sampled_from(sorted(MIXINGS)))
def test_a_keyframe_has_its_own_prompt_and_every_frame_a_mix_of_its_neighbours(
    prompts: dict[int, str], frames: int, mixing: str
) -> None:
    told = mixes(prompts, frames, mixing)
    assert len(told) == frames
    for frame, mix in enumerate(told):
        before = [prompt for at, prompt in prompts.items() if at <= frame][-1:]
        after = [prompt for at, prompt in prompts.items() if at > frame][:1]
        assert {mix.one, mix.other} <= {*before, *after}
        assert 0 <= mix.share < 1
        if frame in prompts:
            assert mix == Mix(prompts[frame], prompts[frame], 0.0)


@pytest.mark.parametrize(
    ("mixing", "shares"),
    [("linear", [0, 0.25, 0.5, 0.75, 0]), ("ease", [0, 0.15625, 0.5, 0.84375, 0]), ("hold", [0, 0, 0, 0, 0])],
)
def test_shares_of_the_next_prompt(mixing: str, shares: list[float]) -> None:
    told = mixes({0: "a", 4: "b"}, 5, mixing)
    assert [mix.share for mix in told] == shares
    assert [mix.one for mix in told] == ["a"] * 4 + ["b"]


def test_before_the_first_and_after_the_last_keyframe_nothing_changes() -> None:
    told = mixes({2: "a", 4: "b"}, 7, "linear")
    assert [str(stretch) for stretch in stretches(told)] == [
        "0 to 2: a",
        "3: 50 % of the way from 'a' to 'b'",
        "4 to 6: b",
    ]


def test_stretches_say_how_far_a_mix_goes() -> None:
    assert [str(stretch) for stretch in stretches(mixes({0: "a", 10: "b", 12: "b"}, 20, "linear"))] == [
        "0: a",
        "1 to 9: 10 % to 90 % of the way from 'a' to 'b'",
        "10 to 19: b",
    ]


@given(PROMPTS, some.integers(1, 50), some.sampled_from(sorted(MIXINGS)))
def test_stretches_are_all_frames_once(prompts: dict[int, str], frames: int, mixing: str) -> None:
    told = mixes(prompts, frames, mixing)
    found = stretches(told)
    assert [frame for stretch in found for frame in range(stretch.first, stretch.last + 1)] == list(range(frames))
    assert [mix for stretch in found for mix in stretch.mixes] == told


def test_rows_are_weighted_means_and_a_pure_prompts_row_is_its_own() -> None:
    a, b = (torch.randn(1, 3, 4, dtype=torch.float64) for _ in range(2))
    rows = mixed({"a": a, "b": b}, mixes({1: "a", 5: "b"}, 7, "linear"))
    assert torch.equal(rows[:2], a.repeat(2, 1, 1))
    assert torch.equal(rows[5:], b.repeat(2, 1, 1))
    for frame, share in ((2, 0.25), (3, 0.5), (4, 0.75)):
        torch.testing.assert_close(rows[frame : frame + 1], (1 - share) * a + share * b)


@given(some.lists(some.sampled_from([77, 154, 231]), min_size=1, max_size=4))
def test_attention_to_a_repeated_text_is_attention_to_the_text(lengths: list[int]) -> None:
    generator = torch.Generator().manual_seed(0)
    texts = {str(i): torch.randn(1, n, 8, generator=generator).double() for i, n in enumerate(lengths)}
    query = torch.randn(1, 5, 8, generator=generator).double()
    attention = torch.nn.functional.scaled_dot_product_attention
    repeated = as_long_as_each_other(texts)
    assert len({text.shape for text in repeated.values()}) == 1
    for name, text in texts.items():
        torch.testing.assert_close(attention(query, *2 * [repeated[name]]), attention(query, text, text))


def test_a_picture_has_a_colour_per_prompt_and_mixes_between() -> None:
    told = mixes({0: "a", 2: "b"}, 3, "linear")
    found = colours(told)
    assert [found[0], found[2]] == [COLOURS[0], COLOURS[1]]
    middle = [(x + y) / 2 for x, y in zip(*COLOURS[:2], strict=True)]
    assert found[1] == pytest.approx(middle, abs=0.5)
    picture = preview(told)
    assert picture.shape[2:] == (512, 3)
    for frame in range(3):
        assert (255 * picture[0, 20, 8 + int((frame + 0.5) * 496 / 3)]).tolist() == pytest.approx(
            found[frame], abs=0.01
        )


def test_the_picture_of_a_schedule_with_thousands_of_keyframes_has_an_end() -> None:
    picture = preview(mixes({frame: f"prompt {frame}" for frame in range(4096)}, 4096, "linear"))
    assert picture.shape[1] < 2000
