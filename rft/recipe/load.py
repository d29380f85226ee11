"""Read a recipe file, apply overrides, write a resolved recipe; every problem at once, in words."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from rft.errors import Problem, RecipeError, near_name, problem_text
from rft.recipe import Recipe, fidelity
from rft.recipe.own_names import load_tasks, own_names, write_whole_paths
from rft.recipe.section import FREE, KeyPath, sections
from rft.recipe.strict_yaml import Document, parse_scalar, parse_yaml

COMMAND_LINE = "command line"

OLD_KEYS = {"algorithm.silent_groups": "algorithm.zero_std_groups"}
"""Key of earlier recipes -> the key that took its place."""

_VALUE_KINDS = {
    "a whole number": ("int_type", "int_from_float", "int_parsing"),
    "a number": ("float_type", "float_parsing"),
    "a finite number": ("finite_number",),
    "true or false": ("bool_type", "bool_parsing"),
    "text": ("string_type",),
    "a path": ("path_type",),
    "a list": ("tuple_type",),
    "keys with values": ("dict_type", "model_type", "model_attributes_type"),
}
"""Kind of value that a key needs -> Pydantic's names of the error."""


@dataclass(frozen=True, slots=True)
class LoadedRecipe:
    """A recipe file as far as it is valid, and its problems."""

    recipe: Recipe | None
    """The recipe without its wrong keys, so that its other keys can be checked; None: the other keys are no recipe."""
    problems: tuple[Problem, ...]


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in a YAML file, with `a.b=value` overrides. Raises RecipeError that lists every problem.

    Tasks of one's own that it names are in TASKS then.
    """
    return parse_recipe(_file_text(path), str(path), overrides, path.parent)


def parse_recipe(text: str, place: str, overrides: Sequence[str] = (), folder: Path = Path()) -> Recipe:
    """Like load_recipe, for the text of a recipe. `place`: its name in errors; `folder`: where its FILE.py start."""
    loaded = _load(text, overrides, folder, {})
    if loaded.recipe is None or loaded.problems:
        raise RecipeError(problem_text(place, loaded.problems))
    return loaded.recipe


def read_recipe(path: Path, overrides: Sequence[str] = (), refused: Mapping[str, str] | None = None) -> LoadedRecipe:
    """Like load_recipe, but returns the problems. Raises RecipeError if the file cannot be read.

    `refused`: FILE.py:NAME, with its whole path, -> why it is not to be loaded.
    """
    return _load(_file_text(path), overrides, path.parent, refused or {})


def named_own_code(path: Path, overrides: Sequence[str] = ()) -> tuple[str, ...]:
    """Every FILE.py:NAME of a recipe and its overrides, with whole paths; nothing is loaded."""
    document = parse_yaml(_file_text(path))
    write_whole_paths(document, path.parent)
    if isinstance(document.data, dict):
        _override(document.data, overrides, [])
    write_whole_paths(document, Path())
    return tuple(dict.fromkeys(own_names(document.data)))


def _load(text: str, overrides: Sequence[str], folder: Path, refused: Mapping[str, str]) -> LoadedRecipe:
    document = parse_yaml(text)
    if document.problems and document.data is None:
        return LoadedRecipe(None, tuple(document.problems))
    if not isinstance(document.data, dict):
        return LoadedRecipe(None, (Problem("", "holds no keys. A recipe begins with 'model:'."),))
    write_whole_paths(document, folder)
    load_tasks(document, refused)  # under their names, which overrides then use
    overridden = _override(document.data, overrides, document.problems)
    write_whole_paths(document, Path())
    load_tasks(document, refused)
    fidelity.fill(document.data)
    recipe = _validate(document.data, document, overridden)
    return LoadedRecipe(recipe, tuple(document.problems))


def recipe_text(recipe: Recipe) -> str:
    """The recipe as YAML, with every default written out; load_recipe reads it back to an equal recipe."""
    data = recipe.model_dump(mode="json")
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=False, width=120)
    return text


class _Dumper(yaml.SafeDumper):
    """YAML writer that quotes each text that would be read back as another type."""


def _dump_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = None if isinstance(parse_scalar(text), str) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _dump_text)


def _file_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        folder = path.parent
        known = [str(folder / p.name) for p in folder.glob("*.yaml")] if folder.is_dir() else []
        raise RecipeError(f"{path}: no such file.{near_name(str(path), known) if known else ''}") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not UTF-8 text (byte {error.start}). Save it as UTF-8.") from None
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror}.") from None


def _override(data: dict[str, Any], overrides: Sequence[str], problems: list[Problem]) -> set[KeyPath]:
    """Writes the overrides into `data`; returns the keys that they set."""
    overridden: set[KeyPath] = set()
    for override in overrides:
        key, equals, text = override.partition("=")
        path = tuple(key.strip().split("."))
        if not equals or not all(path):
            problems.append(Problem("", f"'{override}' is not of the form key=value.", COMMAND_LINE))
            continue
        value = parse_yaml(text)
        if value.problems:
            problems.append(Problem(key, f"'{text}' is {value.problems[0].message}", COMMAND_LINE))
            continue
        if path in overridden:
            problems.append(Problem(key, "given twice. Keep one.", COMMAND_LINE))
            continue
        inner = data
        for name in path[:-1]:
            child = inner.get(name)
            if not isinstance(child, dict):
                # `rewards: {x: 1}` is short for `rewards: {x: {weight: 1}}`, so its other keys can be added.
                child = {"weight": child} if path[2:3] == ("rewards",) and isinstance(child, int | float) else {}
                inner[name] = child
            inner = child
        inner[path[-1]] = value.data
        overridden.add(path)
    return overridden


def _validate(data: dict[str, Any], document: Document, overridden: Collection[KeyPath]) -> Recipe | None:
    """The recipe without its wrong keys, or None if that is no recipe; adds each problem to document.problems."""
    try:
        return _model(data)
    except ValidationError as error:
        details = error.errors(include_url=False)
    for detail in details:
        path = tuple(str(part) for part in detail["loc"])
        document.problems.append(Problem(".".join(path), _message(detail, path), _where(path, document, overridden)))
    if any(detail["type"] == "missing" for detail in details):
        return None
    for detail in details:
        _drop(data, detail["loc"])
    try:
        return _model(data)
    except ValidationError:
        return None


def _model(data: Mapping[str, Any]) -> Recipe:
    # JSON mode is what makes strict types right here: a list is a tuple, text is a path, "8" is not 8.
    return Recipe.model_validate_json(json.dumps(data), strict=True)


def _drop(data: Any, loc: Sequence[int | str]) -> None:
    for part in loc[:-1]:
        data = data[int(part)] if isinstance(data, list) else data.get(str(part), {})
        if not isinstance(data, dict | list):
            return
    if isinstance(data, dict):
        data.pop(str(loc[-1]), None)


def _where(path: KeyPath, document: Document, overridden: Collection[KeyPath]) -> str:
    if any(path[: len(key)] == key or key[: len(path)] == path for key in overridden):
        return COMMAND_LINE
    line = document.lines.get(path)
    return f"line {line}" if line and path else ""


def _message(detail: ErrorDetails, path: KeyPath) -> str:
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "extra_forbidden" and ".".join(path) in OLD_KEYS:
        return f"is now called {OLD_KEYS['.'.join(path)]}. Rename it."
    if kind == "extra_forbidden":
        return f"unknown key.{_near_key(path)}"
    if kind == "missing":
        return "missing. It has no default."
    needed = next((needed for needed, kinds in _VALUE_KINDS.items() if kind in kinds), None)
    if needed:
        hint = ""
        if isinstance(value, str) and value.lower() in ("yes", "no", "on", "off") and kind.startswith("bool"):
            hint = f" Write {'true' if value.lower() in ('yes', 'on') else 'false'}."
        elif kind == "tuple_type" and isinstance(value, str):
            hint = f" Write [{value}]."
        return f"expected {needed}, got {_value_text(value)}.{hint}"
    if kind == "literal_error":
        allowed = [name.strip("'\" ") for name in str(context["expected"]).replace(" or ", ",").split(",")]
        return f"got {_value_text(value)}, which is not one of {', '.join(allowed)}."
    bounds = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    for name, words in bounds.items():
        if name in context:
            return f"must be {words} {context[name]}, got {_value_text(value)}."
    return f"{detail['msg']}, got {_value_text(value)}."


def _value_text(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text '{value[:60]}'"
    if isinstance(value, list):
        return "a list"
    return "keys with values" if isinstance(value, dict) else str(value)


def _near_key(path: KeyPath) -> str:
    """The nearest key of the same section, else the key of this name in another one, as a question."""
    *above, name = path
    siblings: Collection[str] = ()
    elsewhere = []
    for section, model in sections(Recipe):
        if len(section) == len(above) and all(key in (FREE, part) for key, part in zip(section, above, strict=True)):
            siblings = model.model_fields
        if name in model.model_fields and FREE not in section:
            elsewhere.append(".".join((*section, name)))
    return near_name(name, siblings, elsewhere)
