"""Completions as they are stored, one JSON line each: by `rft eval -o`, by a run, or by another program."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from sys import float_info
from typing import Annotated, Any

from msgspec import Meta, Struct, ValidationError, convert

from rewards.types import Target
from rft.errors import CheckpointError, refuse
from rft.evaluation.evaluate import EvalResult, Mode, ParsedAnswer, Sample, judge
from rft.evaluation.lmms_eval import is_sample, sample_as_completion
from rft.files import COMPRESSED, GIVE_ANOTHER, JsonLine, read_jsonl, read_records, write_records, write_text
from rft.tasks import TASKS
from rft.tasks.types import Row
from rft.types import FinishReason, Prompt

SHARED_KEYS = ("task", "dataset", "mode", "number", "completion", "finish_reason", "num_tokens", "policy_version")
"""Keys of a line that are fields of a Sample as they stand."""


class StoredCompletion(Struct, frozen=True, kw_only=True):
    """One line: a completion and its target. Other keys of the line are ignored."""

    id: str | int | float | None = None
    """Row of the prompt; not needed where the line holds its own target."""
    prompt_id: str | None = None
    """Row of the prompt, in the rollouts of a run."""
    completion: str
    task: str | None = None
    dataset: str | None = None
    video: str | None = None
    """Video or image of the row: rows that share one are drawn together for intervals."""
    target: dict[str, Any] | None = None
    """Ground truth, as in a row; not needed where the row is given."""
    duration_s: Annotated[float, Meta(gt=0, le=float_info.max)] | None = None
    """Seconds of the clip."""
    num_options: Annotated[int, Meta(ge=1)] | None = None
    """Number of options of the question."""
    mode: Mode = "greedy"
    number: Annotated[int, Meta(ge=0)] = 0
    """Place among the completions of this row and mode."""
    finish_reason: FinishReason | None = "stop"
    num_tokens: Annotated[int, Meta(ge=0)] | None = None
    policy_version: int = 0
    seed: int = 0
    """Seed of the bootstrap."""


def stored_completion(line: JsonLine, problems: list[str]) -> StoredCompletion | None:
    """The completion of a line, which may be a sample of lmms-eval; None with its problems noted."""
    if is_sample(line.value):
        try:
            return convert(sample_as_completion(line.value), StoredCompletion)
        except ValueError as error:
            problems.append(f"{line.where}: {error}")
            return None
    try:
        return convert(line.value, StoredCompletion)
    except ValidationError:
        problems += [f"{line.where}: {problem}" for problem in _problems(dict(line.value))]
        return None


def _problems(value: dict[str, Any]) -> Iterator[str]:
    """Every problem of a line; msgspec reports one at a time."""
    while True:
        try:
            convert(value, StoredCompletion)
            return
        except ValidationError as error:
            message, _, path = str(error).partition(" - at `$.")
            key = path.rstrip("`").partition("[")[0]
            yield f"{key}: {message}" if key else "completion: missing"
            if key in ("", "completion"):
                value["completion"] = ""
            else:
                del value[key]


def write_result(path: Path, result: EvalResult) -> None:
    """Every sample with its values, so that all figures can be computed again; compressed where the name says so."""
    records = (_record(sample, result.seed) for sample in result.samples)
    if path.suffix == COMPRESSED:
        write_records(path, records)
        return
    write_text(path, "".join(f"{json.dumps(record)}\n" for record in records), GIVE_ANOTHER)


def read_result(path: Path) -> EvalResult:
    """The result that `write_result` wrote into a compressed file. Raises CheckpointError where it cannot be read."""
    records = list(read_records(path))
    if not records:
        raise CheckpointError(f"{path}: holds no samples. Delete it and evaluate again.")
    return EvalResult(tuple(_sample(record) for record in records), records[0]["seed"])


def read_predictions(
    paths: Sequence[Path], task: str | None, rows: Sequence[Row] | None = None
) -> tuple[EvalResult, tuple[str, ...]]:
    """The completions of all files, judged as if they were of one evaluation; and ids of rows without any.

    `task`: the only one that is read, and that of lines that name none. `rows`: the rows of the prompts; lines need no
    target of their own then. DataError: every problem, by file and line.
    """
    problems: list[str] = []
    by_id = None if rows is None else {row.id: row for row in rows}
    samples: list[Sample] = []
    where_by_key: dict[tuple[str, str, int], str] = {}
    seeds: dict[int, str] = {}
    for line in (line for path in paths for line in read_jsonl(path, problems)):
        where, prediction = line.where, stored_completion(line, problems)
        if prediction is None:
            continue
        prompt_id = where if prediction.id is None else str(prediction.id)
        row = by_id.get(prompt_id) if by_id is not None else None
        if by_id is not None and row is None:
            named = (
                "missing; it names the row of --data" if prediction.id is None else f"{prompt_id!r} is no row of --data"
            )
            problems.append(f"{where}: id: {named}.")
            continue
        name = prediction.task or (row.task if row else task)
        if task is not None and name != task:
            continue
        key = (prompt_id, prediction.mode, prediction.number)
        if key in where_by_key:
            same = f"{prediction.mode} completion {prediction.number} of {prompt_id!r}"
            problems.append(f"{where}: {same} is at {where_by_key[key]} already. Give each shard once.")
            continue
        where_by_key[key] = where
        seeds.setdefault(prediction.seed, where)
        try:
            samples.append(_judged(prediction, prompt_id, name, row))
        except ValueError as error:
            problems.append(f"{where}: {error}")
    if len(seeds) > 1:
        problems.append(f"{' and '.join(seeds.values())}: shards of evaluations with different seeds: {list(seeds)}.")
    if not samples and not problems:
        problems.append(f"{', '.join(map(str, paths))}: no predictions{f' of task {task}' if task else ''}")
    refuse(problems)
    predicted = {sample.prompt_id for sample in samples}
    missing = tuple(row.id for row in rows or () if row.id not in predicted and task in (None, row.task))
    return EvalResult(tuple(samples), next(iter(seeds))), missing


def _judged(prediction: StoredCompletion, prompt_id: str, name: str | None, row: Row | None) -> Sample:
    """The sample. ValueError: its task or its target is missing or wrong."""
    if name is None or name not in TASKS:
        what = "missing; give --task" if name is None else f"unknown: {name!r}"
        raise ValueError(f"task: {what}, one of {', '.join(TASKS)}.")
    try:
        target = _target(prediction, row, name)
    except ValueError as error:
        raise ValueError(f"target: {error}") from error
    dataset, video = prediction.dataset, prediction.video
    if row is not None:
        dataset, video = dataset or row.dataset, row.media_path
    prompt = Prompt(prompt_id, name, "", None, target, dataset, {"video": video} if video else {})
    reason, num_tokens = prediction.finish_reason or "stop", prediction.num_tokens or 0
    how = (prediction.mode, prediction.number)
    return judge(prompt, *how, prediction.completion, reason, num_tokens, prediction.policy_version)


def _target(prediction: StoredCompletion, row: Row | None, name: str) -> Target:
    """The target, of the line or of its row. Raises ValueError where there is none, or it is not the task's."""
    if row is not None:
        target = TASKS[row.task].target(row)
        if prediction.target is not None and TASKS[row.task].read_target(prediction.target) != target:
            raise ValueError(f"{json.dumps(prediction.target)} is not that of the row: {json.dumps(row.target)}")
        if prediction.duration_s is not None:
            target = replace(target, duration_s=prediction.duration_s)
    elif prediction.target is None:
        raise ValueError("missing. Write the target into each line, or give the rows with --data.")
    else:
        target = TASKS[name].read_target(
            prediction.target, duration_s=prediction.duration_s, num_options=prediction.num_options
        )
    if type(target) is not TASKS[name].target_type:
        raise ValueError(f"has {', '.join(target.to_json())}, but {name} needs {TASKS[name].target_type.json_form}")
    return target


def _record(sample: Sample, seed: int) -> dict[str, Any]:
    return {
        "id": sample.prompt_id,
        **{key: getattr(sample, key) for key in SHARED_KEYS},
        "video": sample.video,
        "target": sample.target.to_json(),
        "duration_s": sample.target.duration_s,
        "num_options": sample.target.num_options,
        "readings": {parser: asdict(answer) for parser, answer in sample.parsed.items()},
        "seed": seed,
    }


def _sample(record: Mapping[str, Any]) -> Sample:
    task, num_options = TASKS[record["task"]], record["num_options"]
    target = task.read_target(record["target"], duration_s=record["duration_s"], num_options=num_options)
    parsed = {parser: ParsedAnswer(**answer) for parser, answer in record["readings"].items()}
    same = {key: record[key] for key in SHARED_KEYS}
    # Evaluations that were stored before intervals were over videos hold none.
    return Sample(**same, prompt_id=record["id"], target=target, parsed=parsed, video=record.get("video"))
