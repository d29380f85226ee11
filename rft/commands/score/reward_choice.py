"""Which rewards judge stored completions: the task's own, a recipe's, or those named on the command line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rewards import RewardFn, accepted_targets
from rft.commands.check.rewards import misfit_of
from rft.errors import RewardError, near_name, problem_text
from rft.own_code import is_own, short_name
from rft.recipe import Recipe, RewardRecipe
from rft.scoring.group import WeightedReward, chosen_rewards, own_reward, own_rewards
from rft.tasks import TASKS
from rft.tasks.types import FORMS

SHORT_NAMES: Mapping[str, tuple[str, ...]] = {
    "format": FORMS,
    "iou": ("temporal_iou", "union_iou", "mean_box_iou"),
    "accuracy": ("choice_accuracy", "label_match"),
}
"""One name for what each task has a reward of its own for; scores go by it."""


@dataclass(frozen=True, slots=True)
class RewardChoice:
    """Rewards of the command line, which replace those of a recipe."""

    table: Mapping[str, RewardFn]
    """Every reward by name but those that only one task has; those of the user's files as FILE.py:FUNCTION."""
    think: bool | None = None
    """Which format reward; None: the recipe's."""
    weights: Mapping[str, float] | None = None
    """Weight by name, short name or FILE.py:FUNCTION; None: the recipe's rewards."""

    def of(self, task: str, recipe: Recipe) -> tuple[WeightedReward, ...]:
        """The rewards of one task. Raises RewardError naming every reward that does not fit."""
        table = {**self.table, **own_rewards(recipe, task)}
        chosen = self._named(task, recipe, table)
        problems = []
        for name, part in chosen.items():
            if name not in table:
                problems.append(f"{name}: unknown reward.{near_name(name, table)}")
            elif misfit := misfit_of(table[name], part, TASKS[task]):
                problems.append(f"{name} {misfit}")
        if not chosen:
            named = ", ".join(self.weights or {})
            problems.append(f"none of {named} scores it. Name one that does, or choose other rows with --task.")
        if problems:
            raise RewardError(problem_text(f"rewards of task {task}", problems))
        return tuple(WeightedReward(name, table[name], part.weight, part.args) for name, part in chosen.items())

    def _named(self, task: str, recipe: Recipe, table: Mapping[str, RewardFn]) -> dict[str, RewardRecipe]:
        """Reward -> weight and arguments; of those on the command line, the ones that score the task's targets."""
        of_recipe = chosen_rewards(recipe.tasks, task)
        think = recipe.tasks[task].think if self.think is None else self.think
        form = FORMS[0] if think else FORMS[1]
        if self.weights is None:
            swap = self.think is not None
            return {form if swap and name in FORMS else name: part for name, part in of_recipe.items()}
        chosen = {}
        for word, weight in self.weights.items():
            for name in (form,) if word == "format" else SHORT_NAMES.get(word, (word,)):
                if name in table and issubclass(TASKS[task].target_type, accepted_targets(table[name])):
                    args = of_recipe[name].args if name in of_recipe else {}
                    chosen[name] = RewardRecipe(weight=weight, args=args)
        return chosen


def score_names(rewards: Sequence[str]) -> dict[str, str]:
    """Reward -> what its scores are called: the short name where it alone has that, the function of a file."""
    short = {name: next((s for s, names in SHORT_NAMES.items() if name in names), name) for name in rewards}
    short |= {name: short_name(name) for name in rewards if is_own(name)}
    taken = list(short.values())
    return {name: s if taken.count(s) == 1 else name for name, s in short.items()}


def reward_choice(table: Mapping[str, RewardFn], think: bool | None, words: Sequence[str]) -> RewardChoice:
    """The rewards that NAME=WEIGHT words name. Raises RewardError with every one that cannot be used."""
    problems, weights, rewards = [], {}, dict(table)
    known = {*SHORT_NAMES, *table, *(name for task in TASKS.values() for name in task.own_rewards)}
    for word in words:
        name, equals, number = word.rpartition("=")
        try:
            weights[name] = float(number)
        except ValueError:
            equals = ""
        if not equals or not abs(weights[name]) < 1e6:
            problems.append(f"{word}: write NAME=WEIGHT, such as iou=1.")
        elif name not in known:
            try:
                if reward := own_reward(name):
                    rewards[name] = reward
                else:
                    problems.append(f"{name}: unknown reward.{near_name(name, known)}")
            except RewardError as error:
                problems.append(str(error))
    if problems:
        raise RewardError(problem_text("--reward", problems))
    return RewardChoice(rewards, think, weights or None)
