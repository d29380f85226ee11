"""Names for recipes, one line each: tasks, rewards, losses, recipes."""

from collections.abc import Callable, Mapping
from pathlib import Path

from rewards import REWARDS, accepted_targets
from rewards.types import Target
from rft.tasks import TASKS

RECIPES = Path("recipes")


def listing(what: str | None = None) -> str:
    """The names of one kind, or of all kinds, with a line on each."""
    kinds = (what,) if what else tuple(_LISTINGS)
    return "\n\n".join(f"{kind}\n{_table(_LISTINGS[kind]())}" for kind in kinds)


def tasks() -> dict[str, str]:
    """Task name -> target, rewards with their weights, main metric."""
    lines = {}
    for name, task in TASKS.items():
        weights = ", ".join(f"{reward} {weight:g}" for reward, weight in task.default_rewards(think=True).items())
        lines[name] = f"{task.target_type.__name__}; rewards {weights}; metric {task.main_metric}"
    return lines


def rewards() -> dict[str, str]:
    """Reward name -> first line of its docstring, and the targets it accepts."""
    lines = {}
    for name, reward in REWARDS.items():
        kinds = accepted_targets(reward)
        targets = "any target" if Target in kinds else " or ".join(kind.__name__ for kind in kinds)
        lines[name] = f"{first_line(reward)} ({targets})"
    return lines


def losses() -> dict[str, str]:
    """Loss name -> first line of its docstring."""
    from rft.algorithm.loss import LOSSES  # loads torch

    return {name: first_line(loss) for name, loss in LOSSES.items()}


def recipes() -> dict[str, str]:
    """Recipe path -> first line of its header comment, for the recipes below the current directory."""
    lines = {}
    for path in sorted(RECIPES.glob("*.yaml")):
        with path.open(encoding="utf-8") as file:
            lines[str(path)] = file.readline().lstrip("# ").strip()
    return lines or {f"no {RECIPES}/*.yaml": "run this in the project's folder"}


_LISTINGS: Mapping[str, Callable[[], dict[str, str]]] = {
    "tasks": tasks,
    "rewards": rewards,
    "losses": losses,
    "recipes": recipes,
}


def first_line(function: Callable[..., object]) -> str:
    """First line of a docstring."""
    return (function.__doc__ or "").strip().partition("\n")[0]


def _table(lines: Mapping[str, str]) -> str:
    width = max(map(len, lines), default=0)
    return "\n".join(f"  {name:<{width}}  {text}".rstrip() for name, text in lines.items())
