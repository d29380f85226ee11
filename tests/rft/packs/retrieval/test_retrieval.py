"""The order of candidates as an answer: what is read, what it earns, what a row may be."""

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards import REWARDS
from rewards.types import Score
from rft.commands.reward.answers import example_answers
from rft.packs.retrieval.rewards import hit_at_k, ndcg, reciprocal_rank
from rft.packs.retrieval.targets import RankingTarget, parse_order
from rft.tasks import TASKS

TASK = TASKS["retrieval"]
SECOND_OF_THREE = RankingTarget((0.0, 1.0, 0.0), "time")
GRADED = RankingTarget((0.0, 1.0, 3.0))


@pytest.mark.parametrize(
    ("answer", "order"),
    [
        ("3, 1, 2", (3, 1, 2)),
        ("[3,1,2]", (3, 1, 2)),
        ("3 > 1 > 2.", (3, 1, 2)),
        ("(3) (1) (2)", (3, 1, 2)),
        ("- 3\n- 1\n- 2", (3, 1, 2)),
        ("Caption 3 first, then 1 and 2", (3, 1, 2)),
        ("10, 2", (10, 2)),
        ("02", (2,)),
        ("9" * 100, (999_999_999,)),
        ("1-3", None),
        ("1 \u2013 3", None),
        ("1 to 3", None),
        ("1..3", None),
        ("2.1.3", None),
        ("-2, 1, 3", None),
        ("best", None),
        ("", None),
        (", 1" * 30_000, None),
    ],
)
def test_what_is_read_as_an_order(answer: str, order: tuple[int, ...] | None) -> None:
    assert parse_order(answer) == order


@pytest.mark.parametrize(
    ("completion", "value", "fault"),
    [
        ("<answer>2, 1, 3</answer>", 1.0, None),
        ("<answer>2, 3, 1</answer>", 1.0, None),
        ("<answer>1, 2, 3</answer>", 1 / math.log2(3), None),
        ("<think>2 is best</think><answer>3, 1, 2</answer>", 0.5, None),
        ("<answer>2, 1, 3</answer><answer>3, 1, 2</answer>", 0.5, None),
        ("<answer>2, 2, 1</answer>", 0, "wrong_count"),
        ("<answer>2, 1, 3; 2, 3, 1</answer>", 0, "wrong_count"),
        ("<answer>2</answer>", 0, "wrong_count"),
        ("<answer>2, 1, 4</answer>", 0, "out_of_range"),
        ("<answer>0, 1, 2</answer>", 0, "out_of_range"),
        ("<answer>2, 1-3</answer>", 0, "unreadable"),
        ("<answer></answer>", 0, "unreadable"),
        ("2, 1, 3", 0, "no_tag"),
        ("", 0, "no_tag"),
    ],
)
def test_ndcg_of_one_right_candidate(completion: str, value: float, fault: str | None) -> None:
    score = ndcg(completion, SECOND_OF_THREE)
    assert score.value == pytest.approx(value)
    assert score.fault == fault
    assert score.note


def test_a_short_list_is_refused_or_followed_by_the_last_shown_first() -> None:
    target = RankingTarget((1.0, 0.0, 0.0, 0.0))
    assert ndcg("<answer>2</answer>", target).fault == "wrong_count"
    # 2, then 4, 3, 1: the right one is last.
    assert reciprocal_rank("<answer>2</answer>", target, missing="last").value == 1 / 4
    assert hit_at_k("<answer>1</answer>", target, missing="last").value == 1
    assert ndcg("<answer>2, 2</answer>", target, missing="last").fault == "wrong_count"


def test_graded_relevance() -> None:
    best = 3 / math.log2(2) + 1 / math.log2(3)
    assert ndcg("<answer>3, 2, 1</answer>", GRADED).value == 1
    assert ndcg("<answer>2, 3, 1</answer>", GRADED).value == pytest.approx((1 + 3 / math.log2(3)) / best)
    # The right one is that of the highest relevance.
    assert reciprocal_rank("<answer>2, 3, 1</answer>", GRADED).value == 0.5
    assert [hit_at_k("<answer>2, 3, 1</answer>", GRADED, k=k).value for k in (1, 2)] == [0, 1]


