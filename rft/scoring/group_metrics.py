"""Metrics of the scored groups of a step, and the union of all its metrics."""

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from itertools import pairwise
from statistics import fmean

from rewards.types import FAULTS, fault_of
from rft.types import Completion, Group, TrainGroup


def group_metrics(groups: Sequence[Group]) -> dict[str, float]:
    """Metrics of the rollouts of one step: rewards by task, scores and their spread in a group, faults, lengths.

    Failed completions count in the rewards; scores are means over the completions that could be judged.
    """
    rollouts = [(group.prompt.task, rollout) for group in groups for rollout in group.rollouts]
    if not rollouts:
        return {}
    by_name: dict[str, list[float]] = defaultdict(list)
    # Kinds that do not occur count 0: a curve that only has points where something was wrong would mislead.
    faults = {f"fault/{task}/{kind}": 0.0 for task in dict.fromkeys(task for task, _ in rollouts) for kind in FAULTS}
    for group in groups:
        if group.shuffled_score is not None:
            by_name[f"shuffled_score/{group.prompt.task}"].append(group.shuffled_score)
    for task, rollout in rollouts:
        if fault := fault_of(rollout.scores):
            faults[f"fault/{task}/{fault}"] += 1
        by_name["reward"].append(rollout.reward)
        by_name[f"reward/{task}"].append(rollout.reward)
        for name, score in rollout.scores.items():
            by_name[f"score/{task}/{name}"].append(score.value)
        by_name["completion_tokens"].append(len(rollout.completion.token_ids))
        by_name["truncated_share"].append(rollout.completion.finish_reason == "length")
        by_name["failed_share"].append(rollout.completion.finish_reason == "error")
    by_name["reward_std_in_group"] = [std([r.reward for r in group.rollouts]) for group in groups]
    for group in groups:
        judged = [rollout.scores for rollout in group.rollouts if rollout.scores]
        for name in judged[0] if judged else ():
            by_name[f"score_std/{group.prompt.task}/{name}"].append(std([scores[name].value for scores in judged]))
    metrics = {name: sum(values) / len(values) for name, values in by_name.items()}
    totals = {"sampled_tokens": float(sum(by_name["completion_tokens"])), "num_rollouts": float(len(rollouts))}
    return metrics | totals | faults | same_answer_shares(groups)


def staleness_metrics(groups: Sequence[Group], policy_version: int) -> dict[str, float]:
    """How many policy versions lie between those that drew the tokens and the one that is to learn from them.

    `staleness/mean` over tokens, `staleness/max`, `staleness/several_versions_share` of the completions. Failed
    completions are left out; {} where there are no others.
    """
    completions = [r.completion for group in groups for r in group.rollouts if r.completion.finish_reason != "error"]
    behind = [(policy_version - version, num) for one in completions for version, num in versions_drawn(one) if num]
    if not behind:
        return {}
    return {
        "staleness/mean": sum(age * num for age, num in behind) / sum(num for _, num in behind),
        "staleness/max": float(max(age for age, _ in behind)),
        "staleness/several_versions_share": fmean(bool(one.later_versions) for one in completions),
    }


def versions_drawn(completion: Completion) -> list[tuple[int, int]]:
    """(version of the policy, how many tokens it drew), in the order of the tokens."""
    begins = [(0, completion.policy_version), *completion.later_versions, (len(completion.token_ids), 0)]
    return [(version, end - start) for (start, version), (end, _) in pairwise(begins)]


def same_answer_shares(groups: Sequence[Group]) -> dict[str, float]:
    """`same_answer_share/<task>`: of the pairs of answers to prompts with different targets, those that are equal.

    1 where a policy gives one answer to all prompts. Answers that could not be parsed are left out, and tasks without
    such a pair.
    """
    by_task: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for group in groups:
        target = repr(group.prompt.target.to_json())
        for rollout in group.rollouts:
            answers = (score.answer for score in rollout.scores.values() if score.answer is not None)
            if answer := next(answers, None):
                by_task[group.prompt.task].append((target, answer.strip()))
    shares = {}
    for task, given in by_task.items():
        num_different = num_pairs([()] * len(given)) - num_pairs([target for target, _ in given])
        if num_different:
            equal = num_pairs([answer for _, answer in given]) - num_pairs(given)
            shares[f"same_answer_share/{task}"] = equal / num_different
    return shares


def num_pairs(values: Sequence[Hashable]) -> int:
    """Pairs of equal values."""
    return sum(number * (number - 1) // 2 for number in Counter(values).values())


def train_group_metrics(groups: Sequence[Group], learned: Sequence[TrainGroup]) -> dict[str, float]:
    """Counts of the groups and completions that the learner gets (`learned`) and of those left out, also by task."""
    zero_std = Counter(group.prompt.task for group in groups)
    zero_std.subtract(group.prompt.task for group in learned if group.has_signal)
    # "failed", "truncated", or the name of the reward that could not judge the completion.
    dropped = Counter(r.problem.partition(":")[0] for group in groups for r in group.rollouts if r.problem)
    ground_truths = [group.advantages[-1] for group in learned if group.has_ground_truth]
    return (
        {
            "num_groups": float(len(groups)),
            "num_zero_std_groups": float(zero_std.total()),
            "num_samples": float(sum(len(group.completions) for group in learned)),
            "num_dropped": float(dropped.total()),
        }
        | {f"num_zero_std_groups/{task}": float(number) for task, number in zero_std.items()}
        | (
            {"num_ground_truths": float(len(ground_truths)), "ground_truth_advantage": fmean(ground_truths)}
            if ground_truths
            else {}
        )
        | {f"num_dropped/{kind}": float(number) for kind, number in sorted(dropped.items())}
    )


def join_metrics(*parts: Mapping[str, float]) -> dict[str, float]:
    """All metrics of a step. Raises ValueError where two parts report one name."""
    joined: dict[str, float] = {}
    for part in parts:
        twice = sorted(joined.keys() & part.keys())
        if twice:
            raise ValueError(f"two parts of a step report the metric {', '.join(twice)}: give one another name.")
        joined |= part
    return joined


def std(values: Sequence[float]) -> float:
    """Standard deviation of the values of one group; 0 without values."""
    if not values:
        return 0.0
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
