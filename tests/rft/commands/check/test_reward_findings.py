"""rft check: do the rewards of a recipe fit its tasks?"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from rewards import REWARDS
from rewards.targets.span import SpanTarget
from rewards.types import Score
from rft.commands.check.check import check
from rft.commands.check.rewards import reward_findings
from rft.commands.check.values import value_problems
from rft.errors import Problem
from rft.recipe import Recipe
from rft.tasks import TASKS


@pytest.mark.parametrize("think", [True, False])
@pytest.mark.parametrize("name", TASKS)
def test_the_default_rewards_of_a_task_fit_it(make: Callable[..., Recipe], name: str, think: bool) -> None:
    assert list(reward_findings(make({name: {"think": think}}))) == []


@pytest.mark.parametrize(
    ("task", "task_recipe", "problem"),
    [
        ("temporal_graunding", {}, "tasks.temporal_graunding: unknown task. Did you mean 'temporal_grounding'?"),
        ("tracking", {"rewards": {"mean_bx_iou": 1}},
         "tasks.tracking.rewards.mean_bx_iou: unknown reward. Did you mean 'mean_box_iou'?"),
        ("temporal_grounding", {"rewards": {"choice_accuracy": 1}},
         "tasks.temporal_grounding.rewards.choice_accuracy: choice_accuracy scores ChoiceTarget or "
         "GroundedChoiceTarget, but task temporal_grounding yields SpanTarget."),
        ("temporal_grounding", {"rewards": {"temporal_iou": {"args": {"min_iu": 0.3}}}},
         "tasks.temporal_grounding.rewards.temporal_iou: temporal_iou has no argument min_iu. Did you mean 'min_iou'?"),
        ("temporal_grounding", {"rewards": {"temporal_iou": {"args": {"min_iou": "x"}}}},
         "tasks.temporal_grounding.rewards.temporal_iou: temporal_iou raises TypeError on the example answer"),
        ("temporal_grounding", {"think": False, "rewards": {"temporal_iou": 1, "think_format": 1}},
         "tasks.temporal_grounding.rewards.think_format: think_format gives 0 to the example answer of task "
         "temporal_grounding without think"),
        ("tracking", {"think": True, "rewards": {"mean_box_iou": 1, "answer_format": 1}},
         "tasks.tracking.rewards.answer_format: answer_format gives 0 to the example answer of task tracking with"),
        ("tracking", {"rewards": {"mean_box_iou": 0}},
         "tasks.tracking.rewards: no reward has a weight: nothing would be learned."),
        ("tracking", {"rewards": {}}, "tasks.tracking.rewards: no reward has a weight: nothing would be learned."),
    ],
)  # fmt: skip
def test_rewards_that_do_not_fit(
    make: Callable[..., Recipe], task: str, task_recipe: dict[str, Any], problem: str
) -> None:
    problems = [str(one) for one in reward_findings(make({task: task_recipe}))]
    assert len(problems) == 1
    assert problems[0].startswith(problem)


def test_a_reward_that_raises_needs_an_argument_or_scores_wrong_is_reported(make: Callable[..., Recipe]) -> None:
    def raising(completion: str, target: SpanTarget) -> Score:
        raise KeyError("boom")

    def needing(completion: str, target: SpanTarget, *, scale: float) -> Score:
        return Score(1.0, None, "")

    def half(completion: str, target: SpanTarget) -> Score:
        return Score(0.5, None, "always")

    def no_number(completion: str, target: SpanTarget) -> Score:
        return Score(float("nan"), None, "nan")

    table = {**REWARDS, "raising": raising, "needing": needing, "half": half, "no_number": no_number}
    recipe = make({"temporal_grounding": {"rewards": dict.fromkeys(("raising", "needing", "half", "no_number"), 1.0)}})
    messages = [one.message for one in reward_findings(recipe, table)]
    assert messages[0] == "raising raises KeyError on the example answer of task temporal_grounding: 'boom'."
    assert messages[1] == "needing needs the argument scale. Set it under args."
    assert messages[2].startswith("half gives 0.5 to the example answer of task temporal_grounding with think (always)")
    assert messages[3].startswith("no_number gives nan to the example answer")


def test_flaws_of_the_released_rewards_are_noted_and_mistakes_still_refused(make: Callable[..., Recipe]) -> None:
    """Its format reward of plain questions asks for spans that the prompt does not; no parser helps a wrong think."""
    recipe = make({"multiple_choice": {}, "temporal_grounding": {"rewards": {"answer_format": 1}}})
    recipe = recipe.model_copy(update={"fidelity": "as_published"})
    note, problem = reward_findings(recipe)
    assert isinstance(problem, Problem)
    assert str(problem).startswith("tasks.temporal_grounding.rewards.answer_format: answer_format gives 0 to")
    assert isinstance(note, str)
    assert note.startswith("tasks.multiple_choice.rewards.think_format: think_format gives 0 to the example answer")
    assert note.endswith("as the released code does; the corrected one accepts it.")
    assert not any(isinstance(one, str) for one in reward_findings(recipe.model_copy(update={"fidelity": "corrected"})))


def test_a_penalty_need_not_like_the_example(make: Callable[..., Recipe]) -> None:
    task_recipe = {"rewards": {"temporal_iou": 1.0, "answer_format": -0.5}}
    assert list(reward_findings(make({"temporal_grounding": task_recipe}))) == []


def test_the_settings_that_the_page_on_rewards_shows_pass(make: Callable[..., Recipe]) -> None:
    page = (Path(__file__).parents[4] / "docs" / "rewards.md").read_text()
    (shown,) = [
        yaml.safe_load(block) for block in re.findall("```yaml\n(.*?)```", page, re.DOTALL) if "judge_" in block
    ]
    tasks = {
        "temporal_grounding": {"rewards": {"endpoint_iou": 0.5, "generalised_iou": 0.5, "think_format": 0.1}},
        "grounded_qa": {"rewards": {"at_most_spans": {"args": {"most": 3}}, "choice_accuracy": 0.7}},
        **shown["tasks"],
    }
    recipe = make(tasks, scoring={"length_bonus": {"reward": "choice_accuracy"}, **shown["scoring"]})
    assert list(reward_findings(recipe)) == []
    assert value_problems(recipe) == []


def test_a_check_sends_no_request_to_a_judge(make: Callable[..., Recipe]) -> None:
    args = {"judge": "model", "judge_url": "http://127.0.0.1:9/v1", "judge_model": "m"}
    tasks = {"caption": {"rewards": {"event_recall": {"args": args}}}}
    assert list(reward_findings(make(tasks))) == []
    note = "scoring.reward_timeout_s ends event_recall after 5 s for a whole group, but one request to its judge may"
    assert any(one.startswith(note) for one in check(make(tasks), Path("r.yaml")).notes)
    patient = make(tasks, scoring={"reward_timeout_s": 100})
    assert not any("event_recall" in one for one in check(patient, Path("r.yaml")).notes)
    del args["judge_model"]
    assert "judge_model is missing" in str(next(reward_findings(make(tasks))))
