"""Do the rewards of a recipe fit its tasks? They must accept the target and like the task's own example answer."""

import inspect
import math
from collections.abc import Mapping

from rewards import REWARDS, RewardFn, accepted_targets
from rft.recipe import Recipe, RewardRecipe
from rft.recipe_file import near_name
from rft.scoring import chosen_rewards
from rft.strict_yaml import Problem
from rft.tasks import TASKS
from rft.tasks.types import Task


def reward_problems(recipe: Recipe, rewards: Mapping[str, RewardFn] = REWARDS) -> list[Problem]:
    """Unknown tasks and rewards, rewards that do not fit the target, the arguments or the prompt."""
    problems = []
    for name, asked in recipe.tasks.items():
        if name not in TASKS:
            problems.append(Problem(f"tasks.{name}", "", f"unknown task.{near_name(name, TASKS)}"))
            continue
        chosen = chosen_rewards(recipe, name)
        if not any(part.weight for part in chosen.values()):
            message = "no reward has a weight: nothing would be learned."
            problems.append(Problem(f"tasks.{name}.rewards", "", message))
        for reward, part in chosen.items():
            if reward in rewards:
                message = _fit(reward, rewards[reward], part, TASKS[name], asked.think)
            else:
                message = f"unknown reward.{near_name(reward, rewards)}"
            if message:
                problems.append(Problem(f"tasks.{name}.rewards.{reward}", "", message))
    return problems


def _fit(name: str, reward: RewardFn, part: RewardRecipe, task: Task, think: bool) -> str:
    """What is wrong with one reward for one task; empty where it fits."""
    accepted = accepted_targets(reward)
    if not issubclass(task.target_type, accepted):
        kinds = " or ".join(kind.__name__ for kind in accepted)
        return f"{name} scores {kinds}, but task {task.name} yields {task.target_type.__name__}."
    allowed = {
        parameter.name: parameter
        for parameter in inspect.signature(reward).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    unknown = [key for key in part.args if key not in allowed]
    if unknown:
        known = near_name(unknown[0], allowed) if allowed else " It takes none."
        return f"{name} has no argument {', '.join(unknown)}.{known}"
    required = [key for key, parameter in allowed.items() if parameter.default is parameter.empty]
    missing = [key for key in required if key not in part.args]
    if missing:
        return f"{name} needs the argument {', '.join(missing)}. Set it under args."
    return _example_score(name, reward, part, task, think)


def _example_score(name: str, reward: RewardFn, part: RewardRecipe, task: Task, think: bool) -> str:
    target = task.target(task.example)
    answer = task.answer_text(target, think)
    try:
        score = reward(answer, target, **part.args)
    except Exception as error:  # a reward is a user's code and its arguments are a user's values
        return f"{name} raises {type(error).__name__} on the example answer of task {task.name}: {error}."
    value = score.value
    if part.weight <= 0 or (isinstance(value, int | float) and math.isclose(value, 1.0)):
        return ""
    way = "with" if think else "without"
    return (
        f"{name} gives {value:g} to the example answer of task {task.name} {way} think ({score.note}): "
        f"prompt and reward disagree. Change tasks.{task.name}.think, the reward or its args."
    )
