"""What a published format is given and gives: a source to read, its rows before they are examined."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from rft.data.row_files import read_row_file
from rft.errors import NAMED_PROBLEMS, DataError, listed, refuse
from rft.files import parse_json

TABLES = (".jsonl", ".parquet")
"""Endings of files that hold one record a row."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A row as its source states it, unexamined."""

    fields: dict[str, Any]
    """The row's keys; "video" is the usual place below the video root."""
    other_places: tuple[str, ...] = ()
    """Other paths below the video root where the video may be."""

    @property
    def of_image(self) -> "Draft":
        """The same row about an image in the place of the video."""
        fields = {"image" if key == "video" else key: value for key, value in self.fields.items()}
        return Draft(fields, self.other_places)


@dataclass(frozen=True, slots=True)
class SourceRequest:
    """A source to read: its path, task, split and columns."""

    source: Path
    task: str
    """Task of the rows; "": each row names its own."""
    split: str | None = None
    """Split of the rows; None: the one in the file's name."""
    columns: Mapping[str, str] | None = None
    """Row key -> column of the source; for the generic format."""
    has_usual_task: bool = True
    """Whether this is the task that rows of the format usually have; other rows name theirs in their ids."""

    def split_among(self, known: Mapping[str, str]) -> str:
        """The requested split, or the one that `known` gives for the file's name. DataError: neither is there."""
        split = self.split or known.get(self.source.stem)
        if split is None:
            raise DataError(
                f"{self.source}: the name does not state the split (known: {', '.join(known)}). Give rft data convert "
                "--split."
            )
        return split

    @property
    def own_dataset(self) -> str:
        """Name of a set that is nobody's but the user's: that of the file, and the split where one is requested."""
        return f"{self.source.stem}/{self.split}" if self.split else self.source.stem

    def draft(self, dataset: str, key: object, videos: Sequence[str], **fields: Any) -> Draft:
        """Row `key` of a data set; `videos`: where its video may be, the usual place first. None: no such field."""
        key = key if self.has_usual_task else f"{key}/{self.task}"
        row = {"id": f"{dataset}/{key}", "task": self.task, "video": videos[0], **fields, "dataset": dataset}
        return Draft({key: value for key, value in row.items() if value is not None}, tuple(videos[1:]))


@dataclass(frozen=True, slots=True)
class Anomaly:
    """Something odd about one row."""

    kind: str
    """A key of rft.data.convert.examine.KINDS."""
    row_id: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Published:
    """All that a source holds."""

    drafts: tuple[Draft, ...]
    facts: tuple[tuple[str, str], ...] = ()
    """(what, value), for the summary."""
    warnings: tuple[str, ...] = ()
    """Warnings about the split, such as a validation set that is the test set."""
    anomalies: tuple[Anomaly, ...] = ()
    """Anomalies from parsing the source; `examine` adds the others."""


@dataclass(frozen=True, slots=True)
class Format:
    """One published annotation format."""

    tasks: tuple[str, ...]
    """Tasks that its rows can have, the usual one first; (): any."""
    read: Callable[[SourceRequest], Published]


def value_counts(values: Iterable[str]) -> str:
    """How often each value occurs, in the order of the values, for the summary: "A 12, B 1,030"."""
    return ", ".join(f"{value} {count:,}" for value, count in sorted(Counter(values).items()))


Shape = TypeVar("Shape")


def read_json(path: Path, shape: type[Shape]) -> Shape:
    """What a JSON file holds, as `shape` says; where its name ends in .jsonl or .parquet, the list of its rows.

    DataError: not readable, a key written twice, or every place that has another shape.
    """
    try:
        return TypeAdapter(shape).validate_python(_records(path) if path.suffix.lower() in TABLES else _value(path))
    except ValidationError as error:
        lines = [f"{path}: {'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise DataError(listed(lines, NAMED_PROBLEMS)) from error


def _records(path: Path) -> list[dict[str, Any]]:
    problems: list[str] = []
    records = [line.value for line in read_row_file(path, problems)]
    refuse(problems)
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
