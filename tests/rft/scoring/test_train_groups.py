import pytest

from rewards.targets.choice import ChoiceTarget
from rft.scoring.train_groups import DECAY, running_reward_variances
from rft.types import Completion, Group, Prompt, Rollout


def group(task: str, *rewards: float) -> Group:
    completion = Completion("", (), (), 0, "stop", 0)
    prompt = Prompt("p", task, "Which?", None, ChoiceTarget("A"))
    return Group(prompt, tuple(Rollout(completion, {}, reward) for reward in rewards))


def test_running_variances_are_separate_by_task_and_skip_zero_std_groups() -> None:
    first = running_reward_variances({}, [group("a", 0.0, 1.0), group("b", 0.0, 0.0), group("b", 0.3)])
    assert first == pytest.approx({"a": 0.5})
    second = running_reward_variances(first, [group("a", 0.0, 2.0), group("b", 1.0, 3.0)])
    assert second == pytest.approx({"a": DECAY * 0.5 + (1 - DECAY) * 2.0, "b": 2.0})
    assert set(first) == {"a"}
