"""Scored groups -> train groups, the learner's input."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import stdev

from rft.algorithm.advantage import advantages, advantages_with_ground_truth, has_signal
from rft.recipe import Recipe
from rft.recipe.algorithm import AlgorithmRecipe
from rft.scoring.group import ScoreGroup, score_by_recipe
from rft.tasks import TASKS
from rft.types import Completion, Group, TrainGroup

DECAY = 0.98
"""Decay of a task's running variance per group with signal: it remembers about fifty groups."""


def train_groups(
    groups: Sequence[Group], algorithm: AlgorithmRecipe, variances: Mapping[str, float]
) -> tuple[TrainGroup, ...]:
    """Train groups: the completions that count, with advantages inside their group; groups without signal are left out.

    Where `algorithm` keeps such groups, their advantages are 0. `variances`: task -> running variance of the rewards
    inside a group, for advantages that need it.
    """
    keep = algorithm.zero_std_groups == "keep"
    learned = [_train_group(group, algorithm, variances.get(group.prompt.task)) for group in groups]
    return tuple(group for group in learned if group.has_signal or (keep and group.completions))


def with_ground_truth(group: Group, recipe: Recipe, score: ScoreGroup = score_by_recipe) -> Group:
    """The group with its ground truth, written out as one more member, which no engine sampled.

    Completions of the policy rarely hit a precise time span; the ground truth among them shows it. Returned unchanged
    if the recipe sets none, all completions failed or no reward fits. Source: TempSamp-R1, arXiv:2509.18056.
    """
    sampled = [r.completion for r in group.rollouts if r.completion.finish_reason != "error"]
    if recipe.algorithm.ground_truth is None or not sampled:
        return group
    prompt = group.prompt
    text = TASKS[prompt.task].target_completion(prompt.target, recipe.tasks[prompt.task].think)
    written = Completion(text, (), (), sampled[0].num_prompt_tokens, "stop", sampled[0].policy_version)
    (ground_truth,) = score(prompt, [written], recipe).rollouts
    return group if ground_truth.problem else replace(group, ground_truth=ground_truth)


def _train_group(group: Group, algorithm: AlgorithmRecipe, variance: float | None) -> TrainGroup:
    """The rollouts that count with their advantages, and the ground truth where it has one."""
    counting = [rollout for rollout in group.rollouts if not rollout.problem]
    rewards, ground_truth = [rollout.reward for rollout in counting], group.ground_truth
    completions = tuple(rollout.completion for rollout in counting)
    task_std = None if variance is None else math.sqrt(variance)
    if ground_truth is None or algorithm.ground_truth is None:
        return TrainGroup(group.prompt, completions, tuple(advantages(rewards, algorithm.advantage, task_std)))
    values, of_ground_truth = advantages_with_ground_truth(
        rewards, ground_truth.reward, algorithm.ground_truth, algorithm.advantage, task_std
    )
    if not of_ground_truth:
        return TrainGroup(group.prompt, completions, tuple(values))
    return TrainGroup(
        group.prompt, (*completions, ground_truth.completion), (*values, of_ground_truth), has_ground_truth=True
    )


def running_reward_variances(before: Mapping[str, float], groups: Sequence[Group]) -> dict[str, float]:
    """Task -> running variance of the rewards inside a group, after these groups.

    Groups without signal say nothing about the scale and are skipped.
    """
    variances = dict(before)
    for group in groups:
        rewards = [rollout.reward for rollout in group.rollouts if not rollout.problem]
        if has_signal(rewards):
            task, variance = group.prompt.task, stdev(rewards) ** 2
            variances[task] = DECAY * variances.get(task, variance) + (1 - DECAY) * variance
    return variances
