"""Check that rewards fit their tasks: they accept the target and score the task's own example answer."""

import inspect
import math
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

from rewards import PUBLISHED, REWARDS, RewardFn, accepted_targets
from rewards.facts import FACTS, OF_PROMPT, asked_facts
from rewards.judge import NOT_STARTED
from rewards.types import Score
from rft.commands.check.own_code import AWAY, MEMORY_BYTES, tried_reward
from rft.errors import Problem, RewardError, near_name
from rft.recipe import Recipe, RewardRecipe
from rft.scoring.group import chosen_rewards, own_rewards, reward_table
from rft.scoring.judge import with_judge
from rft.scoring.reward_worker import RewardWorker
from rft.tasks import TASKS
from rft.tasks.types import Task


def reward_findings(recipe: Recipe, rewards: Mapping[str, RewardFn] | None = None) -> Iterator[Problem | str]:
    """Unknown tasks and rewards, rewards that do not fit the target, the arguments or the prompt.

    Notes: a reward as published refuses an example answer which the corrected one accepts; what a reward from outside
    is, which is tried in a process of its own. `rewards`: the table; default: `reward_table`.
    """
    recipe = with_judge(recipe, NOT_STARTED, Path(":memory:"))
    worker = RewardWorker(MEMORY_BYTES)
    with closing(worker.child):
        for name in recipe.tasks:
            if name not in TASKS:
                yield Problem(f"tasks.{name}", f"unknown task.{near_name(name, TASKS)}")
                continue
            try:
                table = reward_table(recipe, name) if rewards is None else rewards
            except RewardError as error:
                yield Problem(f"tasks.{name}.rewards", str(error))
                continue
            yield from _findings_of_task(recipe, TASKS[name], table, worker)


def _findings_of_task(
    recipe: Recipe, task: Task, rewards: Mapping[str, RewardFn], worker: RewardWorker
) -> Iterator[Problem | str]:
    chosen, think = chosen_rewards(recipe.tasks, task.name), recipe.tasks[task.name].think
    outside = {reward for reward in own_rewards(recipe, task.name).values() if not _is_ours(reward)}
    ours, published = {**REWARDS, **task.own_rewards}, {**PUBLISHED, **task.published_rewards}
    if not any(part.weight for part in chosen.values()):
        yield Problem(f"tasks.{task.name}.rewards", "no reward has a weight: nothing would be learned.")
    for name, part in chosen.items():
        key = f"tasks.{task.name}.rewards.{name}"
        if name not in rewards:
            yield Problem(key, f"unknown reward.{near_name(name, rewards)}")
        elif misfit := misfit_of(rewards[name], part, task):
            yield Problem(key, f"{name} {misfit}")
        elif rewards[name] in outside:
            yield from _trial_findings(key, name, rewards[name], part, recipe, task, worker)
        else:
            refusal, remedy = _refusal(name, rewards[name], part, task, think)
            is_published = rewards[name] is published.get(name)
            if refusal and is_published and not any(_refusal(name, ours[name], part, task, think)):
                yield f"{key}: {refusal}, as the released code does; the corrected one accepts it."
            elif refusal:
                yield Problem(key, refusal + remedy)


def _is_ours(reward: RewardFn) -> bool:
    """Whether a reward came with the package: its tests try it, `rft check` need not."""
    return getattr(reward, "__module__", "").partition(".")[0] in ("rft", "rewards")


def _trial_findings(
    key: str, name: str, reward: RewardFn, part: RewardRecipe, recipe: Recipe, task: Task, worker: RewardWorker
) -> Iterator[Problem | str]:
    """Findings on a reward from outside, out of a process that may hang or end."""
    think, limit_s = recipe.tasks[task.name].think, recipe.scoring.reward_timeout_s
    answer = task.target_completion(task.target(task.example), think)
    trial = tried_reward(reward, part, task, answer, worker, limit_s)
    for failure, texts in trial.failures.items():
        message = f"{name} {failure}, on {', '.join(texts)}."
        yield f"{key}: {message} The run needs its judge." if failure.startswith(AWAY) else Problem(key, message)
    unwritten = [fact for fact in asked_facts(reward) if fact not in OF_PROMPT]
    # What an answer earns for its tokens or among others says nothing about prompt and reward.
    if isinstance(trial.example, Score) and not unwritten:
        refusal, remedy = _too_low(name, trial.example, part, task, think)
        if refusal:
            yield Problem(key, refusal + remedy)
    if recipe.algorithm.ground_truth and unwritten:
        asked = ", ".join(unwritten)
        yield Problem(key, f"asks for {asked}, but no policy wrote the ground truth of algorithm.ground_truth.")
    if not trial.failures:
        yield f"{key}: {trial.description}."


def misfit_of(reward: RewardFn, part: RewardRecipe, task: Task) -> str:
    """Why a reward with these arguments cannot score a task; "" where it can."""
    accepted = accepted_targets(reward)
    if not issubclass(task.target_type, accepted):
        kinds = " or ".join(kind.__name__ for kind in accepted)
        return f"scores {kinds}, but task {task.name} yields {task.target_type.__name__}."
    parameters = inspect.signature(reward).parameters.values()
    allowed = {
        one.name: one for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY and one.name not in FACTS
    }
    unknown = [key for key in part.args if key not in allowed]
    if unknown:
        known = near_name(unknown[0], allowed) if allowed else " It takes none."
        return f"has no argument {', '.join(unknown)}.{known}"
    missing = [key for key, one in allowed.items() if one.default is one.empty and key not in part.args]
    return f"needs the argument {', '.join(missing)}. Set it under args." if missing else ""


def _refusal(name: str, reward: RewardFn, part: RewardRecipe, task: Task, think: bool) -> tuple[str, str]:
    """How a reward refuses a task's own example answer, and what to do; both empty where it does not."""
    target = task.target(task.example)
    answer = task.target_completion(target, think)
    try:
        score = reward(answer, target, **part.args)
    except Exception as error:  # its arguments are a user's values
        return f"{name} raises {type(error).__name__} on the example answer of task {task.name}: {error}.", ""
    return _too_low(name, score, part, task, think)


def _too_low(name: str, score: Score, part: RewardRecipe, task: Task, think: bool) -> tuple[str, str]:
    value = score.value
    if part.weight <= 0 or (isinstance(value, int | float) and math.isclose(value, 1.0)):
        return "", ""
    way = "with" if think else "without"
    return (
        f"{name} gives {value:g} to the example answer of task {task.name} {way} think ({score.note})",
        f": prompt and reward disagree. Change tasks.{task.name}.think, the reward or its args.",
    )
