"""The annotation formats, one file each. A new file in this folder that holds a FORMAT is known by its name."""

import importlib
import pkgutil

from rft.commands.data.convert.source import Format
from rft.errors import DataError, near_name

FORMATS = tuple(module_info.name for module_info in pkgutil.iter_modules(__path__))
"""The names of the files; none is loaded before it is used."""


def format_named(name: str) -> Format:
    """The FORMAT of one of FORMATS. DataError: it is none of them."""
    if name not in FORMATS:
        raise DataError(f"unknown format {name!r}.{near_name(name, FORMATS)}")
    known: Format = importlib.import_module(f"{__name__}.{name}").FORMAT
    return known
