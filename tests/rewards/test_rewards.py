"""What holds for every reward of the table."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards import REWARDS, accepted_targets
from rewards.parsing import parse_boxes, parse_choice, parse_span, parse_spans
from rewards.types import BoxesTarget, CaptionTarget, ChoiceTarget, GroundedChoiceTarget, LabelTarget, Score, SpanTarget

TAGS = [f"<{slash}{tag}>" for tag in ("think", "answer", "glue") for slash in ("", "/")]
WORDS = ["to", "and", "s", "seconds", "A", "(B)", "c", "answer is", "1", "2.5", ".5", "3.", "-1", "1e5", "9" * 400]
PIECES = [*TAGS, *WORDS, *"[](),:- \n\u0661"]
# Texts near the grammar: plain random text almost never reaches the inner branches.
NEAR_ANSWERS = st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=30).map("".join)
TARGETS = [
    SpanTarget(1.0, 3.0, 10.0),
    ChoiceTarget("B"),
    GroundedChoiceTarget("B", ((1.0, 3.0), (2.0, 5.0))),
    BoxesTarget(((0.1, 0.1, 0.4, 0.4), (0.2, 0.1, 0.5, 0.4))),
    LabelTarget("B to s"),
    CaptionTarget("", ("answer is c", "to 1 seconds")),
]
CASES = [
    (name, target) for name, fn in REWARDS.items() for target in TARGETS if isinstance(target, accepted_targets(fn))
]


def test_every_kind_of_target_is_scored() -> None:
    assert {type(target) for _, target in CASES} == {type(target) for target in TARGETS}


@given(NEAR_ANSWERS)
def test_parsers_take_any_text_and_give_finite_numbers(text: str) -> None:
    parse_choice(text)
    numbers = [parse_span(text) or (), *(parse_spans(text) or ()), *(parse_boxes(text) or ())]
    assert all(math.isfinite(number) for values in numbers for number in values)


@given(NEAR_ANSWERS, st.sampled_from(CASES))
def test_any_text_gets_a_value_between_0_and_1(text: str, case) -> None:
    name, target = case
    score = REWARDS[name](text, target)
    assert isinstance(score, Score)
    assert math.isfinite(score.value)
    assert 0 <= score.value <= 1
    assert score.note


@given(NEAR_ANSWERS, NEAR_ANSWERS, st.sampled_from(CASES))
def test_any_answer_in_its_tags_gets_a_value_between_0_and_1(answer: str, glue: str, case) -> None:
    name, target = case
    assert 0 <= REWARDS[name](f"<answer>{answer}</answer><glue>{glue}</glue>", target).value <= 1


@pytest.mark.parametrize(("name", "target"), CASES)
@pytest.mark.parametrize("text", ["", "[" * 1_000_000, f"<answer>{'[' * 1_000_000}</answer>", "<answer>" * 100_000])
def test_texts_without_an_answer_get_0_and_a_reason(name: str, target, text: str) -> None:
    score = REWARDS[name](text, target)
    assert score.value == 0
    assert score.note


def test_a_reward_without_an_annotated_target_is_named() -> None:
    def nameless(completion, target):
        return Score(1.0, None, "")

    with pytest.raises(TypeError, match=r"nameless.*annotate"):
        accepted_targets(nameless)
