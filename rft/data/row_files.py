"""Where rows come from: JSON lines, parquet, folders of such files, and data sets on the Hugging Face hub."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rft.errors import DataError
from rft.files import JsonLine, read_jsonl

HUB = "hf:"
"""First part of a data set on the hub: hf://OWNER/NAME/SPLIT or hf://OWNER/NAME/CONFIG/SPLIT."""

ENDINGS = (".jsonl", ".jsonl.zst", ".parquet")
"""Of the files of rows in a folder."""

INSTALL = "is not installed, which reads it. Install rft with its extra `data`"

BATCH_ROWS = 1024


def row_file_problem(path: Path) -> str | None:
    """Why there can be no rows at `path`, without reading them; None where there can."""
    if path.parts[:1] == (HUB,):
        return None if len(path.parts) in (4, 5) else f"{path}: write hf://OWNER/NAME/SPLIT, or /CONFIG/SPLIT."
    if path.is_dir():
        return None if _files_in(path) else f"{path}: the folder holds no {', '.join(ENDINGS)}."
    return None if path.is_file() else f"{path} not found in {Path.cwd()}."


def read_row_file(path: Path, problems: list[str]) -> Iterator[JsonLine]:
    """The rows as JSON objects, in the order of the file, or of the files of a folder by name.

    Of tables, cells without a value are left out, as in JSON lines, and a target may be JSON text. What is wrong is
    added to `problems`, with file and row.
    """
    if path.parts[:1] == (HUB,):
        yield from _table_rows(path, _hub_rows(path), problems)
    elif path.is_dir():
        for file in _files_in(path):
            yield from read_row_file(file, problems)
    elif path.suffix == ".parquet":
        yield from _table_rows(path, _parquet_rows(path), problems)
    else:
        yield from read_jsonl(path, problems)


def _files_in(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.name.endswith(ENDINGS) and file.is_file())


def _table_rows(path: Path, rows: Iterable[dict[str, Any]], problems: list[str]) -> Iterator[JsonLine]:
    try:
        for number, row in enumerate(rows, start=1):
            value = _without_gaps(row)
            if isinstance(value.get("target"), str):
                try:
                    value["target"] = json.loads(value["target"])
                except ValueError as error:
                    problems.append(f"{path}:{number}: target: not JSON ({error})")
                    continue
            yield JsonLine(str(path), number, value, json.dumps(value, default=str))
    except (OSError, ValueError, RuntimeError, DataError) as error:
        problems.append(f"{path}: {error}")


def _without_gaps(value: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _without_gaps(part) if isinstance(part, dict) else part for key, part in value.items() if part is not None
    }


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Raises OSError, ValueError or DataError where the file cannot be read."""
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise DataError(f"pyarrow {INSTALL}.") from error
    with ParquetFile(path) as file:
        holding_bytes = [field.name for field in file.schema_arrow if "binary" in str(field.type)]
        if holding_bytes:
            raise DataError(
                f"column {', '.join(holding_bytes)} holds files. Write them out, and name them in `video` or `image`."
            )
        for batch in file.iter_batches(BATCH_ROWS):
            yield from batch.to_pylist()


def _hub_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a data set, streamed; nothing that it holds is run or decoded.

    Raises OSError, ValueError, RuntimeError or DataError where it cannot be read.
    """
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise DataError(f"the package datasets {INSTALL}.") from error
    _, owner, name, *config, split = path.parts
    yield from load_dataset(f"{owner}/{name}", *config, split=split, streaming=True).decode(False)
