"""What all parts of a recipe have in common."""

import types
from collections.abc import Iterator
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict

KeyPath = tuple[str, ...]
"""Keys and list positions from the top of a document, all as text."""

FREE = "NAME"
"""Stands in a path for a key that the recipe names freely, such as a task."""


class Section(BaseModel):
    """A part of a recipe: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


def sections(annotation: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, type[Section]]]:
    """(path, section) of each section that a value of this type is or holds."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield path, annotation
        for name, field in annotation.model_fields.items():
            yield from sections(field.annotation, (*path, name))
    elif get_origin(annotation) is dict:
        yield from sections(get_args(annotation)[1], (*path, FREE))
    elif get_origin(annotation) in (Union, types.UnionType):
        for kind in get_args(annotation):
            yield from sections(kind, path)
