"""Stored completions: the rows of a JSONL file, or all rollouts of a run folder."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from rft.errors import DataError
from rft.files import read_records
from rft.runs.run_dir import RunDir

_decode_fast = msgspec.json.Decoder().decode


Row = dict[str, Any]


Stored = tuple[str, Row, str]
"""(place, row, its text where it was read as such, else "")."""


def stored_rows(source: Path, problems: list[str]) -> Iterator[Stored]:
    """Every row of a JSONL file (or .jsonl.zst) or of a run's rollouts, in order. DataError: nothing there to read."""
    if source.is_dir():
        files = sorted(RunDir(source).rollouts.glob("step_*.jsonl.zst"))
        if not files:
            raise DataError(f"{source}: no rollouts here. Give a JSONL file, or the folder of a run that trained.")
    else:
        files = [source]
    for file in files:
        if file.suffix == ".zst":
            for number, row in enumerate(read_records(file), start=1):
                yield f"{file}:{number}", row, ""
        else:
            yield from _lines(file, problems)


def _lines(path: Path, problems: list[str]) -> Iterator[Stored]:
    name, number = str(path), 0
    try:
        # Only line ends divide rows: a JSON string may hold the other characters that splitlines cuts at.
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                if not line.isspace():
                    try:
                        row = _decoded(line)
                    except ValueError as error:
                        problems.append(f"{name}:{number}: not JSON: {error}")
                        continue
                    if isinstance(row, dict):
                        yield f"{name}:{number}", row, line.strip()
                    else:
                        problems.append(f"{name}:{number}: a row is a JSON object, not {type(row).__name__}")
    except UnicodeDecodeError as error:
        problems.append(f"{path}: not UTF-8 text after line {number}: {error.reason}")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def _decoded(text: str) -> object:
    """Raises ValueError where the text is not JSON."""
    try:
        return _decode_fast(text)
    except msgspec.DecodeError:
        return json.JSONDecoder(parse_constant=_refuse_constant).decode(text)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number JSON allows")
