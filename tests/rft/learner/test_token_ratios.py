"""Ratios of learner and engine, token by token."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from tiny_policy import END, group_of, sample

from rft.learner.learner import Learner
from rft.learner.token_ratios import MOST
from rft.types import TrainGroup

MakeLearner = Callable[..., Learner]
FROZEN: dict[str, dict[str, object]] = {"learner": {"learning_rate": 1e-12}}


def drawn(text: str, token_ids: tuple[int, ...], logprobs: tuple[float, ...]) -> TrainGroup:
    """A completion, of a letter per token but the end, that the engine found so likely."""
    group = sample("a", "7 8 9", token_ids, 1.0)
    return replace(group, completions=(replace(group.completions[0], text=text, logprobs=logprobs),))


def test_a_ratio_is_the_learners_probability_over_the_engines(make_learner: MakeLearner) -> None:
    learner = make_learner(**FROZEN)
    before = drawn("abc", (10, 11, 12, END), (-1.0,) * 4)
    gap = learner.update([before])["logprob_gap"]
    ratios = [ratio for *_, ratio in learner.token_ratios[0]]
    assert [span[:2] for span in learner.token_ratios[0]] == [(0, 1), (1, 2), (2, 3)]  # the end has no letter
    learned = [-1.0 + math.log(ratio) for ratio in ratios]
    of_end = 4 * gap - sum(abs(math.log(ratio)) for ratio in ratios)
    assert of_end > 0.02
    # With the learner's own figures nothing differs; a token that it finds half as likely is told.
    learner.update([drawn("abc", (10, 11, 12, END), (learned[0], learned[1] + math.log(2), learned[2], -1.0))])
    ((start, end, ratio),) = learner.token_ratios[0]
    assert (start, end) == (1, 2)
    assert ratio == pytest.approx(0.5, rel=0.01)


@pytest.mark.parametrize(
    "settings",
    [{}, {"algorithm": {"num_mini_batches": 2}, **FROZEN}, {"learner": {"max_tokens_per_forward": 1}}],
)
def test_every_completion_has_its_own(make_learner: MakeLearner, settings: dict[str, dict[str, object]]) -> None:
    ones = [drawn("a", (10, END), (-9.0, -1.0)), drawn("abc", (13, 14, 15), (-1.0, -9.0, -9.0))]
    other = drawn("ab", (20, 21), (-9.0, -1.0))
    found = {}
    for place, one in enumerate((*ones, other)):
        alone = make_learner()
        alone.update([one])
        found[place] = alone.token_ratios[0]
    assert all(found.values())
    together = make_learner(**settings)
    together.update([group_of(*ones), other])
    assert together.token_ratios == found


def test_of_several_passes_the_last_counts(make_learner: MakeLearner) -> None:
    group = group_of(drawn("abc", (10, 11, 12), (-1.0,) * 3), drawn("abd", (10, 11, 13), (-1.0,) * 3))
    group = replace(group, advantages=(1.0, -1.0))
    once, twice = make_learner(), make_learner(algorithm={"num_iterations": 2, "epsilon": None})
    once.update([group])
    first = once.token_ratios
    once.update([group])
    twice.update([group])
    assert twice.token_ratios == once.token_ratios != first


def test_what_is_not_its_tokens_text_has_no_ratio(make_learner: MakeLearner) -> None:
    two_bytes = drawn("a\u00e9", (10, 11, 12, END), (-9.0,) * 4)
    damaged = drawn("longer than its tokens", (10,), (-9.0,))
    group = replace(group_of(two_bytes, damaged, drawn("a", (), ())), has_ground_truth=True)
    learner = make_learner()
    learner.update([group])
    # A letter of two tokens is that of the second.
    assert [span[:2] for span in learner.token_ratios[0]] == [(0, 1), (1, 2)]
    assert (learner.token_ratios[1], learner.token_ratios[2]) == ((), ())
    learner.update([])
    assert learner.token_ratios == {}


def test_of_long_completions_the_largest_are_told(make_learner: MakeLearner) -> None:
    number = MOST + 10
    learner = make_learner(sampling={"max_completion_length": 200})
    learner.update([drawn("x" * number, (10,) * number, (-20.0,) * 10 + (-30.0,) * MOST)])
    assert [span[0] for span in learner.token_ratios[0]] == list(range(10, number))
    assert {ratio for *_, ratio in learner.token_ratios[0]} == {1100.0}
