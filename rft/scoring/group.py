"""Completions of a prompt -> their scores and rewards."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from rewards import REWARDS, RewardFn, accepted_targets, rewards_of
from rewards.facts import CompletionGroup, asked_facts
from rewards.types import Score
from rft.errors import RecipeError, RewardError, near_name, problem_text
from rft.own_code import is_own, load_installed, load_own, short_name
from rft.recipe import LengthBonusRecipe, Recipe, RewardRecipe, ScoringRecipe, TaskRecipe
from rft.scoring.reward_worker import RewardWorker, shared_worker
from rft.tasks import TASKS
from rft.tasks.types import FORMS
from rft.types import Completion, Group, Prompt, Rollout

ShowFrames = Callable[[int], Sequence[bytes]]
"""A number -> so many frames of a clip, as JPEG files."""

ScoreGroup = Callable[[Prompt, Sequence[Completion], Recipe], Group]
"""Completions of a prompt -> their scores and rewards, as `score_by_recipe`."""


@dataclass(frozen=True, slots=True)
class WeightedReward:
    """One reward of a task, as a recipe sets it."""

    name: str
    fn: RewardFn
    weight: float = 1.0
    args: Mapping[str, Any] = field(default_factory=dict)


def chosen_rewards(tasks: Mapping[str, TaskRecipe], task: str) -> dict[str, RewardRecipe]:
    """Reward name -> weight and arguments: the recipe's choice for the task, with short names, or the task's own."""
    settings = tasks[task]
    if settings.rewards is not None:
        return {short_name(key): part for key, part in settings.rewards.items()}
    defaults = TASKS[task].default_rewards(settings.think)
    return {reward: RewardRecipe(weight=weight) for reward, weight in defaults.items()}


def reward_table(recipe: Recipe, task: str) -> dict[str, RewardFn]:
    """Name -> reward: those of the recipe's fidelity, and `own_rewards`."""
    return {**rewards_of(recipe.fidelity), **own_rewards(recipe, task)}


def own_rewards(recipe: Recipe, task: str) -> dict[str, RewardFn]:
    """Name -> reward: those that only this task has, by the recipe's fidelity, and those from outside that it names."""
    published = TASKS[task].published_rewards if recipe.fidelity == "as_published" else {}
    of_task = {**TASKS[task].own_rewards, **published}
    named = (key for key in recipe.tasks[task].rewards or () if key not in REWARDS and key not in of_task)
    from_outside = {short_name(key): reward for key in named if (reward := own_reward(key))}
    return {**of_task, **from_outside}


def own_reward(name: str) -> RewardFn | None:
    """The reward FILE.py:FUNCTION, or that of an installed package; None: no package registers the name.

    Raises RewardError where it cannot be loaded or scores no kind of target.
    """
    if short_name(name) in REWARDS:
        raise RewardError(f"{name}: there is a reward {short_name(name)} already. Rename the function.")
    try:
        reward: RewardFn | None = load_own(name) if is_own(name) else load_installed("rft.rewards", name)
        if reward is not None:
            accepted_targets(reward)
    except RecipeError as error:
        raise RewardError(str(error)) from error
    except Exception as error:  # the file is a user's code
        raise RewardError(f"{name}: {type(error).__name__}: {error}.") from error
    return reward


def task_rewards(
    tasks: Mapping[str, TaskRecipe], task: str, table: Mapping[str, RewardFn]
) -> tuple[WeightedReward, ...]:
    """The chosen rewards with their functions, out of `table`. Raises RewardError for names that are not in it."""
    chosen = chosen_rewards(tasks, task)
    unknown = [f"no reward named '{name}'.{near_name(name, table)}" for name in chosen if name not in table]
    if unknown:
        raise RewardError(problem_text(f"rewards of task {task}", unknown))
    return tuple(WeightedReward(name, table[name], part.weight, part.args) for name, part in chosen.items())


def score_by_recipe(prompt: Prompt, completions: Sequence[Completion], recipe: Recipe) -> Group:
    """`score_group` with the rewards and rules of a recipe. RewardError: it has no such task, or no such reward."""
    if prompt.task not in recipe.tasks:
        raise RewardError(f"task {prompt.task} is not in the recipe; add it under `tasks`, or drop its rows")
    rewards = task_rewards(recipe.tasks, prompt.task, reward_table(recipe, prompt.task))
    length, frames = recipe.sampling.max_completion_length, None
    if recipe.video.cache_dir and any("frames" in asked_facts(reward.fn) for reward in rewards):
        from rft.data.clip_frames import ClipFrames  # both load the decoders
        from rft.data.video import ClipCache

        frames = ClipFrames(prompt.media, ClipCache.of(recipe, recipe.video.cache_dir))
    return score_group(prompt, completions, rewards, recipe.scoring, length, frames=frames)


