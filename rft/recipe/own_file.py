"""Functions in a file of the user's own, which a recipe names as FILE.py:FUNCTION."""

import functools
import importlib.util
import sys
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

from rft.errors import RecipeError

_PREFIX = "own_file_"


def is_own(name: object) -> bool:
    """Whether a value has the form FILE.py:FUNCTION."""
    return isinstance(name, str) and ".py:" in name


def short_name(name: str) -> str:
    """FUNCTION of FILE.py:FUNCTION, the name of its scores and metrics; every other name unchanged."""
    return name.rpartition(":")[2] if is_own(name) else name


def load_own(name: str) -> Any:
    """Function of FILE.py:FUNCTION; relative to the current directory. Raises RecipeError if it cannot be loaded."""
    path = name.rpartition(":")[0]
    try:
        return getattr(_module(Path(path).expanduser().resolve()), short_name(name))
    except FileNotFoundError:
        raise RecipeError(f"{name}: no such file.") from None
    except Exception as error:  # the file is a user's code
        raise RecipeError(f"{name}: {type(error).__name__}: {error}.") from error


def own_file_problem(name: str) -> str:
    """Reason why FILE.py:FUNCTION cannot be loaded; "" if it can, and for every other name."""
    try:
        if is_own(name):
            load_own(name)
    except RecipeError as error:
        return str(error)
    return ""


def comes_from_own_file(function: object) -> bool:
    """Whether a function was loaded by `load_own`."""
    return getattr(function, "__module__", "").startswith(_PREFIX)


@functools.cache
def _module(file: Path) -> ModuleType:
    """Module of a file, executed once per process."""
    if not file.is_file():
        raise FileNotFoundError(file)
    return execute_file(f"{_PREFIX}{file.stem}_{zlib.crc32(bytes(file)):08x}", str(file))


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
