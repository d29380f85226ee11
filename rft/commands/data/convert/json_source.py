"""Annotation files: JSON and JSON lines in a stated shape, every problem at once."""

import json
from collections import Counter
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from rft.errors import DataError
from rft.problems import NAMED_PROBLEMS, listed

Shape = TypeVar("Shape")


def read_json(path: Path, shape: TypeAdapter[Shape]) -> Shape:
    """What a JSON file holds. DataError: not readable, a key written twice, or every place that has another shape."""
    return _shaped(path, _parsed(_text(path), str(path)), shape)


def read_json_records(path: Path, shape: TypeAdapter[Shape]) -> Shape:
    """The records of a JSON list, or of JSON lines where the name ends in .jsonl, as `read_json` reads them."""
    if path.suffix.lower() != ".jsonl":
        return read_json(path, shape)
    records, problems = [], []
    # Not splitlines: it also splits at characters that JSON strings may hold.
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if line.strip():
            try:
                records.append(_parsed(line, f"{path}:{number}"))
            except DataError as error:
                problems.append(str(error))
    if problems:
        raise DataError(listed(problems, NAMED_PROBLEMS))
    return _shaped(path, records, shape)


def _shaped(path: Path, data: object, shape: TypeAdapter[Shape]) -> Shape:
    try:
        return shape.validate_python(data)
    except ValidationError as error:
        lines = [f"{path}: {'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise DataError(listed(lines, NAMED_PROBLEMS)) from error


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text, at byte {error.start}") from error


def _parsed(text: str, where: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_once)
    except ValueError as error:
        raise DataError(f"{where}: not JSON of a known kind: {error}") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object; its later half would silently win where a key is written twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        doubled, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"key {doubled!r} is written twice")
    return found
