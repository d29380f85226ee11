"""Annotation files: JSON and JSON lines in a stated shape, every problem at once."""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from rft.errors import NAMED_PROBLEMS, DataError, listed
from rft.files import parse_json, read_jsonl

Shape = TypeVar("Shape")


def read_json(path: Path, shape: TypeAdapter[Shape]) -> Shape:
    """What a JSON file holds; where its name ends in .jsonl, the list of what its lines hold.

    DataError: not readable, a key written twice, or every place that has another shape.
    """
    try:
        return shape.validate_python(_records(path) if path.suffix.lower() == ".jsonl" else _value(path))
    except ValidationError as error:
        lines = [f"{path}: {'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise DataError(listed(lines, NAMED_PROBLEMS)) from error


def _records(path: Path) -> list[dict[str, Any]]:
    problems: list[str] = []
    records = [line.value for line in read_jsonl(path, problems)]
    if problems:
        raise DataError(listed(problems, NAMED_PROBLEMS))
    return records


def _value(path: Path) -> object:
    try:
        return parse_json(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text, at byte {error.start}") from error
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