def test_metrics() -> None:
    target = RankingTarget((0.0,) * 7 + (1.0,))
    values = TASK.measure("<answer>1, 2, 3, 4, 5, 8, 6, 7</answer>", target)
    expected = {"nDCG": 1 / math.log2(7), "MRR": 1 / 6, "R@1": 0, "R@5": 0, "R@10": 1, "well_formed": 1}
    assert values == pytest.approx(expected)
    assert set(TASK.measure("<answer>1, 2</answer>", target).values()) == {0.0}


@pytest.mark.parametrize(("count", "mean"), [(2, 0.815), (4, 0.640), (10, 0.454)])
def test_what_a_constant_order_earns_on_average(count: int, mean: float) -> None:
    order = f"<answer>{', '.join(map(str, range(1, count + 1)))}</answer>"
    targets = [RankingTarget(tuple(float(i == right) for i in range(count))) for right in range(count)]
    assert sum(ndcg(order, target).value for target in targets) / count == pytest.approx(mean, abs=5e-4)
    assert sum(hit_at_k(order, target).value for target in targets) == 1


RELEVANCES = st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=2, max_size=10).filter(lambda r: len(set(r)) > 1)


@given(RELEVANCES.map(tuple).map(RankingTarget), st.text("0123456789,-. \n[]to", max_size=30))
def test_rewards_never_raise_and_the_written_target_earns_all(target: RankingTarget, text: str) -> None:
    for name, fn in TASK.own_rewards.items():
        score: Score = fn(f"<answer>{text}</answer>", target)
        assert 0 <= score.value <= 1
        assert fn(TASK.target_completion(target, think=True), target).value == 1, name
        assert (score.fault is None) == (target.format_problem(text, "") is None)
    assert RankingTarget.read(target.to_json()) == target


@pytest.mark.parametrize("text", ["1, " * 350_000, "1" * 1_000_000, "- " * 500_000, "1 " + " " * 1_000_000])
def test_a_megabyte_takes_no_time(text: str) -> None:
    start = time.process_time()
    ndcg(f"<answer>{text}</answer>", SECOND_OF_THREE)
    ndcg(text, SECOND_OF_THREE)
    REWARDS["answer_format"](f"<answer>{text}</answer>", SECOND_OF_THREE)
    assert time.process_time() - start < 2


def row_of(**changes: object) -> object:
    return TASK.row_type.model_validate(TASK.example.model_dump() | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": {"relevance": [1, 0]}}, "2 numbers for 3 captions"),
        ({"target": {"relevance": [1, 1, 1]}}, "not all alike"),
        ({"target": {"relevance": [-1, 1, 1]}}, "numbers from 0 up"),
        ({"target": {"relevance": [0, True, 1]}}, "finite numbers"),
        ({"target": {"relevance": [1]}}, "list of at least 2"),
        ({"target": {"relevance": [1] + [0] * 10}, "captions": [str(i) for i in range(11)]}, "at most 10"),
        ({"target": {"relevance": [1, 0, 0], "negatives": " "}}, "negatives"),
        ({"captions": ["A dog.", "a dog", "a cat"]}, "two are the same"),
        ({"query": "a dog"}, "not both"),
        ({"captions": []}, "not both"),
    ],
)
def test_rows_that_cannot_be_ranked(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TASK.target(row_of(**changes))


def test_the_two_questions() -> None:
    of_captions = TASK.prompt_text(TASK.example, think=False)
    assert "\n2. A boy runs across the grass, then falls\n" in of_captions
    assert "all 3 captions, the best first.\nAnswer in this form: <answer>numbers, best first</answer>" in of_captions
    of_clips = TASK.prompt_text(row_of(captions=[], query=" a dog runs "), think=False)
    assert "Which of the 3 numbered clips fits this text best?\na dog runs\nGive the numbers of all 3 clips" in of_clips


def test_subsets_and_baselines() -> None:
    assert SECOND_OF_THREE.subsets() == ("negatives in time",)
    assert GRADED.subsets() == ()
    train = [RankingTarget((0.0, 1.0)), RankingTarget((0.0, 1.0, 0.0)), RankingTarget((1.0, 0.0))]
    answers = TASK.baselines(train, [(GRADED, None), (RankingTarget((0.0, 1.0)), None)])
    assert answers == {
        "as_shown": ["<answer>1, 2, 3</answer>", "<answer>1, 2</answer>"],
        "majority": ["<answer>2, 1, 3</answer>", "<answer>2, 1</answer>"],
    }


def test_the_wrong_answer_to_the_example_is_wrong() -> None:
    wrong = example_answers(TASK)["wrong"]
    assert TASK.measure(wrong, TASK.target(TASK.example))["R@1"] == 0
