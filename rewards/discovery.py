"""The classes that the files of a package define, so that a new file needs no registration."""

import importlib
import inspect
import pkgutil
from typing import Any


def classes_in(package: str, base: type) -> list[Any]:
    """The subclasses of `base` that the files of a package define, in the order of the files' names."""
    classes: list[Any] = []
    for module_info in pkgutil.iter_modules(importlib.import_module(package).__path__):
        module = importlib.import_module(f"{package}.{module_info.name}")
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if issubclass(kind, base) and kind is not base and kind.__module__ == module.__name__:
                lacks = getattr(kind, "__abstractmethods__", ())
                assert not lacks, f"{module.__name__}: {kind.__name__} lacks {', '.join(lacks)}"
                classes.append(kind)
    return classes
