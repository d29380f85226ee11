"""Groups become train groups: what is left out, kept and counted."""

import pytest

from rewards.targets.choice import ChoiceTarget
from rft.recipe.algorithm import AlgorithmRecipe
from rft.scoring.group_metrics import train_group_metrics
from rft.scoring.train_groups import DECAY, running_reward_variances, train_groups
from rft.types import Completion, Group, Prompt, Rollout


def group(task: str, *rewards: float, **problems: str) -> Group:
    """`problems`: what is wrong with the rollouts "r0", "r1" and so on."""
    prompt = Prompt("p", task, "Which?", None, ChoiceTarget("A"))
    names = [f"r{number}" for number in range(len(rewards))]
    completions = [Completion(name, (1,), (0.0,), 5, "stop", 0) for name in names]
    rollouts = (
        Rollout(completion, {}, reward, problems.get(name, ""))
        for name, completion, reward in zip(names, completions, rewards, strict=True)
    )
    return Group(prompt, tuple(rollouts))


def test_running_variances_are_separate_by_task_and_skip_zero_std_groups() -> None:
    first = running_reward_variances({}, [group("a", 0.0, 1.0), group("b", 0.0, 0.0), group("b", 0.3)])
    assert first == pytest.approx({"a": 0.5})
    second = running_reward_variances(first, [group("a", 0.0, 2.0), group("b", 1.0, 3.0)])
    assert second == pytest.approx({"a": DECAY * 0.5 + (1 - DECAY) * 2.0, "b": 2.0})
    assert set(first) == {"a"}


def test_what_the_learner_is_not_given_is_counted() -> None:
    groups = [
        group("multiple_choice", 0.0, 1.0, 1.0, 5.0, r3="failed: x"),
        group("multiple_choice", 0.3, 0.1 + 0.2, 0.3),
        group("multiple_choice", 0.0, 1.0, r1="odd: raised"),
        group("tracking"),
        group("tracking", 1.0, 2.0),
    ]
    learned = train_groups(groups, AlgorithmRecipe(advantage="mean_only"), {})
    assert [[completion.text for completion in of.completions] for of in learned] == [["r0", "r1", "r2"], ["r0", "r1"]]
    assert learned[0].advantages == pytest.approx([-2 / 3, 1 / 3, 1 / 3])
    assert learned[1].advantages == pytest.approx([-0.5, 0.5])
    assert train_group_metrics(groups, learned) == {
        "num_groups": 5,
        "num_zero_std_groups": 3,
        "num_zero_std_groups/multiple_choice": 2,
        "num_zero_std_groups/tracking": 1,
        "num_samples": 5,
        "num_dropped": 2,
        "num_dropped/failed": 1,
        "num_dropped/odd": 1,
    }


def test_nothing_is_learned_of_nothing() -> None:
    assert train_groups([], AlgorithmRecipe(), {}) == ()
    assert train_group_metrics([], ()) == {
        "num_groups": 0,
        "num_zero_std_groups": 0,
        "num_samples": 0,
        "num_dropped": 0,
    }


def test_groups_without_signal_are_kept_where_the_recipe_says_so() -> None:
    groups = [
        group("multiple_choice", 0.5, 0.5),
        group("multiple_choice", 1.0, 0.0),
        group("multiple_choice", 2.0, r0="failed: no tokens"),
    ]
    kept = train_groups(groups, AlgorithmRecipe(zero_std_groups="keep"), {})
    assert [of.has_signal for of in kept] == [False, True]
    assert kept[0].advantages == (0.0, 0.0)
    assert kept[1:] == train_groups(groups, AlgorithmRecipe(), {})
    assert train_group_metrics(groups, kept)["num_zero_std_groups"] == 2
