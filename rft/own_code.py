"""Code from outside: FILE.py:NAME in a file of the user's own, or a name that an installed package registers.

A file is a module whose name holds its path, so any process that has imported this file can import it: a task, target
or reward of one's own pickles by name like any other.
"""

import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Literal

from rft.errors import RecipeError

Group = Literal["rft.rewards", "rft.tasks", "rft.formats"]
"""Entry point groups of packages that bring rewards, tasks and data formats."""

_PREFIX = "own_file:"
_OWN = re.compile(r"(?P<file>.+\.py):(?P<name>[^:]+)", re.DOTALL)


def is_own(name: object) -> bool:
    """Whether a value has the form FILE.py:NAME."""
    return isinstance(name, str) and _OWN.fullmatch(name) is not None


def short_name(name: str) -> str:
    """NAME of FILE.py:NAME, which scores and metrics go by; every other name unchanged."""
    return name.rpartition(":")[2] if is_own(name) else name


def absolute_name(name: str, folder: Path) -> str:
    """FILE.py:NAME with the whole path of its file, which starts at `folder`; every other name unchanged.

    A file that is not there, but is in the current directory, is the one in the current directory.
    """
    if not is_own(name):
        return name
    file = Path(name.rpartition(":")[0]).expanduser()
    place = folder if (folder / file).exists() or not file.exists() else Path()
    return f"{(place / file).resolve()}:{short_name(name)}"


def own_file(name: str) -> Path:
    """Whole path of the file of FILE.py:NAME; a relative one starts at the current directory."""
    return Path(name.rpartition(":")[0]).expanduser().resolve()


def load_own(name: str) -> Any:
    """NAME of FILE.py, which is executed once per process. Raises RecipeError if it cannot be loaded."""
    file = own_file(name)
    if _module_name(file) not in sys.modules and not file.is_file():
        raise RecipeError(f"{name}: no such file.")
    try:
        module = importlib.import_module(_module_name(file))
    except (Exception, SystemExit) as error:  # the file is a user's code
        raise RecipeError(f"{name}: {type(error).__name__}: {error}.") from error
    if not hasattr(module, short_name(name)):
        raise RecipeError(f"{name}: {file.name} has no '{short_name(name)}'.")
    return getattr(module, short_name(name))


def load_installed(group: Group, name: str) -> Any | None:
    """What an installed package registers under a name; None: no package does. Raises RecipeError if it cannot load."""
    entry_point = _entry_points(group).get(name)
    if entry_point is None:
        return None
    try:
        return entry_point.load()
    except Exception as error:  # a package of anybody
        raise RecipeError(f"{name} ({group}: {entry_point.value}): {type(error).__name__}: {error}.") from error


@functools.cache
def _entry_points(group: Group) -> dict[str, importlib.metadata.EntryPoint]:
    return {entry_point.name: entry_point for entry_point in importlib.metadata.entry_points(group=group)}


def comes_from_own_file(value: object) -> bool:
    """Whether a function or class stands in a file that `load_own` loads."""
    return getattr(value, "__module__", "").startswith(_PREFIX)


def loaded_digest(module: ModuleType | None) -> str:
    """SHA-256 of the text that a module of `load_own` was made of, in hex; "" for every other module."""
    loader = getattr(module, "__loader__", None)
    return loader.digest if isinstance(loader, _AsItStands) else ""


def execute_file(module_name: str, file: str) -> ModuleType:
    """Module of a file under this name. Raises ImportError where the file is no Python file."""
    spec = importlib.util.spec_from_file_location(module_name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"no module {module_name}")
    module = importlib.util.module_from_spec(spec)
    # The reward process looks up a function by its module, and a dataclass of the file its module.
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    return module


def _module_name(file: Path) -> str:
    # Without dots, at which an import would look for a package.
    return _PREFIX + str(file).replace("%", "%25").replace(".", "%2e")


class _AsItStands(SourceFileLoader):
    """Loader without stored byte code: that of a file saved twice within a second may be of its earlier text."""

    digest = ""

    def get_code(self, fullname: str) -> CodeType:
        text = self.get_data(self.path)
        self.digest = hashlib.sha256(text).hexdigest()
        return self.source_to_code(text, self.path)


class _OwnFiles:
    """Finder of the modules that `_module_name` names."""

    @classmethod
    def find_spec(
        cls, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not name.startswith(_PREFIX):
            return None
        file = name.removeprefix(_PREFIX).replace("%2e", ".").replace("%25", "%")
        if not os.path.isfile(file):
            return None
        return importlib.util.spec_from_file_location(name, file, loader=_AsItStands(name, file))


if _OwnFiles not in sys.meta_path:
    sys.meta_path.append(_OwnFiles)
