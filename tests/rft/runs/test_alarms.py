"""Alarms: each fires on a run with the fault planted, and none on healthy ones."""

import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from rewards.targets.choice import ChoiceTarget
from rft.data.dataset import PromptOrder
from rft.recipe import Recipe
from rft.recipe.watch import AlarmName
from rft.rollout_batches import RolloutBatch
from rft.runs.alarm_rules import RULES, HeldOutSet, rise
from rft.runs.alarms import Alarm, Alarms, alarms_line, read_alarms
from rft.runs.recorder import RunRecorder
from rft.runs.rich_view import TerminalView
from rft.runs.run_dir import RunDir
from rft.runs.views import PlainView
from rft.train import StepResult
from rft.types import Prompt

STEPS = 200
HELD_OUT = {
    "multiple_choice": HeldOutSet("multiple_choice", 0.3),
    "charades_sta.test": HeldOutSet("temporal_grounding", 0.34),
    "drawn otherwise": HeldOutSet("temporal_grounding", 0.34),
}
ANSWER = {"multiple_choice": "choice_accuracy", "temporal_grounding": "temporal_iou"}
Metrics = dict[str, float]


def recipe(**keys: object) -> Recipe:
    tasks: dict[str, object] = {task: {} for task in ANSWER}
    return Recipe.model_validate(
        {"model": "policy", "tasks": tasks, "data": {"train": ["rows.jsonl"]}, "steps": STEPS, **keys}
    )


def healthy(seed: int) -> list[tuple[int, Metrics]]:
    """A run of 200 steps that learns, evaluated every 50; with the noise of steps of 16 prompts, drawn by `seed`."""
    draw = random.Random(seed)

    def around(mean: float, deviation: float, low: float = 0.0, high: float = 1e9) -> float:
        return min(max(draw.gauss(mean, deviation), low), high)

    run: list[tuple[int, Metrics]] = [(0, evaluation(draw, 0.0))]
    for step in range(1, STEPS + 1):
        learned = step / STEPS
        metrics = {
            "entropy": around(0.22 - 0.1 * learned, 0.02),
            "completion_tokens": around(30, 6),
            "truncated_share": around(0.005, 0.01),
            "kl": around(0.2 * learned, 0.05) + (2.0 if draw.random() < 0.01 else 0.0),
            "logprob_gap": around(0.01, 0.001),
            "logprob_gap_exp": 1 + around(0.01, 0.001),
            "logprob_gap_k3": around(0.001, 0.0003),
            "grad_norm": around(0.4, 0.12, 0.1) + (3.0 if draw.random() < 0.01 else 0.0),
            "skipped_updates": 0.0,
            "num_groups": 16.0,
            "num_zero_std_groups": float(int(around(1 + 3 * learned, 1.5))),
        }
        for task, score in ANSWER.items():
            accuracy = around(0.5 + 0.2 * learned, 0.13, 0.0, 1.0)
            form = around(0.97, 0.03, 0.0, 1.0)
            metrics |= {
                f"reward/{task}": accuracy + form,
                f"score/{task}/{score}": accuracy,
                f"score/{task}/think_format": form,
                f"score_std/{task}/{score}": around(0.25, 0.08),
                f"score_std/{task}/think_format": around(0.06, 0.05),
                f"same_answer_share/{task}": around(0.12, 0.06, 0.0, 1.0),
            }
        run.append((step, metrics))
        if step % 50 == 0:
            run.append((step, evaluation(draw, learned)))
    return run


def evaluation(draw: random.Random, learned: float) -> Metrics:
    return {
        "eval/multiple_choice": draw.gauss(0.5 + 0.2 * learned, 0.02),
        "eval/charades_sta.test": draw.gauss(0.5 + 0.15 * learned, 0.02),
        "eval/multiple_choice (blank)": draw.gauss(0.3, 0.02),
        "eval/drawn otherwise": draw.gauss(0.25, 0.02),  # never trained for
        "eval/multiple_choice/greedy/accuracy": 0.1,
    }


