"""Annotation files: JSON and JSON lines in a stated shape, every problem at once."""

from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from rft.errors import NAMED_PROBLEMS, DataError, listed
from rft.files import parse_json, read_jsonl

Shape = TypeVar("Shape")


def read_json(path: Path, shape: TypeAdapter[Shape]) -> Shape:
    """What a JSON file holds. DataError: not readable, a key written twice, or every place that has another shape."""
    try:
        data = parse_json(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text, at byte {error.start}") from error
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    return _shaped(path, data, shape)


def read_json_records(path: Path, shape: TypeAdapter[Shape]) -> Shape:
    """The records of a JSON list, or of JSON lines where the name ends in .jsonl, as `read_json` reads them."""
    if path.suffix.lower() != ".jsonl":
        return read_json(path, shape)
    problems: list[str] = []
    records = [line.value for line in read_jsonl(path, problems)]
    if problems:
        raise DataError(listed(problems, NAMED_PROBLEMS))
    return _shaped(path, records, shape)


def _shaped(path: Path, data: object, shape: TypeAdapter[Shape]) -> Shape:
    try:
        return shape.validate_python(data)
    except ValidationError as error:
        lines = [f"{path}: {'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise DataError(listed(lines, NAMED_PROBLEMS)) from error
