"""Completions of a group -> rewards -> what the learner learns from. Every completion left out is counted here."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from rewards import REWARDS, RewardFn, accepted_targets, rewards_of
from rewards.types import Score
from rft.algorithm.advantage import advantages, advantages_beside_truth, running_variances
from rft.errors import RecipeError, RewardError
from rft.problems import near_name, problem_text
from rft.recipe import LengthBonusRecipe, Recipe, RewardRecipe, ScoringRecipe
from rft.recipe.own_file import is_own, load_own, short_name
from rft.scoring.reward_worker import RewardWorker, shared_worker
from rft.tasks import TASKS
from rft.tasks.types import FORMS
from rft.types import Completion, Group, Prompt, Rollout, TrainSample


@dataclass(frozen=True, slots=True)
class WeightedReward:
    """One reward of a task, as a recipe sets it."""

    name: str
    fn: RewardFn
    weight: float
    args: Mapping[str, Any]


def chosen_rewards(recipe: Recipe, task: str) -> dict[str, RewardRecipe]:
    """Reward name -> weight and arguments for one task: the recipe's choice, or the task's own.

    A reward FILE.py:FUNCTION goes by the name of its function.
    """
    asked = recipe.tasks[task]
    if asked.rewards is not None:
        return {short_name(key): part for key, part in asked.rewards.items()}
    return {reward: RewardRecipe(weight=weight) for reward, weight in TASKS[task].default_rewards(asked.think).items()}


def reward_table(recipe: Recipe, task: str) -> dict[str, RewardFn]:
    """Name -> reward: those of the recipe's fidelity, and `own_rewards`."""
    return {**rewards_of(recipe.fidelity), **own_rewards(recipe, task)}


def own_rewards(recipe: Recipe, task: str) -> dict[str, RewardFn]:
    """Name -> reward: those in the task's own file, and those that the recipe names for it as FILE.py:FUNCTION.

    Raises RewardError as `own_reward` does.
    """
    of_recipe = {short_name(key): own_reward(key) for key in recipe.tasks[task].rewards or () if is_own(key)}
    return {**TASKS[task].own_rewards, **of_recipe}


def own_reward(name: str) -> RewardFn:
    """The reward FUNCTION of FILE.py. Raises RewardError where it cannot be loaded or scores no kind of target."""
    if short_name(name) in REWARDS:
        raise RewardError(f"{name}: there is a reward {short_name(name)} already. Rename the function.")
    try:
        reward: RewardFn = load_own(name)
        accepted_targets(reward)
    except RecipeError as error:
        raise RewardError(str(error)) from error
    except Exception as error:  # the file is a user's code
        raise RewardError(f"{name}: {type(error).__name__}: {error}.") from error
    return reward


def task_rewards(
    task: str, recipe: Recipe, rewards: Mapping[str, RewardFn] | None = None
) -> tuple[WeightedReward, ...]:
    """The chosen rewards with their functions. Raises RewardError for names not in the table.

    `rewards`: the table; default: `reward_table`.
    """
    if task not in recipe.tasks:
        raise RewardError(f"task {task} is not in the recipe; add it under `tasks`, or drop its rows")
    rewards = reward_table(recipe, task) if rewards is None else rewards
    chosen = chosen_rewards(recipe, task)
    unknown = [f"no reward named '{name}'.{near_name(name, rewards)}" for name in chosen if name not in rewards]
    if unknown:
        raise RewardError(problem_text(f"rewards of task {task}", unknown))
    return tuple(WeightedReward(name, rewards[name], part.weight, part.args) for name, part in chosen.items())


