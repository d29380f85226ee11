"""The closing table's first lines: what was learned, and the sentence about it."""

import pytest

from rewards.targets.choice import ChoiceTarget
from rft.evaluation.baselines import measure_baselines
from rft.evaluation.comparison import Comparison
from rft.evaluation.evaluate import MODES, EvalResult, Mode, ParsedAnswer, Sample
from rft.tasks import TASKS

SETS = ("multiple_choice", "quality")
UP, SAME, DOWN = 0.9, 0.5, 0.1


def evaluation(values: dict[tuple[str, Mode], float]) -> EvalResult:
    """Ten rows per task, all with the value of their task and mode."""
    samples = []
    for (task, mode), value in values.items():
        answer = ParsedAnswer({TASKS[task].main_metric: value}, None)
        samples += [
            Sample(f"{task}{i}", task, None, ChoiceTarget("A"), mode, 0, "x", "stop", 1, 0, {"lenient": answer})
            for i in range(10)
        ]
    return EvalResult(tuple(samples), 0)


def compare(greedy: tuple[float, float], sampled: tuple[float, float] | None, **names: str) -> Comparison:
    """From 0.5 everywhere to the values of the two tasks."""
    modes: tuple[Mode, ...] = MODES if sampled else MODES[:1]
    after = {(task, mode): (greedy, sampled or ())[k][i] for k, mode in enumerate(modes) for i, task in enumerate(SETS)}
    before = evaluation(dict.fromkeys(after, SAME))
    return Comparison(before, evaluation(after), measure_baselines([], {}, 0), **names)


@pytest.mark.parametrize(
    ("greedy", "sampled", "verdict"),
    [
        (
            (UP, UP),
            (UP, UP),
            "Greedy answers improved over the cold start in 2 of 2 tasks (outside the paired 95 % interval): "
            "learned beyond sharpening.",
        ),
        (
            (UP, DOWN),
            (UP, UP),
            "Greedy answers improved over the cold start in 1 of 2 tasks (outside the paired 95 % interval): "
            "learned beyond sharpening there; greedy answers fell in quality.",
        ),
        (
            (SAME, SAME),
            (UP, SAME),
            "Only sampled answers improved over the cold start, in 1 of 2 tasks (outside the paired 95 % interval): "
            "sharpening.",
        ),
        (
            (DOWN, SAME),
            (UP, DOWN),
            "Only sampled answers improved over the cold start, in 1 of 2 tasks (outside the paired 95 % interval): "
            "sharpening; greedy answers fell in multiple_choice; sampled answers fell in quality.",
        ),
        ((SAME, SAME), (SAME, SAME), "No answers improved over the cold start outside the paired 95 % interval."),
        ((SAME, SAME), None, "No answers improved over the cold start outside the paired 95 % interval."),
    ],
)
def test_the_sentence_says_whether_more_than_sharpening_was_learned(
    greedy: tuple[float, float], sampled: tuple[float, float] | None, verdict: str
) -> None:
    assert compare(greedy, sampled).verdict() == verdict


def test_a_supervised_stage_alone_does_not_sharpen() -> None:
    comparison = compare((UP, SAME), (UP, UP), before_name="given model", after_name="cold start")
    assert comparison.verdict() == (
        "Greedy answers improved over the given model in 1 of 2 tasks (outside the paired 95 % interval)."
    )


def test_a_change_that_rows_do_not_agree_on_is_no_improvement() -> None:
    """One row of ten that gains much: the mean rises, and the interval reaches to 0."""
    before = evaluation({("multiple_choice", "greedy"): 0.0})
    after = evaluation({("multiple_choice", "greedy"): 0.0})
    lucky = ParsedAnswer({TASKS["multiple_choice"].main_metric: 1.0}, None)
    after.samples[3].parsed["lenient"] = lucky
    comparison = Comparison(before, after, measure_baselines([], {}, 0))
    assert comparison.change("multiple_choice", "greedy")["accuracy"].value == pytest.approx(0.1)
    assert comparison.verdict().startswith("No answers improved")
    assert comparison.overview().rows[0][3] == "0.000 -> 0.100"


def test_one_line_per_set_leads_with_greedy_and_sampled() -> None:
    table = compare((UP, DOWN), (SAME, UP)).overview()
    assert table.columns == ("task", "metric", "baseline", "greedy: cold start -> GRPO", "sampled: cold start -> GRPO")
    assert table.rows == (
        ("multiple_choice", "accuracy", "-", "0.500 -> 0.900 *", "0.500 -> 0.500"),
        ("quality", TASKS["quality"].main_metric, "-", "0.500 -> 0.100 *", "0.500 -> 0.900 *"),
    )
    assert compare((UP, DOWN), None).overview().rows[0][-1] == "-"
