"""Completions of a prompt become scores, rewards and problems."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from odd_rewards import HANGS, fine, odd, side_by_side

from rewards import REWARDS
from rewards.targets.choice import ChoiceTarget
from rewards.types import Score
from rft.errors import RewardError
from rft.recipe import DataRecipe, Recipe, ScoringRecipe
from rft.scoring.group import WeightedReward, overlong_penalty, score_by_recipe, score_group, solved, task_rewards
from rft.scoring.reward_worker import RewardWorker
from rft.types import Completion, Group, Prompt, Video

TABLE = {**REWARDS, "odd": odd, "fine": fine, "side_by_side": side_by_side}


def recipe_of(rewards: dict[str, Any] | None = None, **sections: Any) -> Recipe:
    data = {
        "model": "m",
        "tasks": {"multiple_choice": {"rewards": rewards}},
        "data": DataRecipe(train=(Path("train.jsonl"),)),
        "steps": 1,
        "sampling": {"max_completion_length": 100},
        "scoring": {"reward_timeout_s": 20.0, "on_reward_error": "drop"},
    }
    return Recipe.model_validate({**data, **sections})


def prompt_of(task: str = "multiple_choice", prompt_id: str = "p1") -> Prompt:
    return Prompt(prompt_id, task, "which?", Video(Path("v.mp4"), recipe_of().video.sampling()), ChoiceTarget("B"))


def completion_of(text: str, finish_reason: Any = "stop", num_tokens: int = 1) -> Completion:
    return Completion(text, (1,) * num_tokens, (0.0,) * num_tokens, 5, finish_reason, 0)


def score(texts: list[str], rewards: dict[str, Any], worker: RewardWorker, **scoring: Any) -> Group:
    """The time limit is short only where a reward reaches it: what is well meant has time on a busy machine too."""
    recipe = recipe_of(rewards)
    if HANGS.intersection(texts):
        scoring = {"reward_timeout_s": 0.5, **scoring}
    recipe = recipe.model_copy(update={"scoring": recipe.scoring.model_copy(update=scoring)})
    return scored([completion_of(text) for text in texts], recipe, worker)


def scored(completions: list[Completion], recipe: Recipe, worker: RewardWorker, prompt_id: str = "p1") -> Group:
    rewards = task_rewards(recipe.tasks, "multiple_choice", TABLE)
    return score_group(prompt_of(prompt_id=prompt_id), completions, rewards, recipe.scoring, 100, worker)


@pytest.fixture(scope="module")
def worker() -> Iterator[RewardWorker]:
    worker = RewardWorker()
    yield worker
    worker.child.close()


def test_reward_is_the_weighted_sum(worker: RewardWorker) -> None:
    group = score(
        ["<answer>B</answer>", "<answer>A</answer>", "B"],
        {"choice_accuracy": 2.0, "answer_format": 0.5, "fine": {"weight": -1.0, "args": {"value": 0.25}}},
        worker,
    )
    assert [rollout.reward for rollout in group.rollouts] == [2.25, 0.25, -0.25]
    assert group.rollouts[1].scores["choice_accuracy"] == Score(0.0, "A", "chose A, right is B")
    assert [rollout.problem for rollout in group.rollouts] == ["", "", ""]


def test_a_recipe_without_rewards_takes_the_tasks_own(worker: RewardWorker) -> None:
    group = scored([completion_of("<think>x</think><answer>B</answer>")], recipe_of(), worker)
    assert group.rollouts[0].scores.keys() == {"choice_accuracy", "think_format"}
    assert group.rollouts[0].reward == 2.0


def test_unknown_names_are_explained() -> None:
    with pytest.raises(RewardError, match=r"no reward named 'choice_acuracy'\. Did you mean 'choice_accuracy'"):
        task_rewards(recipe_of({"choice_acuracy": 1.0}).tasks, "multiple_choice", REWARDS)
    with pytest.raises(RewardError, match="task tracking is not in the recipe"):
        score_by_recipe(prompt_of("tracking"), [completion_of("x")], recipe_of())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("raise", r"odd: raised ValueError: no such thing \(odd_rewards.py:\d+\)"),
        ("exit", "odd: raised SystemExit: 3"),
        ("die", r"odd: ended the reward process \(exit code 7\)"),
        ("none", "odd: returned NoneType, not a Score"),
        ("number", "odd: returned float, not a Score"),
        ("nan", "odd: returned the value nan, not a number in"),
        ("two", "odd: returned the value 2.0, not"),
        ("minus", "odd: returned the value -0.1, not"),
        ("text", "odd: returned the value '1', not"),
        ("loop", "odd: took longer than 0.5 s and was stopped"),
        ("regex", "odd: took longer than 0.5 s and was stopped"),
        ("deaf", "odd: took longer than 0.5 s and was stopped"),
    ],
)
def test_a_reward_error_drops_the_completion(worker: RewardWorker, text: str, problem: str) -> None:
    before, after = score(["ok", text], {"fine": 1.0, "odd": 1.0}, worker).rollouts
    assert (before.reward, before.problem) == (1.5, "")
    assert (after.reward, after.scores) == (0.0, {})
    assert re.match(problem, after.problem), after.problem


@pytest.mark.parametrize(("text", "problem"), [("raise", "raised ValueError"), ("sleep", "took longer than 0.5 s")])
def test_a_reward_error_stops_the_run_where_the_recipe_says_so(worker: RewardWorker, text: str, problem: str) -> None:
    with pytest.raises(RewardError, match=f"prompt p1, completion 1: reward odd: {problem}.*on_reward_error=drop"):
        score(["ok", text], {"odd": 1.0}, worker, on_reward_error="stop")
    assert score(["ok"], {"odd": 1.0}, worker).rollouts[0].reward == 1.0


def test_after_a_hang_the_rest_of_the_group_is_not_judged(worker: RewardWorker) -> None:
    rollouts = score(["ok", "sleep", "ok", "sleep"], {"odd": 1.0}, worker).rollouts
    assert [rollout.reward for rollout in rollouts] == [1.0, 0.0, 0.0, 0.0]
    assert rollouts[2].problem.startswith("odd: not judged")


@pytest.mark.parametrize(
    ("texts", "problems"),
    [
        (["ok", "loop", "ok", "ok"], ["", "took", "", ""]),
        (["ok", "sleep", "ok", "loop", "ok"], ["", "took", "", "took", "not judged"]),
        (["loop", "raise", "exit", "nan"], ["took", "raised ValueError", "raised SystemExit", "returned the value"]),
    ],
)
def test_side_by_side_only_those_that_hang_are_blamed(
    worker: RewardWorker, texts: list[str], problems: list[str]
) -> None:
    rollouts = score(texts, {"side_by_side": 1.0}, worker).rollouts
    for rollout, problem in zip(rollouts, problems, strict=True):
        assert rollout.problem.startswith(f"side_by_side: {problem}" if problem else "")
        assert (rollout.reward, rollout.problem != "") == ((0.0, True) if problem else (1.0, False))


def test_side_by_side_all_are_judged_at_one_time(worker: RewardWorker) -> None:
    """Each waits for the other seven."""
    rollouts = score(["meet"] * 8, {"side_by_side": {"args": {"concurrency": 8}}}, worker).rollouts
    assert [rollout.reward for rollout in rollouts] == [1.0] * 8
    few = {"side_by_side": {"args": {"concurrency": 7}}}
    too_few = score(["meet"] * 8, few, worker, reward_timeout_s=0.5).rollouts
    assert [rollout.reward for rollout in too_few] == [0.0] * 8


@pytest.mark.parametrize("concurrency", [0, "many", None])
def test_side_by_side_needs_a_number(worker: RewardWorker, concurrency: object) -> None:
    with pytest.raises(RewardError, match=r"reward side_by_side: concurrency is .*, not a whole number from 1 on"):
        score(["ok"], {"side_by_side": {"args": {"concurrency": concurrency}}}, worker)


def test_what_a_reward_prints_or_starts_disturbs_nothing(worker: RewardWorker) -> None:
    rollouts = score(["print", "child", "fraction"], {"odd": 1.0}, worker).rollouts
    assert [rollout.reward for rollout in rollouts] == [1.0, 1.0, 0.25]


@pytest.mark.parametrize("fn", [lambda completion, target: Score(1.0, "", ""), TABLE.get])
def test_a_function_without_a_place_is_refused(worker: RewardWorker, fn: Any) -> None:
    with pytest.raises(RewardError, match="plain function at the top level"):
        score_group(prompt_of(), [completion_of("x")], [WeightedReward("fn", fn)], ScoringRecipe(), 100, worker)


@pytest.mark.parametrize(
    ("truncated", "reward", "problem"),
    [("score", 1.0, ""), ("zero", 0.0, ""), ("drop", 1.0, "truncated: cut at 100 tokens")],
)
def test_truncated_completions(worker: RewardWorker, truncated: str, reward: float, problem: str) -> None:
    recipe = recipe_of({"choice_accuracy": 1.0}, scoring={"truncated": truncated})
    completions = [completion_of("<answer>B</answer>", "length", 100), completion_of("<answer>B</answer>")]
    cut, whole = scored(completions, recipe, worker).rollouts
    assert (cut.reward, cut.problem) == (reward, problem)
    assert cut.scores["choice_accuracy"].value == 1.0
    assert (whole.reward, whole.problem) == (1.0, "")


def test_failed_completions_are_not_judged(worker: RewardWorker) -> None:
    completions = [completion_of("loop", "error", 0), completion_of("ok")]
    failed, whole = scored(completions, recipe_of({"odd": 1.0}), worker).rollouts
    assert (failed.reward, failed.scores) == (0.0, {})
    assert failed.problem.startswith("failed: ")
    assert whole.reward == 1.0


def test_overlong_penalty_rises_over_the_buffer() -> None:
    scoring = recipe_of(scoring={"overlong_buffer": 20, "overlong_penalty": 0.5}).scoring
    penalties = [overlong_penalty(n, 100, scoring) for n in (1, 80, 85, 90, 100)]
    assert penalties == pytest.approx([0, 0, 0.125, 0.25, 0.5])
    assert overlong_penalty(100, 100, recipe_of().scoring) == 0


def test_good_completions_of_a_wanted_length_earn_a_bonus(worker: RewardWorker) -> None:
    bonus = {"reward": "choice_accuracy", "tokens_low": 20, "tokens_high": 40}
    cases: list[tuple[str, int, Any]] = [
        ("<answer>B</answer>", 19, "stop"),
        ("<answer>B</answer>", 20, "stop"),
        ("<answer>B</answer>", 40, "stop"),
        ("<answer>B</answer>", 41, "stop"),
        ("<answer>A</answer>", 30, "stop"),
        ("<answer>B</answer>", 30, "length"),
        ("<answer>B</answer>", 30, "error"),
    ]
    completions = [completion_of(text, reason, length) for text, length, reason in cases]
    for truncated, cut in (("score", 2.2), ("zero", 0.0)):
        recipe = recipe_of({"choice_accuracy": 2.0}, scoring={"length_bonus": bonus, "truncated": truncated})
        rollouts = scored(completions, recipe, worker).rollouts
        assert [rollout.reward for rollout in rollouts] == pytest.approx([2.0, 2.2, 2.2, 2.0, 0.0, cut, 0.0])
    other = recipe_of({"choice_accuracy": 2.0}, scoring={"length_bonus": {**bonus, "reward": "label_match"}})
    assert [r.reward for r in scored(completions[:2], other, worker).rollouts] == [2.0, 2.0]


def test_the_bonus_begins_at_least(worker: RewardWorker) -> None:
    bonus = {"reward": "fine", "tokens_low": 1, "least": 0.5, "bonus": 0.3}
    recipe = recipe_of({"fine": 1.0}, scoring={"length_bonus": bonus})
    assert scored([completion_of("x")], recipe, worker).rollouts[0].reward == 0.8
    recipe = recipe_of({"fine": 1.0}, scoring={"length_bonus": {**bonus, "least": 0.51}})
    assert scored([completion_of("x")], recipe, worker).rollouts[0].reward == 0.5


def test_a_truncated_completion_pays_the_length_penalty_too(worker: RewardWorker) -> None:
    recipe = recipe_of({"fine": 1.0}, scoring={"truncated": "zero", "overlong_buffer": 20, "overlong_penalty": 0.5})
    completions = [completion_of("x", "length", 100), completion_of("x", "stop", 90), completion_of("x", "stop", 80)]
    rollouts = scored(completions, recipe, worker).rollouts
    assert [rollout.reward for rollout in rollouts] == pytest.approx([-0.5, 0.25, 0.5])


@pytest.mark.parametrize(("fidelity", "value"), [(None, 1.0), ("corrected", 1.0), ("as_published", 0.0)])
def test_rewards_read_as_the_recipes_fidelity_says(fidelity: str | None, value: float) -> None:
    """The released code takes no lower-case letter."""
    recipe = recipe_of({"choice_accuracy": 1.0}, fidelity=fidelity)
    group = score_by_recipe(prompt_of(), [completion_of("<answer>b</answer>")], recipe)
    assert group.rollouts[0].reward == value


@pytest.mark.parametrize(("least", "expected"), [(None, ()), (0.7, ("a",)), (0.5, ("a", "b")), (0.01, ("a", "b"))])
def test_rows_are_solved_by_their_answers_not_by_their_form(
    worker: RewardWorker, least: float | None, expected: tuple[str, ...]
) -> None:
    recipe = recipe_of({"choice_accuracy": 2.0, "think_format": 1.0})
    answers = {"a": "BBBA", "b": "BBAA", "c": "AAAA"}
    groups = [
        scored([completion_of(f"<answer>{a}</answer>") for a in letters], recipe, worker, name)
        for name, letters in answers.items()
    ]
    failed = scored([completion_of("", "error", 0)], recipe, worker, "d")
    assert solved([*groups, failed], recipe.tasks, least) == expected