def score_group(
    prompt: Prompt,
    completions: Sequence[Completion],
    recipe: Recipe,
    rewards: Mapping[str, RewardFn] | None = None,
    worker: RewardWorker | None = None,
) -> Group:
    """The completions with their scores and rewards, in the order given.

    Failed completions are not judged. Raises RewardError where a reward raises, hangs or returns no number in [0, 1]
    and the recipe says `on_reward_error: stop`; with `drop` such a completion carries the problem instead.
    """
    worker = worker or shared_worker()
    judged = [i for i, completion in enumerate(completions) if completion.finish_reason != "error"]
    texts = [completions[i].text for i in judged]
    chosen = task_rewards(prompt.task, recipe, rewards)
    scores: dict[int, dict[str, Score]] = {i: {} for i in judged}
    problems: dict[int, str] = {}
    for reward in chosen:
        outcomes = worker.judge(reward.fn, texts, prompt.target, reward.args, recipe.scoring.reward_timeout_s)
        for i, outcome in zip(judged, outcomes, strict=True):
            if isinstance(outcome, Score):
                scores[i][reward.name] = outcome
            else:
                problems.setdefault(i, f"{reward.name}: {outcome}")
        if problems and recipe.scoring.on_reward_error == "stop":
            i, problem = next(iter(problems.items()))
            raise RewardError(
                f"prompt {prompt.prompt_id}, completion {i}: reward {problem}. "
                "Repair the reward, or set scoring.on_reward_error=drop to leave such completions out."
            )
    weights = {reward.name: reward.weight for reward in chosen}
    rollouts = [
        _rollout(completion, scores.get(i, {}), problems.get(i, ""), weights, recipe)
        for i, completion in enumerate(completions)
    ]
    return Group(prompt, tuple(rollouts))


def _rollout(
    completion: Completion, scores: dict[str, Score], problem: str, weights: Mapping[str, float], recipe: Recipe
) -> Rollout:
    if problem and completion.finish_reason != "error":
        return Rollout(completion, {}, 0.0, problem)
    reward, why = weighted_reward(scores, weights, completion.finish_reason, len(completion.token_ids), recipe)
    return Rollout(completion, scores, reward, why)


def weighted_reward(
    scores: Mapping[str, Score], weights: Mapping[str, float], finish_reason: str, num_tokens: int, recipe: Recipe
) -> tuple[float, str]:
    """The reward of a completion, and why the update leaves it out ("" where it counts).

    All that happens to completions that failed, were cut off or ran long.
    """
    limit = recipe.sampling.max_completion_length
    if finish_reason == "error":
        return 0.0, "failed: the engine returned no whole completion"
    reward = sum([weights[name] * score.value for name, score in scores.items()])
    if recipe.scoring.length_bonus:
        reward += length_bonus(scores, num_tokens, recipe.scoring.length_bonus)
    if finish_reason == "length":
        if recipe.scoring.truncated == "drop":
            return reward, f"truncated: cut at {limit} tokens"
        if recipe.scoring.truncated == "zero":
            reward = 0.0
    return reward - overlong_penalty(num_tokens, limit, recipe.scoring), ""


def length_bonus(scores: Mapping[str, Score], num_tokens: int, asked: LengthBonusRecipe) -> float:
    """Video-R1's bonus (arXiv:2503.21776) for a good completion of `tokens_low` to `tokens_high` tokens, else 0.

    Its released code takes `least` as 0.1, and gives it only where two or more completions of a group are that good.
    """
    score = scores.get(asked.reward)
    good = score is not None and score.value >= asked.least
    return asked.bonus if good and asked.tokens_low <= num_tokens <= asked.tokens_high else 0.0


def overlong_penalty(num_tokens: int, limit: int, scoring: ScoringRecipe) -> float:
    """DAPO's soft penalty (arXiv:2503.14476): 0 up to `limit - overlong_buffer` tokens, the full one at `limit`."""
    if scoring.overlong_buffer == 0:
        return 0.0
    excess = num_tokens - (limit - scoring.overlong_buffer)
    return scoring.overlong_penalty * min(1.0, max(0.0, excess / scoring.overlong_buffer))


def solved(groups: Sequence[Group], recipe: Recipe) -> tuple[str, ...]:
    """Ids of the prompts whose answers reached data.drop_solved; none where the recipe sets no such share."""
    least = recipe.data.drop_solved
    if least is None:
        return ()
    return tuple(group.prompt.prompt_id for group in groups if answer_share(group, recipe) >= least)


def answer_share(group: Group, recipe: Recipe) -> float:
    """Mean reward of a group's answers over the most they can earn, the rewards of their form left aside.

    In [0, 1]; completions that could not be judged do not count.
    """
    chosen = chosen_rewards(recipe, group.prompt.task)
    weights = {name: part.weight for name, part in chosen.items() if name not in FORMS and part.weight > 0}
    judged = [rollout.scores for rollout in group.rollouts if rollout.scores]
    if not judged or not weights:
        return 0.0
    earned = fmean(sum(weight * scores[name].value for name, weight in weights.items()) for scores in judged)
    return earned / sum(weights.values())


