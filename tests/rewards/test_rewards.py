"""What holds for every reward with every parser."""

import itertools
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards import PUBLISHED, PUBLISHED_EVAL, REWARDS, accepted_targets
from rewards.parsing import parse_boxes, parse_choice, parse_span, parse_spans
from rewards.targets.boxes import BoxesTarget
from rewards.targets.caption import CaptionTarget
from rewards.targets.choice import ChoiceTarget
from rewards.targets.grounded_choice import GroundedChoiceTarget
from rewards.targets.label import LabelTarget
from rewards.targets.span import SpanTarget
from rewards.types import Score

TAGS = [f"<{slash}{tag}>" for tag in ("think", "answer", "glue") for slash in ("", "/")]
TIMES = ["1", "2.5", ".5", "3.", "-1", "1e5", "0:02", "1:02:03", "9" * 400, "\u0661", "s", "seconds", " to ", " and "]
WORDS = ["A", "(B)", "c", "answer is", "high quality", "the dog", "[(1, 2)]", "[0.1, 0.1, 0.4, 0.4]"]
# Texts near the grammar: plain random text almost never reaches the inner branches.
NEAR_ANSWERS = st.lists(st.sampled_from([*TAGS, *TIMES, *WORDS, *"[](),:- \n"]) | st.text(max_size=4), max_size=30).map(
    "".join
)
NUMBERS = st.sampled_from(["0", "1", "0.1", "0.45", "1.5", "-1", "2", "1e999", "True", "'1'"])
BOX_LISTS = st.lists(
    st.lists(NUMBERS, min_size=4, max_size=4).map(", ".join).map("[{}]".format), min_size=2, max_size=2
)
TARGETS = [
    SpanTarget(1.0, 3.0, duration_s=9.0),
    ChoiceTarget("B"),
    GroundedChoiceTarget("B", ((1.0, 3.0), (2.0, 5.0)), duration_s=9.0),
    BoxesTarget(((0.1, 0.1, 0.4, 0.4), (0.2, 0.1, 0.5, 0.4))),
    LabelTarget("high quality"),
    CaptionTarget("The dog runs. A boy falls.", ()),
]
CASES = [
    pytest.param(fn, target, id=f"{parser}-{name}-{type(target).__name__}")
    for parser, table in (("own", REWARDS), ("published", PUBLISHED), ("evaluated", PUBLISHED_EVAL))
    for name, fn in table.items()
    if table is not PUBLISHED_EVAL or fn is not PUBLISHED[name]
    for target in TARGETS
    if isinstance(target, accepted_targets(fn))
]
PAIRS = [case.values for case in CASES]


def test_every_kind_of_target_is_scored() -> None:
    assert {type(target) for _, target in PAIRS} == {type(target) for target in TARGETS}


@given(NEAR_ANSWERS)
def test_parsers_take_any_text_and_give_finite_numbers(text: str) -> None:
    parse_choice(text)
    numbers = [parse_span(text) or (), *(parse_spans(text) or ()), *(parse_boxes(text) or ())]
    assert all(math.isfinite(number) for values in numbers for number in values)


@given(NEAR_ANSWERS)
def test_any_text_gets_a_value_between_0_and_1(text: str) -> None:
    for fn, target in PAIRS:
        judged(fn, text, target)


@given(NEAR_ANSWERS, NEAR_ANSWERS)
def test_any_answer_in_its_tags_gets_a_value_between_0_and_1(answer: str, glue: str) -> None:
    for fn, target in PAIRS:
        judged(fn, f"<answer>{answer}</answer><glue>{glue}</glue>", target)


@given(BOX_LISTS.map(", ".join).map("<answer>[{}]</answer>".format))
def test_any_boxes_get_a_value_between_0_and_1(completion: str) -> None:
    for fn, target in PAIRS:
        if isinstance(target, BoxesTarget):
            judged(fn, completion, target)


def judged(fn, text: str, target) -> Score:
    score = fn(text, target)
    assert isinstance(score, Score)
    assert math.isfinite(score.value)
    assert 0 <= score.value <= 1
    assert score.note
    return score


PIECES = ["[", "(", "[(", "{", "<answer>", "1 to "]
FORMS = ["{}", "<answer>{}</answer>", "<answer>A</answer><glue>{}</glue>"]


@pytest.mark.parametrize(("fn", "target"), CASES)
def test_a_megabyte_without_meaning_is_judged_in_bounded_time(fn, target) -> None:
    for piece, form in itertools.product(PIECES, FORMS):
        score, took_s = timed(fn, form.format(piece * (1_000_000 // len(piece))), target)
        # A linear parser takes some 0.01 s, a quadratic one minutes.
        assert took_s < 2, (piece, form)
        assert score.value == 0 or "<answer>" in form, (piece, form)


def timed(fn, text: str, target) -> tuple[Score, float]:
    """The score, and the seconds of this core's time that it took."""
    start = time.thread_time()
    score = judged(fn, text, target)
    return score, time.thread_time() - start


def test_a_reward_without_an_annotated_target_is_named() -> None:
    def nameless(completion, target):
        return Score(1.0, None, "")

    with pytest.raises(TypeError, match=r"nameless.*annotate"):
        accepted_targets(nameless)
