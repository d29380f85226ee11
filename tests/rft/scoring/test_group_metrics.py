from dataclasses import replace
from pathlib import Path

import pytest

from rewards.targets.choice import ChoiceTarget
from rewards.types import FAULTS, Fault, Score
from rft.scoring.group_metrics import group_metrics, join_metrics, same_answer_shares, staleness_metrics
from rft.types import Completion, FinishReason, Group, Prompt, Rollout, Video, VideoSampling

VIDEO = Video(Path("clip.mp4"), VideoSampling(2.0, 4, 8, 784, 784, 7840))


def rollout(reward: float, tokens: int, reason: FinishReason = "stop") -> Rollout:
    completion = Completion("x", (1,) * tokens, (0.0,) * tokens, 5, reason, 0)
    fault: Fault | None = None if reward else "unreadable"
    scores = {} if reason == "error" else {"choice_accuracy": Score(reward, "A", "", fault)}
    return Rollout(completion, scores, reward)


def group(task: str, *rollouts: Rollout) -> Group:
    return Group(Prompt("p", task, "Which?", VIDEO, ChoiceTarget("A")), rollouts)


def test_group_metrics() -> None:
    groups = [
        group("multiple_choice", rollout(1.0, 10, "length"), rollout(0.0, 30, "length")),
        group("tracking", rollout(0.5, 20), rollout(0.5, 0, "error")),
    ]
    assert group_metrics(groups) == {
        "reward": 0.5,
        "reward/multiple_choice": 0.5,
        "reward/tracking": 0.5,
        "score/multiple_choice/choice_accuracy": 0.5,
        "score/tracking/choice_accuracy": 0.5,
        "score_std/multiple_choice/choice_accuracy": 0.5,
        "score_std/tracking/choice_accuracy": 0.0,
        "completion_tokens": 15.0,
        "truncated_share": 0.5,
        "failed_share": 0.25,
        "reward_std_in_group": 0.25,
        "sampled_tokens": 60.0,
        "num_rollouts": 4.0,
        **{f"fault/{task}/{kind}": 0.0 for task in ("multiple_choice", "tracking") for kind in FAULTS},
        "fault/multiple_choice/unreadable": 1.0,
    }
    assert group_metrics([]) == {}


def test_staleness_of_tokens_and_completions() -> None:
    """At version 5: tokens of versions 3, 3, 4, 5 and of 4, 4."""
    failed = rollout(0.0, 0, "error")
    drawn = [replace(rollout(1.0, 4).completion, policy_version=3, later_versions=((2, 4), (3, 5)))]
    drawn.append(replace(rollout(1.0, 2).completion, policy_version=4))
    groups = [group("multiple_choice", *(replace(failed, completion=one) for one in drawn), failed)]
    assert staleness_metrics(groups, 5) == {
        "staleness/mean": (2 + 2 + 1 + 0 + 1 + 1) / 6,
        "staleness/max": 2.0,
        "staleness/several_versions_share": 0.5,
    }
    assert staleness_metrics([group("multiple_choice", failed)], 5) == {}


def test_no_part_of_a_step_overwrites_what_another_reports() -> None:
    assert join_metrics({"loss": 1.0}, {}, {"reward": 2.0}) == {"loss": 1.0, "reward": 2.0}
    with pytest.raises(ValueError, match=r"two parts of a step report the metric loss, reward: give one another name"):
        join_metrics({"reward": 1.0, "loss": 1.0}, {"kl": 0.0}, {"loss": 1.0, "reward": 1.0})


def test_answers_are_compared_between_prompts_of_different_targets() -> None:
    def answers(target: str, *texts: str | None) -> Group:
        completion = Completion("x", (1,), (0.0,), 5, "stop", 0)
        rollouts = [Rollout(completion, {"choice_accuracy": Score(0.0, text, "")}, 0.0) for text in texts]
        return Group(Prompt("p", "multiple_choice", "Which?", VIDEO, ChoiceTarget(target)), tuple(rollouts))

    # Pairs between targets: A, A, C with A, C. Equal: A with A twice, C with C once.
    groups = [answers("A", "A", " A", None), answers("A", "C"), answers("B", "A", "C")]
    assert same_answer_shares(groups) == {"same_answer_share/multiple_choice": 3 / 6}
    assert same_answer_shares([answers("A", "C", "C"), answers("B", "C", "C")]) == {
        "same_answer_share/multiple_choice": 1.0
    }
    assert same_answer_shares([answers("A", "C", "C"), answers("A", "C")]) == {}