def planted(seed: int, change: Callable[[float, Metrics], Metrics]) -> list[tuple[int, Metrics]]:
    """The healthy run with the values that `change` makes of (share of the run, metrics); of metrics there alone."""
    run = []
    for step, metrics in healthy(seed):
        changed = {name: value for name, value in change(step / STEPS, metrics).items() if name in metrics}
        run.append((step, metrics | changed))
    return run


def fired(run: list[tuple[int, Metrics]], **keys: object) -> list[Alarm]:
    alarms = Alarms(recipe(**keys), HELD_OUT)
    for step, metrics in run:
        alarms.add(step, metrics)
    return alarms.fired


FAULTS: dict[AlarmName, tuple[Callable[[float, Metrics], Metrics], str | None, str | None]] = {
    "reward_without_gain": (
        lambda at, m: {
            "eval/multiple_choice": 0.5 - 0.1 * at,
            "reward/multiple_choice": m.get("reward/multiple_choice", 0) + 0.3 * at,
        },
        "multiple_choice",
        None,
    ),
    "one_answer": (lambda at, m: {"same_answer_share/multiple_choice": 0.2 + 0.8 * at}, "multiple_choice", None),
    "below_baseline": (lambda at, m: {"eval/charades_sta.test": 0.3}, "temporal_grounding", None),
    "zero_std_groups": (lambda at, m: {"num_zero_std_groups": 16 * at}, None, None),
    "entropy_collapse": (lambda at, m: {"entropy": m.get("entropy", 0) * (1 - at) ** 3}, None, None),
    "length_drift": (lambda at, m: {"completion_tokens": m.get("completion_tokens", 0) * (1 + 2 * at)}, None, None),
    "truncation": (lambda at, m: {"truncated_share": 0.5 * at}, None, None),
    "kl_growth": (lambda at, m: {"kl": 3 * at}, None, None),
    "mismatch": (lambda at, m: {"logprob_gap": m.get("logprob_gap", 0) * (1 + 9 * at)}, None, None),
    "one_reward": (
        lambda at, m: {
            "score/temporal_grounding/temporal_iou": 0.0,
            "score_std/temporal_grounding/temporal_iou": 0.0,
        },
        "temporal_grounding",
        "think_format",
    ),
    "grad_norm_spikes": (
        lambda at, m: {"grad_norm": m.get("grad_norm", 0) * (20 if at > 0.5 and m.get("kl", 0) > 0.15 else 1)},
        None,
        None,
    ),
    "format_saturated": (
        lambda at, m: {
            "score/multiple_choice/think_format": 1.0,
            "score/multiple_choice/choice_accuracy": m.get("score/multiple_choice/choice_accuracy", 0) - 0.2 * at,
        },
        "multiple_choice",
        None,
    ),
    "looks_away": (lambda at, m: {"eval/multiple_choice (blank)": 0.3 + 0.25 * at}, "multiple_choice", None),
}


@pytest.mark.parametrize("name", get_args(AlarmName))
def test_an_alarm_fires_on_its_fault(name: AlarmName) -> None:
    change, task, reward = FAULTS[name]
    (alarm,) = [alarm for alarm in fired(planted(0, change)) if alarm.name == name]
    assert (alarm.task, alarm.reward) == (task, reward)
    rule = next(rule for rule in RULES if rule.name == name)
    assert rule.holds(alarm.value)
    assert alarm.threshold == rule.threshold
    assert name not in [alarm.name for alarm in fired(planted(0, change), silent_alarms=[name])]


@pytest.mark.parametrize(
    ("name", "value", "times"), [("logprob_gap_exp", 1.1, 2.0), ("logprob_gap_k3", 0.045, 3.0), ("logprob_gap", 0.0, 0)]
)
def test_a_mismatch_beyond_its_bounds_is_one(name: str, value: float, times: float) -> None:
    run = planted(0, lambda at, m: {name: value})
    assert [(alarm.name, alarm.step, alarm.value) for alarm in fired(run)] == (
        [("mismatch", 20, pytest.approx(times))] if times else []
    )
    assert fired(run, rollout={"ahead": 1}) == []  # sampled by a policy of a step before


