"""The annotation formats, one file each. A new file in this folder that holds a FORMAT is known by its name."""

import pkgutil

FORMATS = tuple(module_info.name for module_info in pkgutil.iter_modules(__path__))
"""The names of the files; none is loaded before it is used."""