def score_group(
    prompt: Prompt,
    completions: Sequence[Completion],
    rewards: Sequence[WeightedReward],
    scoring: ScoringRecipe,
    max_completion_length: int,
    worker: RewardWorker | None = None,
    frames: ShowFrames | None = None,
) -> Group:
    """The completions with their scores and rewards, in the order given.

    Failed completions are not judged. Raises RewardError where a reward raises, hangs or returns no number in [0, 1]
    and `scoring` says `on_reward_error: stop`; with `drop` such a completion carries the problem instead. `frames`:
    the fact of this name; None: it is not at hand.
    """
    worker = worker or shared_worker()
    judged = [i for i, completion in enumerate(completions) if completion.finish_reason != "error"]
    texts = [completions[i].text for i in judged]
    scores: dict[int, dict[str, Score]] = {i: {} for i in judged}
    problems: dict[int, str] = {}
    for reward in rewards:
        facts = completion_facts(reward.fn, prompt, [completions[i] for i in judged], frames)
        outcomes = worker.judge(reward.fn, texts, prompt.target, reward.args, scoring.reward_timeout_s, facts)
        for i, outcome in zip(judged, outcomes, strict=True):
            if isinstance(outcome, Score):
                scores[i][reward.name] = outcome
            else:
                problems.setdefault(i, f"{reward.name}: {outcome}")
        if problems and scoring.on_reward_error == "stop":
            i, problem = next(iter(problems.items()))
            raise RewardError(
                f"prompt {prompt.prompt_id}, completion {i}: reward {problem}. "
                "Repair the reward, or set scoring.on_reward_error=drop to leave such completions out."
            )
    weights = {reward.name: reward.weight for reward in rewards}

    def rollout(i: int, completion: Completion) -> Rollout:
        if i in problems:
            return Rollout(completion, {}, 0.0, problems[i])
        earned, num_tokens = scores.get(i, {}), len(completion.token_ids)
        reward, problem = weighted_reward(
            earned, weights, completion.finish_reason, num_tokens, scoring, max_completion_length
        )
        return Rollout(completion, earned, reward, problem)

    return Group(prompt, tuple(rollout(i, completion) for i, completion in enumerate(completions)))


def completion_facts(
    reward: RewardFn, prompt: Prompt, completions: Sequence[Completion], frames: ShowFrames | None = None
) -> list[dict[str, Any]]:
    """The facts that a reward asks for, by name, of each completion of a group; [] if it asks for none."""
    asked = asked_facts(reward)
    if not asked:
        return []
    texts = tuple(completion.text for completion in completions)
    return [
        {
            name: value
            for name, value in {
                "row": prompt.row,
                "num_tokens": len(completion.token_ids),
                "truncated": completion.finish_reason == "length",
                "group": CompletionGroup(texts, index),
                "logprobs": completion.logprobs,
                "frames": frames,
            }.items()
            if name in asked and value is not None
        }
        for index, completion in enumerate(completions)
    ]


def weighted_reward(
    scores: Mapping[str, Score],
    weights: Mapping[str, float],
    finish_reason: str,
    num_tokens: int,
    scoring: ScoringRecipe,
    max_completion_length: int,
) -> tuple[float, str]:
    """The reward of a completion, and why the update leaves it out ("" if it counts): failed, cut off, too long."""
    if finish_reason == "error":
        return 0.0, "failed: the engine returned no whole completion"
    reward = sum([weights[name] * score.value for name, score in scores.items()])
    if scoring.length_bonus:
        reward += length_bonus(scores, num_tokens, scoring.length_bonus)
    if finish_reason == "length":
        if scoring.truncated == "drop":
            return reward, f"truncated: cut at {max_completion_length} tokens"
        if scoring.truncated == "zero":
            reward = 0.0
    return reward - overlong_penalty(num_tokens, max_completion_length, scoring), ""


def length_bonus(scores: Mapping[str, Score], num_tokens: int, bonus: LengthBonusRecipe) -> float:
    """Video-R1's bonus (arXiv:2503.21776) for a good completion of `tokens_low` to `tokens_high` tokens, else 0.

    Its released code takes `least` as 0.1, and gives it only where two or more completions of a group are that good.
    """
    score = scores.get(bonus.reward)
    good = score is not None and score.value >= bonus.least
    return bonus.bonus if good and bonus.tokens_low <= num_tokens <= bonus.tokens_high else 0.0


def overlong_penalty(num_tokens: int, limit: int, scoring: ScoringRecipe) -> float:
    """DAPO's soft penalty (arXiv:2503.14476): 0 up to `limit - overlong_buffer` tokens, the full one at `limit`."""
    if scoring.overlong_buffer == 0:
        return 0.0
    excess = num_tokens - (limit - scoring.overlong_buffer)
    return scoring.overlong_penalty * min(1.0, max(0.0, excess / scoring.overlong_buffer))


def solved(groups: Sequence[Group], tasks: Mapping[str, TaskRecipe], least: float | None) -> tuple[str, ...]:
    """Ids of the prompts whose answers reached `least`, the recipe's data.drop_solved; None: none."""
    if least is None:
        return ()
    return tuple(
        group.prompt.prompt_id
        for group in groups
        if answer_share(group, chosen_rewards(tasks, group.prompt.task)) >= least
    )


def answer_share(group: Group, rewards: Mapping[str, RewardRecipe]) -> float:
    """Mean reward of a group's answers over the most they can earn, without the rewards of their form.

    In [0, 1]; completions that could not be judged do not count.
    """
    weights = {name: part.weight for name, part in rewards.items() if name not in FORMS and part.weight > 0}
    judged = [rollout.scores for rollout in group.rollouts if rollout.scores]
    if not judged or not weights:
        return 0.0
    earned = fmean(sum(weight * scores[name].value for name, weight in weights.items()) for scores in judged)
    return earned / sum(weights.values())