def test_the_table_of_rules_is_complete() -> None:
    assert [rule.name for rule in RULES] == list(get_args(AlarmName))
    page = (Path(__file__).parents[3] / "docs" / "runs.md").read_text(encoding="utf-8")
    assert [rule.name for rule in RULES if f"| `{rule.name}` | {rule.threshold:g} |" not in page] == []


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_alarm_fires_on_a_healthy_run(seed: int) -> None:
    assert fired(healthy(seed)) == []


@pytest.mark.parametrize(("blank", "alarms"), [(0.32, []), (0.56, []), (0.6, ["looks_away"])])
def test_a_gain_on_grey_clips_counts_above_the_baseline_alone(blank: float, alarms: list[str]) -> None:
    """A policy that begins below it: the metric as filmed rises by 0.4 above the baseline of 0.3."""

    def change(at: float, metrics: Metrics) -> Metrics:
        return {
            "eval/multiple_choice": 0.05 + 0.65 * at,
            "eval/multiple_choice (blank)": 0.05 + (blank - 0.05) * at,
        }

    assert [alarm.name for alarm in fired(planted(0, change)) if alarm.name == "looks_away"] == alarms


def test_a_rise_is_bounded_by_two_standard_errors() -> None:
    # Means 2 and 5, mean squares of the deviations 1 and 4: an error of sqrt(1 / 2 + 4 / 2).
    assert rise([1.0, 3.0], [3.0, 7.0]) == pytest.approx((3 - 2 * 2.5**0.5, 3 + 2 * 2.5**0.5))


def test_a_resumed_run_has_the_alarms_of_one_that_did_not_stop() -> None:
    run = planted(0, FAULTS["truncation"][0])
    whole = fired(run)
    (step,) = {alarm.step for alarm in whole}
    for stopped_at in (step - 1, step, step + 1):
        before = [(s, metrics) for s, metrics in run if s <= stopped_at]
        resumed = Alarms(recipe(), HELD_OUT, [alarm for alarm in whole if alarm.step <= stopped_at])
        steps: dict[int, Metrics] = {}
        for s, metrics in before:
            steps[s] = steps.get(s, {}) | metrics
        resumed.recall(steps)
        for s, metrics in run[len(before) :]:
            resumed.add(s, metrics)
        assert resumed.fired == whole


class Learner:
    policy_version = 0

    def save(self, directory: Path) -> None:
        (directory / "policy").write_text("weights")


@pytest.mark.parametrize(("on_alarm", "asked"), [("note", []), ("stop", ["truncation"])])
def test_an_alarm_is_recorded_shown_and_stops_the_run_where_it_should(
    on_alarm: str, asked: list[str], tmp_path: Path
) -> None:
    run, shown, reasons = RunDir(tmp_path), io.StringIO(), list[str]()
    order = PromptOrder([Prompt("a", "multiple_choice", "?", None, ChoiceTarget("A"))], 0, None, 0.0)
    parts = (recipe(on_alarm=on_alarm), run, PlainView("run", shown), Learner(), order, lambda rows: None, lambda: ())
    record = RunRecorder(*parts, stop=reasons.append)
    for step in range(30):
        metrics = {"truncated_share": 0.5 if step else 0.1}
        record.step(StepResult(step, RolloutBatch((), (), 0, {}, {}), metrics, (), None))
    assert reasons == asked
    (alarm,) = read_alarms(run)
    assert (alarm.name, alarm.step, alarm.value) == ("truncation", 20, pytest.approx((19 * 0.5 + 0.1) / 20))
    assert f"alarm: step 20: truncation: 0.48, threshold 0.2; {alarm.look_at}" in shown.getvalue().splitlines()
    assert alarms_line([alarm]) == "1 alarm: truncation at step 20"
    run.cut_after(20)
    assert len(read_alarms(run)) == 1
    run.cut_after(19)
    assert read_alarms(run) == ()


def test_alarms_stay_in_sight_in_a_terminal() -> None:
    out = io.StringIO()
    view = TerminalView("run", out, width=100)
    view.alarm(Alarm("one_answer", 40, "tracking", None, 0.9, 0.8, "the answers"))
    view.close()
    assert "alarm: step 40: one_answer (tracking): 0.9, threshold 0.8; the answers" in out.getvalue()
    assert "  alarms: one_answer (tracking) at step 40" in out.getvalue()
