"""What the files of a package define, so that a new file needs no registration."""

import importlib
import inspect
import pkgutil
from importlib.util import find_spec
from types import ModuleType
from typing import Any


def classes_in(package: str, base: type) -> list[Any]:
    """The subclasses of `base` that the files of a package define, in the order of the files' names."""
    names = [info.name for info in pkgutil.iter_modules(importlib.import_module(package).__path__)]
    return [kind for name in names for kind in classes_of(importlib.import_module(f"{package}.{name}"), base)]


def classes_of(module: ModuleType, base: type, within: str | None = None) -> list[Any]:
    """The subclasses of `base` that a module defines, in the order of their names.

    `within`: a package; classes that the module imports from its files count too.
    """
    classes = [
        kind
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, base)
        and kind is not base
        and (kind.__module__ == module.__name__ or (within and kind.__module__.startswith(f"{within}.")))
    ]
    for kind in classes:
        lacks = getattr(kind, "__abstractmethods__", ())
        assert not lacks, f"{module.__name__}: {kind.__name__} lacks {', '.join(lacks)}"
    return classes


def folders_with(package: str, name: str) -> list[str]:
    """The folders of a package that hold a module of this name, in the order of their names; none is loaded."""
    folders = [info.name for info in pkgutil.iter_modules(importlib.import_module(package).__path__) if info.ispkg]
    return [folder for folder in folders if find_spec(f"{package}.{folder}.{name}")]


def modules_named(package: str, name: str) -> dict[str, ModuleType]:
    """Folder of a package -> its module of this name, for those that have one."""
    return {folder: importlib.import_module(f"{package}.{folder}.{name}") for folder in folders_with(package, name)}
