"""Page of all recipe keys, from the recipe model. Written by `python -m rft.recipe.docs > docs/recipe.md`."""

import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from rft.recipe import Recipe
from rft.recipe.section import sections

INTRODUCTION = """# Recipe keys

- **What**: every key of a recipe, which is a YAML file, with its default and meaning.
- **When**: you write a recipe, or set a key on the command line: `sampling.num_generations=16`, `learner.lora=null`.
- **Command**: `rft check RECIPE [KEY=VALUE ...]` lists every problem at once.

Scalars follow YAML 1.2: `1e-6` is a number, `no` and `1:30` are text. Keys that are not listed here, or written twice,
are errors. Relative paths start at the current directory. This page is written by
`python -m rft.recipe.docs > docs/recipe.md`; a test keeps it true.

Rewards, tasks and losses of your own are named as `FILE.py:NAME`. A relative `FILE.py` starts at the folder of the
recipe, and at the current directory if it is not there; on the command line, in an override too, it starts at the
current directory. The recipe in a run folder holds whole paths. Rewards and tasks of an installed package are named as
the package registers them, under the entry points `rft.rewards` and `rft.tasks`. See [rewards.md](rewards.md).
"""

_BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
_NAMES = {int: "whole number", float: "number", str: "text", bool: "true or false", Path: "path", Any: "anything"}


def recipe_page() -> str:
    """Table of all keys by section, as Markdown."""
    lines = [INTRODUCTION]
    for path, model in sections(Recipe):
        lines += [f"## {'.'.join(path) or 'Top level'}", "", "| key | value | default | meaning |", "|---|---|---|---|"]
        for name, field in model.model_fields.items():
            meaning = " ".join((field.description or "").split()).replace("<", "&lt;")
            cells = (f"`{name}`", _kind(field), _default(field), meaning)
            lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
        lines.append("")
    return "\n".join(lines)


def _kind(field: FieldInfo) -> str:
    bounds = [
        f"{sign} {getattr(limit, name):g}"
        for limit in field.metadata
        for name, sign in _BOUNDS.items()
        if hasattr(limit, name)
    ]
    return ", ".join([_kind_name(field.annotation), *bounds])


def _kind_name(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if origin in (Union, types.UnionType):
        return " or ".join("null" if kind is type(None) else _kind_name(kind) for kind in inner)
    if origin is tuple:
        kind = _kind_name(inner[0])
        return f"list of {kind}" if get_origin(inner[0]) is Literal else f"list of {kind}s".replace("texts", "text")
    if origin is dict or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return "section"
    return _NAMES[annotation]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if isinstance(value, BaseModel) or value == {}:
        return ""
    if value is None:
        return "null"
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    print(recipe_page(), end="")
