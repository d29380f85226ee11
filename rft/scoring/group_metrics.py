"""Metrics of the scored groups of a step, and all of its metrics together."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from rewards.types import FAULTS, fault_of
from rft.types import Group, Rollout


def group_metrics(groups: Sequence[Group]) -> dict[str, float]:
    """What the rollouts of one step look like: rewards by task, scores, faults, lengths, shares of cut and failed.

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
    by_name["reward_std_in_group"] = [spread(group.rollouts) for group in groups]
    metrics = {name: sum(values) / len(values) for name, values in by_name.items()}
    totals = {"sampled_tokens": float(sum(by_name["completion_tokens"])), "num_rollouts": float(len(rollouts))}
    return metrics | totals | faults


def join_metrics(*parts: Mapping[str, float]) -> dict[str, float]:
    """All metrics of a step. Raises ValueError where two parts report one name."""
    joined: dict[str, float] = {}
    for part in parts:
        twice = sorted(joined.keys() & part.keys())
        if twice:
            raise ValueError(f"two parts of a step report the metric {', '.join(twice)}: give one another name.")
        joined |= part
    return joined


def spread(rollouts: Sequence[Rollout]) -> float:
    """Standard deviation of the rewards of one group; 0 where there is none."""
    if not rollouts:
        return 0.0
    mean = sum(r.reward for r in rollouts) / len(rollouts)
    return math.sqrt(sum((r.reward - mean) ** 2 for r in rollouts) / len(rollouts))
