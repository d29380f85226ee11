"""A published annotation file becomes rows: every dropped row is counted, spans are clipped only on request."""

import importlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

from rewards.discovery import modules_named
from rft.data.convert.examine import KINDS, Examined, examine
from rft.data.convert.formats import FORMATS
from rft.data.convert.source import Anomaly, Draft, Format, Published, SourceRequest
from rft.errors import NAMED_PROBLEMS, DataError, RecipeError, listed, near_name
from rft.files import GIVE_ANOTHER, JsonLine, write_text
from rft.own_code import is_own, load_installed, load_own
from rft.tables import TextTable
from rft.tasks import TASKS

NAMED_IDS = 3
"""Rows that the summary names per kind of anomaly."""


@dataclass(frozen=True, slots=True)
class ConvertOptions:
    """The user's choices."""

    task: str | None = None
    split: str | None = None
    columns: Mapping[str, str] | None = None
    video_root: Path | None = None
    """Rows then hold the whole path of their video."""
    per_video: Literal["all", "one"] = "all"
    """one: the first row of each video, in the order of the source, that can be a row."""
    clip_to_duration: bool = False
    drop_invalid: bool = False


@dataclass(frozen=True)
class Conversion:
    """Rows and what was met on the way."""

    title: str
    published: Published
    examined: Sequence[Examined]
    """All rows of the source, in its order."""
    missing: Sequence[Anomaly]
    """Rows whose video or image is not below the root."""
    options: ConvertOptions

    @cached_property
    def kept(self) -> list[Examined]:
        """Those that are written: all that can be rows, or the first of each video."""
        able = [e for e in self.examined if not e.is_fatal]
        if self.options.per_video == "all":
            return able
        first: dict[str, Examined] = {}
        for e in able:
            first.setdefault(e.fields.get("video", f"row {e.row_id}"), e)
        return list(first.values())

    @property
    def rows(self) -> tuple[Mapping[str, Any], ...]:
        """Rows as they are written."""
        return tuple(e.fields for e in self.kept)

    @property
    def refused(self) -> list[Anomaly]:
        """Why nothing can be written: rows that cannot be rows and were not to be dropped."""
        if self.options.drop_invalid:
            return []
        # With one row per video, one that cannot be chosen is merely passed over.
        chosen = _videos(self.kept) if self.options.per_video == "one" else set()
        fatal = [e for e in self.examined if e.is_fatal and e.fields.get("video") not in chosen]
        return [anomaly for e in fatal for anomaly in e.anomalies if KINDS[anomaly.kind].is_fatal]

    @cached_property
    def anomalies(self) -> dict[str, tuple[Anomaly, ...]]:
        """Kind -> its anomalies, in the order of KINDS; kinds that did not occur are missing."""
        of_rows = (anomaly for e in self.examined for anomaly in e.anomalies)
        met = [*self.published.anomalies, *of_rows, *_duplicates(self.examined), *self.missing]
        return {kind: of_kind for kind in KINDS if (of_kind := tuple(a for a in met if a.kind == kind))}

    @property
    def warnings(self) -> list[str]:
        root, warnings = self.options.video_root, list(self.published.warnings)
        if root is not None and not root.is_dir():
            warnings.append(f"{root} is not on this machine: no video was searched.")
        return warnings

    @property
    def facts(self) -> list[tuple[str, str]]:
        """(what, count) of rows and videos, and what the format says of its source."""
        one = "first usable row of each video" if self.options.per_video == "one" else "all rows of each video"
        facts = [
            ("rows in the source", f"{len(self.examined):,}"),
            ("videos", f"{len(_videos(self.examined)):,}"),
            (f"rows taken: {one}", f"{len(self.kept):,}"),
        ]
        if self.options.clip_to_duration:
            facts.append(("rows with a clipped span", f"{sum(e.span_was_clipped for e in self.kept):,}"))
        return [*facts, *self.published.facts]

    def table(self) -> TextTable:
        """Every fact and every kind of anomaly, with what was done and the first rows it was met in."""
        dataset = ", ".join(dict.fromkeys(str(e.fields.get("dataset", "-")) for e in self.examined))
        lines = [("data set", dataset, ""), *((what, value, "") for what, value in self.facts)]
        for kind, of_kind in self.anomalies.items():
            ids = list(dict.fromkeys(anomaly.row_id.removeprefix(f"{dataset}/") for anomaly in of_kind))
            named = ", ".join(ids[:NAMED_IDS]) + (", ..." if len(ids) > NAMED_IDS else "")
            done = _done(kind, self.options)
            lines.append((f"{kind}: {KINDS[kind].meaning}", f"{len(of_kind):,}", f"{done}: {named}"))
        if not self.anomalies:
            lines.append(("anomalies", "0", ""))
        caption = "\n".join(f"warning: {warning}" for warning in self.warnings)
        return TextTable(self.title, ("what", "count", "done"), tuple(lines), caption)


