"""Names for recipes and commands, one line each: tasks, rewards, losses, packs, data formats, recipes."""

import ast
import importlib
from collections.abc import Callable, Mapping
from importlib.resources import files

from rewards import REWARDS, accepted_targets
from rewards.discovery import modules_named
from rewards.types import Target
from rft.data.convert.conversion import format_named, pack_formats
from rft.data.convert.formats import FORMATS
from rft.recipe.shipped import shipped_recipes
from rft.tasks import TASKS


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
    own = {name: reward for task in TASKS.values() for name, reward in task.own_rewards.items()}
    lines = {}
    for name, reward in {**REWARDS, **own}.items():
        kinds = accepted_targets(reward)
        targets = "any target" if Target in kinds else " or ".join(kind.__name__ for kind in kinds)
        lines[name] = f"{first_line(reward)} ({targets})"
    return lines


def losses() -> dict[str, str]:
    """Loss name -> first line of its docstring, read from the source: importing it loads torch."""
    body = ast.parse(files("rft.algorithm").joinpath("loss.py").read_text("utf-8")).body
    says = {node.name: ast.get_docstring(node) or "" for node in body if isinstance(node, ast.FunctionDef)}
    tables = {ast.unparse(node.target): node.value for node in body if isinstance(node, ast.AnnAssign)}
    table = tables["LOSSES"]
    assert isinstance(table, ast.Dict)
    pairs = zip(map(ast.literal_eval, filter(None, table.keys)), map(ast.unparse, table.values), strict=True)
    return {name: says[loss].partition("\n")[0] for name, loss in pairs}


def packs() -> dict[str, str]:
    """Pack name -> first line of its docstring, and its tasks."""
    lines = {}
    for name in modules_named("rft.packs", "tasks"):
        tasks_of_pack = [task.name for task in TASKS.values() if type(task).__module__.startswith(f"rft.packs.{name}.")]
        about = (importlib.import_module(f"rft.packs.{name}").__doc__ or "").partition("\n")[0]
        lines[name] = f"{about} Tasks: {', '.join(tasks_of_pack)}"
    return lines


def formats() -> dict[str, str]:
    """Name of a format for `rft data convert` -> the tasks that its rows can have."""
    names = [*FORMATS, *pack_formats()]
    return {name: ", ".join(format_named(name).tasks) or "any task" for name in names}


def recipes() -> dict[str, str]:
    """Recipe path -> first line of its header comment."""
    lines = {}
    for name, path in shipped_recipes().items():
        with path.open(encoding="utf-8") as file:
            lines[name] = file.readline().lstrip("# ").strip()
    return lines


_LISTINGS: Mapping[str, Callable[[], dict[str, str]]] = {
    "tasks": tasks,
    "rewards": rewards,
    "losses": losses,
    "packs": packs,
    "formats": formats,
    "recipes": recipes,
}


def first_line(function: Callable[..., object]) -> str:
    """First line of a docstring."""
    return (function.__doc__ or "").strip().partition("\n")[0]


def _table(lines: Mapping[str, str]) -> str:
    width = max(map(len, lines), default=0)
    return "\n".join(f"  {name:<{width}}  {text}".rstrip() for name, text in lines.items())
