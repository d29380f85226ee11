"""The recipes that come with the package."""

from pathlib import Path

import rft

FOLDER = Path("recipes")
"""Where they are in a checkout, and in a folder of `rft init`."""

PACKAGED = Path(rft.__file__).parent / FOLDER


def recipe_path(text: str) -> Path:
    """The file of that name; where it is not there, recipes/NAME.yaml is the one of the package."""
    path = Path(text)
    packaged = PACKAGED / path.name
    return packaged if path.parent == FOLDER and packaged.is_file() and not path.exists() else path


def shipped_recipes() -> dict[str, Path]:
    """ "recipes/NAME.yaml" -> file: those of the folder recipes here, or without one those of the package."""
    files = sorted(FOLDER.glob("*.yaml")) or sorted(PACKAGED.glob("*.yaml"))
    return {str(FOLDER / file.name): file for file in files}