def convert(name: str, source: Path, options: ConvertOptions = ConvertOptions()) -> Conversion:
    """The rows of a published file or folder. DataError: an unknown format, or a source of another shape.

    `name`: of a format. It, and the task of `options`, may stand in a file of one's own.
    """
    known = format_named(name)
    chosen = TASKS.load(options.task).name if options.task else ""
    if chosen and known.tasks and chosen not in known.tasks:
        raise DataError(f"--task {chosen}: rows of {name} can have the task {' or '.join(known.tasks)}.")
    if options.columns and name != "generic":
        raise DataError(f"--map: the columns of {name} are known; it is for the format generic.")
    task = chosen or (known.tasks[0] if known.tasks else "")
    if task and task not in TASKS:
        raise DataError(f"{name}: its rows are of task {task}, which is not known. Give --task FILE.py:TASK.")
    is_usual = not known.tasks or task == known.tasks[0]
    published = known.read(SourceRequest(source, task, options.split, options.columns, is_usual))
    examined: list[Examined] = []
    missing: list[Anomaly] = []
    exists = cache(Path.exists)
    ids: set[str] = set()
    for draft in published.drafts:
        fields, missing_path = _with_media_path(draft, options.video_root, exists)
        row = examine(fields, options.clip_to_duration)
        if row.row_id in ids:
            again = Anomaly("refused", row.row_id, "an earlier row has this id")
            row = replace(row, anomalies=(*row.anomalies, again))
        ids.add(row.row_id)
        examined.append(row)
        missing += [Anomaly("missing_video", row.row_id, missing_path)] if missing_path else []
    return Conversion(f"{name}: {source}", published, examined, missing, options)


def read_published(
    name: str, source: Path, video_root: Path | None, tasks: Collection[str], problems: list[str]
) -> Iterator[JsonLine]:
    """The rows of a published file or folder, numbered in its order, with whole paths of their videos.

    The videos lie below `video_root`, or beside the file, or in the folder. The task is the first of the format's that
    is one of `tasks`. What is wrong is added to `problems`, with file and row.
    """
    root = video_root or (source if source.is_dir() else source.parent)
    try:
        able = format_named(name).tasks
        task = next((task for task in able if task in tasks), None)
        if able and task is None:
            raise DataError(f"{name}: its rows have the task {' or '.join(able)}, and none is in `tasks`.")
        conversion = convert(name, source, ConvertOptions(task, video_root=root))
    except DataError as error:
        problems.append(str(error))
        return
    reasons = {anomaly.row_id: f"{anomaly.kind} {anomaly.detail}".rstrip() for anomaly in conversion.refused}
    for number, row in enumerate(conversion.examined, start=1):
        line = JsonLine(str(source), number, dict(row.fields), "")
        if row.is_fatal:
            what = f"{row.row_id}: {reasons[row.row_id]}. Correct it, or leave it out: rft data convert --drop-invalid"
            problems.append(f"{line.where}: {what}")
        else:
            yield line


def format_named(name: str) -> Format:
    """The format of one of FORMATS, of a pack, of FILE.py:NAME or of a package. DataError: there is none."""
    if name in FORMATS:
        known: Format = importlib.import_module(f"rft.data.convert.formats.{name}").FORMAT
        return known
    if name in (packed := pack_formats()):
        return packed[name]
    try:
        own = load_own(name) if is_own(name) else load_installed("rft.formats", name)
    except RecipeError as error:
        raise DataError(str(error)) from error
    if own is None:
        raise DataError(f"unknown format {name!r}.{near_name(name, [*FORMATS, *packed])}")
    if not isinstance(own, Format):
        raise DataError(f"{name}: is no Format of rft/data/convert/source.py.")
    return own


def pack_formats() -> dict[str, Format]:
    """Name -> format of the packs."""
    modules = modules_named("rft.packs", "formats").values()
    return {name: known for module in modules for name, known in module.FORMATS.items()}


def write_rows(conversion: Conversion, path: Path) -> None:
    """The rows as JSON lines, written by `write_text`. DataError: some cannot be rows."""
    if conversion.refused:
        counts = Counter(anomaly.kind for anomaly in conversion.refused)
        raise DataError(
            f"{path} is not written: {', '.join(f'{count} {kind}' for kind, count in counts.items())}. Correct the "
            "source, or give --drop-invalid to go on without these rows:\n"
            + listed([f"  {a.row_id}: {a.kind} {a.detail}".rstrip() for a in conversion.refused], NAMED_PROBLEMS)
        )
    text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in conversion.rows)
    write_text(path, text, GIVE_ANOTHER)


def _with_media_path(draft: Draft, root: Path | None, exists: Callable[[Path], bool]) -> tuple[dict[str, Any], str]:
    """The row with its video or image below the root, at the first path that exists; that path where none does.

    The path is "" where that is not known: without a root, or with one that is not on this machine.
    """
    key = "image" if "image" in draft.fields else "video"
    if root is None or key not in draft.fields:
        return draft.fields, ""
    candidates = [str(root.absolute() / name) for name in (draft.fields[key], *draft.other_places)]
    path = next((path for path in candidates if exists(Path(path))), None) if exists(root) else candidates[0]
    return {**draft.fields, key: path or candidates[0]}, "" if path else candidates[0]


def _videos(rows: Iterable[Examined]) -> set[str]:
    return {e.fields["video"] for e in rows if "video" in e.fields}


def _duplicates(examined: Sequence[Examined]) -> list[Anomaly]:
    """Rows that differ from an earlier one in nothing but the id."""
    first: dict[str, str] = {}
    repeated = []
    for e in examined:
        content = json.dumps({key: value for key, value in e.fields.items() if key != "id"}, sort_keys=True)
        if content in first:
            repeated.append(Anomaly("duplicate", e.row_id, f"as {first[content]}"))
        first.setdefault(content, e.row_id)
    return repeated


def _done(kind: str, options: ConvertOptions) -> str:
    if KINDS[kind].is_fatal:
        if options.drop_invalid:
            return "dropped"
        return "passed over, or refused where the video has no other row" if options.per_video == "one" else "refused"
    if options.clip_to_duration and kind in ("past_end", "past_end_1s", "early_start"):
        return "clipped"
    return KINDS[kind].done
