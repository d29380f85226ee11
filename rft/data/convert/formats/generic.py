"""One's own annotations: CSV, TSV, JSON or JSON lines, with columns named by the user."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rewards.targets import TARGETS
from rewards.targets.choice import LETTERS
from rewards.targets.values import cell_texts
from rewards.types import Target, cell_json
from rft.data.convert.source import Draft, Format, Published, SourceRequest, read_json
from rft.errors import DataError, near_name, refuse
from rft.tasks import TASKS

TargetKeys = Mapping[str, type[Target]]
"""Key of a target's JSON form -> a kind of target that has it."""

EDGE_KEYS = ("span_start", "span_end")
"""The two ends of a span, in columns of their own."""

NUMBERS = ("start_s", "end_s", "duration_s", "source_fps", *EDGE_KEYS)
LISTS = ("options", "labels")
"""Written in a table as JSON or as "one | two"."""


def read(request: SourceRequest) -> Published:
    """One draft per record. A column with the name of a row's key needs no mapping; the other columns are not used.

    DataError: every record and mapping that cannot be read.
    """
    records = _table(request.source) if request.source.suffix.lower() in (".csv", ".tsv") else _json(request.source)
    columns = list(dict.fromkeys(column for _, record in records for column in record))
    target_keys = _target_keys()
    mapping = _mapping(request, columns, target_keys)
    dataset = request.own_dataset
    drafts, problems = [], []
    for number, (where, record) in enumerate(records):
        values: dict[str, Any] = {"id": f"{dataset}/{number}", "task": request.task, "dataset": dataset}
        for key, column in mapping.items():
            if record.get(column) not in (None, ""):
                try:
                    values[key] = _value(key, record[column], target_keys)
                except ValueError as error:
                    problems.append(f"{where}: {column}: {error}")
        try:
            drafts.append(Draft(_with_target(values, target_keys)))
        except ValueError as error:
            problems.append(f"{where}: {error}")
    refuse(problems)
    unused = [column for column in columns if column not in mapping.values()]
    facts = (
        ("keys from columns", ", ".join(f"{key}={column}" for key, column in mapping.items())),
        ("columns not used", ", ".join(unused) or "none"),
        ("records without video or image", f"{sum(not d.fields.keys() & {'video', 'image'} for d in drafts):,}"),
    )
    return Published(tuple(drafts), facts)


def _target_keys() -> TargetKeys:
    """Those of all kinds of target, the kinds of one's own tasks last."""
    kinds = dict.fromkeys((*TARGETS.values(), *(task.target_type for task in TASKS.values())))
    return {key: kind for kind in kinds for keys in kind.json_keys for key in keys}


def _mapping(request: SourceRequest, columns: list[str], target_keys: TargetKeys) -> dict[str, str]:
    """Row key -> column. DataError: a key that rows do not have, or a column that is not there."""
    names = [request.task] if request.task else list(TASKS)
    row_keys = dict.fromkeys(key for name in names for key in TASKS[name].row_type.model_fields)
    keys = [*row_keys, *target_keys, *EDGE_KEYS]
    requested = request.columns or {}
    problems = []
    for key, column in requested.items():
        for what, name, known in (("row key", key, keys), ("column", column, columns)):
            if name not in known:
                problems.append(f"--map {key}={column}: no {what} {name!r}.{near_name(name, known)}")
    if not request.task and "task" not in {*requested, *columns}:
        problems.append(f"no column names the task. Give it with --task, one of {', '.join(TASKS)}.")
    refuse([f"{request.source}: {problem}" for problem in problems])
    taken = set(requested.values())
    return {
        key: column
        for key in keys
        if (column := requested.get(key, key)) in columns and (key in requested or column not in taken)
    }


def _value(key: str, cell: Any, target_keys: TargetKeys) -> Any:
    """A cell as the row has it. ValueError: it cannot be read as that."""
    if key in NUMBERS:
        if not isinstance(cell, int | float | str):
            raise ValueError(f"{str(cell)[:40]!r} is no number")
        return float(cell)
    if isinstance(cell, list | dict) or (key in LISTS and not isinstance(cell, str)):
        return cell
    if key == "target":
        return cell_json(str(cell))
    if key in target_keys:
        return target_keys[key].from_cell(key, str(cell))
    return cell_texts(cell) if key in LISTS else str(cell)


def _with_target(values: dict[str, Any], target_keys: TargetKeys) -> dict[str, Any]:
    """The row, with what belongs to the target gathered in it. ValueError: half a span."""
    edges = [values.pop(key) for key in EDGE_KEYS if key in values]
    if len(edges) == 1:
        raise ValueError(f"one of {' and '.join(EDGE_KEYS)} is missing")
    if edges:
        values["span"] = edges
    target = {key: values.pop(key) for key in target_keys if key in values}
    if "choice" in target:
        target["choice"] = _letter(str(target["choice"]), values.get("options", ()))
    return {**values, "target": values.get("target", target)}


def _letter(choice: str, options: Any) -> str:
    """The letter of "C", "(C)", "c" or the text of an option; what is none of them stays as it is."""
    text = choice.strip()
    texts = [str(option).strip() for option in options] if isinstance(options, list) else []
    if text in texts[: len(LETTERS)]:
        return LETTERS[texts.index(text)]
    return text.removeprefix("(").removesuffix(")").upper() if len(text) in (1, 3) else text


def _table(path: Path) -> list[tuple[str, Mapping[str, Any]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
            rows = [(reader.line_num, row) for row in reader]
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a table in UTF-8: {error}") from error
    odd = [
        f"{path}:{line}: more or fewer cells than the header"
        for line, row in rows
        if None in row or None in row.values()
    ]
    refuse(odd)
    return [(f"{path}:{line}", row) for line, row in rows]


def _json(path: Path) -> list[tuple[str, Mapping[str, Any]]]:
    records = read_json(path, tuple[dict[str, Any], ...])
    return [(f"{path}: record {i}", record) for i, record in enumerate(records)]


FORMAT = Format((), read)