@dataclass(frozen=True, slots=True)
class TaskCounts:
    """What became of one task's groups and completions."""

    num_groups: int
    num_without_signal: int
    """Groups whose completions that count all earned the same."""
    num_completions: int
    dropped: dict[str, int]
    """Completions left out by kind: "failed", "truncated", or the name of the reward that could not judge them."""


@dataclass(frozen=True, slots=True)
class TrainBatch:
    """What the learner is given, and the count of what it is not."""

    samples: tuple[TrainSample, ...]
    counts: dict[str, TaskCounts]
    """By task."""

    @property
    def num_groups(self) -> int:
        return sum(counts.num_groups for counts in self.counts.values())

    @property
    def num_with_signal(self) -> int:
        """Groups that the samples come from."""
        return self.num_groups - sum(counts.num_without_signal for counts in self.counts.values())

    def metrics(self) -> dict[str, float]:
        """Counts of this step, in all and by task."""
        found = {
            "num_groups": float(self.num_groups),
            "num_groups_without_signal": float(self.num_groups - self.num_with_signal),
            "num_samples": float(len(self.samples)),
        }
        dropped: Counter[str] = Counter()
        for task, counts in self.counts.items():
            found[f"num_groups_without_signal/{task}"] = float(counts.num_without_signal)
            dropped.update(counts.dropped)
        found["num_dropped"] = float(dropped.total())
        truths = [sample.advantage for sample in self.samples if sample.is_ground_truth]
        if truths:
            found |= {"num_ground_truths": float(len(truths)), "ground_truth_advantage": fmean(truths)}
        return found | {f"num_dropped/{kind}": float(number) for kind, number in sorted(dropped.items())}


def running_spread(before: Mapping[str, float], groups: Sequence[Group]) -> dict[str, float]:
    """Task -> variance of the rewards inside a group, running over the steps; after these groups."""
    return running_variances(
        before, [(group.prompt.task, [r.reward for r in group.rollouts if not r.problem]) for group in groups]
    )


def train_samples(groups: Sequence[Group], recipe: Recipe, variances: Mapping[str, float] | None = None) -> TrainBatch:
    """The completions that count, with advantages over those of their group; without groups that have no signal.

    Where the recipe keeps such groups, their advantages are 0. `variances`: of each task's rewards in a group, running
    over the steps, for advantages that need them.
    """
    samples: list[TrainSample] = []
    silent: Counter[str] = Counter()
    dropped: dict[str, Counter[str]] = {group.prompt.task: Counter() for group in groups}
    for group in groups:
        task = group.prompt.task
        counting = [rollout for rollout in group.rollouts if not rollout.problem]
        dropped[task].update(rollout.problem.partition(":")[0] for rollout in group.rollouts if rollout.problem)
        members = _group_samples(group, counting, recipe, (variances or {}).get(task))
        if not any(member.advantage for member in members):
            silent[task] += 1
            if recipe.algorithm.zero_std_groups == "drop":
                continue
        samples += members
    counts = {
        task: TaskCounts(
            num_groups=sum(group.prompt.task == task for group in groups),
            num_without_signal=silent[task],
            num_completions=sum(len(group.rollouts) for group in groups if group.prompt.task == task),
            dropped=dict(kinds),
        )
        for task, kinds in dropped.items()
    }
    return TrainBatch(tuple(samples), counts)


def _group_samples(
    group: Group, counting: Sequence[Rollout], recipe: Recipe, variance: float | None
) -> list[TrainSample]:
    """The rollouts that count with their advantages, and the ground truth where it has one."""
    algorithm, prompt, truth = recipe.algorithm, group.prompt, group.ground_truth
    rewards = [rollout.reward for rollout in counting]
    task_std = None if variance is None else math.sqrt(variance)
    if truth is None or algorithm.ground_truth is None:
        values, of_truth = advantages(rewards, algorithm.advantage, task_std), 0.0
    else:
        values, of_truth = advantages_beside_truth(
            rewards, truth.reward, algorithm.ground_truth, algorithm.advantage, task_std
        )
    samples = [TrainSample(prompt, r.completion, value) for r, value in zip(counting, values, strict=True)]
    if truth is not None and of_truth:
        samples.append(TrainSample(prompt, truth.completion, of_truth, is_ground_truth=True))
    return samples
