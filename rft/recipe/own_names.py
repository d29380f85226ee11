"""Code from outside in a recipe: files get whole paths, tasks of one's own their names."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rft.errors import Problem, RecipeError
from rft.own_code import absolute_name, is_own
from rft.recipe.section import KeyPath
from rft.recipe.strict_yaml import Document
from rft.tasks import TASKS

VALUES = (("algorithm", "loss_type"), ("data", "format"))
"""Keys whose value may be FILE.py:NAME."""


def own_names(data: object) -> Iterator[str]:
    """Every FILE.py:NAME that the data of a recipe names, tasks first, each with its rewards."""
    tasks = _section(data, "tasks")
    yield from filter(is_own, tasks)
    for part in tasks.values():
        yield from filter(is_own, [part.get("source")] if isinstance(part, dict) else [])
        yield from filter(is_own, _section(part, "rewards"))
    yield from filter(is_own, [_section(data, section).get(key) for section, key in VALUES])


def write_whole_paths(document: Document, folder: Path) -> None:
    """Gives the FILE.py:NAME of a recipe whole paths; relative ones start at `folder`, see `absolute_name`."""
    _rename(document, ("tasks",), folder)
    for key, part in _section(document.data, "tasks").items():
        _rename(document, ("tasks", key, "rewards"), folder)
        if isinstance(part, dict) and is_own(part.get("source")):
            part["source"] = absolute_name(part["source"], folder)
    for name, key in VALUES:
        section = _section(document.data, name)
        if is_own(section.get(key)):
            section[key] = absolute_name(section[key], folder)


def load_tasks(document: Document, refused: Mapping[str, str]) -> None:
    """Loads the recipe's own tasks into TASKS and puts them under their names, with FILE.py:TASK as `source`.

    `refused`: FILE.py:NAME -> why it is not to be loaded. What cannot be loaded is a problem, and left out.
    """
    for name in [name for name in own_names(document.data) if name in refused]:
        _leave_out(document, name, refused[name])
    tasks = _section(document.data, "tasks")
    for key, part in list(tasks.items()):
        source = key if is_own(key) else str(_section(part).get("source"))
        if not is_own(source):
            continue
        try:
            name = TASKS.load(source).name
            if name != key and (name in tasks or not is_own(key)):
                raise RecipeError(f"{source}: its task is {name}, which is another key of `tasks`. Keep one.")
        except RecipeError as error:
            _leave_out(document, source, str(error))
            continue
        if isinstance(part, dict):
            part["source"] = source
        _rename_key(document, ("tasks",), key, name)


def _leave_out(document: Document, name: str, why: str) -> None:
    tasks = _section(document.data, "tasks")
    for path in [("tasks",), *(("tasks", key, "rewards") for key in tasks)]:
        place = _at(document.data, path)
        for key in [key for key, part in place.items() if name in (key, _section(part).get("source"))]:
            document.problems.append(_problem(document, (*path, key), why))
            del place[key]
    for path in VALUES:
        section = _section(document.data, path[0])
        if section.get(path[1]) == name:
            document.problems.append(_problem(document, path, why))
            del section[path[1]]


def _problem(document: Document, path: KeyPath, why: str) -> Problem:
    line = document.lines.get(path)
    return Problem(".".join(path), why, f"line {line}" if line else "")


def _rename(document: Document, path: KeyPath, folder: Path) -> None:
    for key in filter(is_own, list(_at(document.data, path))):
        _rename_key(document, path, key, absolute_name(key, folder))


def _rename_key(document: Document, path: KeyPath, old: str, new: str) -> None:
    """Renames a key where it stands; the lines of the document follow."""
    if new == old:
        return
    place = _at(document.data, path)
    if new in place:
        document.problems.append(_problem(document, (*path, old), f"is {new}, which is another key. Keep one."))
    renamed = {new if key == old else key: value for key, value in place.items()}
    place.clear()
    place.update(renamed)
    start = (*path, old)
    for key in [key for key in document.lines if key[: len(start)] == start]:
        document.lines[(*path, new, *key[len(start) :])] = document.lines.pop(key)


def _at(data: object, path: KeyPath) -> dict[str, Any]:
    for key in path:
        data = _section(data, key)
    return _section(data)


def _section(data: object, key: str | None = None) -> dict[str, Any]:
    """Keys and values of a section, or of one inside it; {} where there is none."""
    part = data.get(key) if isinstance(data, dict) and key is not None else data
    return part if isinstance(part, dict) else {}
