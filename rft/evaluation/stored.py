"""Completions as they are stored, one JSON line each: by `rft eval -o`, by a run, or by another program."""

from collections.abc import Iterator
from sys import float_info
from typing import Annotated, Any

from msgspec import Meta, Struct, ValidationError, convert

from rft.evaluation.evaluate import Mode
from rft.files import JsonLine
from rft.types import FinishReason


class StoredCompletion(Struct, frozen=True, kw_only=True):
    """One line: a completion and its target. Other keys of the line are ignored."""

    id: str | int | float | None = None
    """Row of the prompt; not needed where the line holds its own target."""
    prompt_id: str | None = None
    """Row of the prompt, in the rollouts of a run."""
    completion: str
    task: str | None = None
    dataset: str | None = None
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
    """The completion of a line; None with its problems noted."""
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
