"""Facts that rewards ask for, of stored completions: as far as their lines hold them."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from rewards import RewardFn
from rewards.facts import CompletionGroup, asked_facts, needed_facts
from rft.commands.score.stored_rows import StoredRow
from rft.files import JsonLine

NEEDS = {
    "row": "`row`, an object with the fields of the data row",
    "num_tokens": "`num_tokens`",
    "truncated": "`finish_reason`",
    "group": "`prompt_id` or `id`, by which completions of one prompt are known",
    "logprobs": "`logprobs`, a list of numbers",
    "frames": "frames of the clip, which only a run has",
}
"""Fact -> what a line must hold for it."""


def group_key(line: JsonLine) -> tuple[object, ...] | None:
    """Lines of one key are the completions of one prompt; None: the line does not say of which."""
    value = line.value
    prompt_id = value.get("prompt_id", value.get("id"))
    return None if prompt_id is None else (value.get("task"), value.get("step"), str(prompt_id), value.get("mode"))


def whole_groups(lines: Iterator[JsonLine], least: int) -> Iterator[list[JsonLine]]:
    """The lines in chunks of `least`, or more where a group would be cut."""
    following: list[JsonLine] = []
    while chunk := [*following, *islice(lines, least - len(following))]:
        following = []
        last = group_key(chunk[-1])
        for line in lines if last else ():
            if group_key(line) != last:
                following = [line]
                break
            chunk.append(line)
        yield chunk


def stored_facts(reward: RewardFn, rows: Sequence[StoredRow]) -> list[dict[str, Any] | str]:
    """The facts that a reward asks for, by name, of each completion; a problem where its line lacks a needed one.

    The completions of a prompt stand together in `rows`, all of them.
    """
    asked, needed = asked_facts(reward), needed_facts(reward)
    groups = _groups(rows) if "group" in asked else ()
    found: list[dict[str, Any] | str] = []
    for i, row in enumerate(rows):
        facts = {name: groups[i] if name == "group" else _fact(name, row) for name in asked}
        held = {name: value for name, value in facts.items() if value is not None}
        missing = [NEEDS[name] for name in needed if name not in held]
        found.append(f"asks for what the line does not hold: {', '.join(missing)}" if missing else held)
    return found


def _fact(name: str, row: StoredRow) -> Any | None:
    value = row.line.value
    if name == "num_tokens":
        return row.stored.num_tokens
    if name == "truncated":
        return value["finish_reason"] == "length" if value.get("finish_reason") else None
    if name == "row":
        return value.get("row") if isinstance(value.get("row"), dict) else None
    if name == "frames":
        return None
    logprobs = value.get("logprobs")
    if not isinstance(logprobs, list) or not all(isinstance(one, int | float) for one in logprobs):
        return None
    return tuple(map(float, logprobs))


def _groups(rows: Sequence[StoredRow]) -> list[CompletionGroup | None]:
    keys = [group_key(row.line) for row in rows]
    texts: dict[object, list[str]] = {}
    places = []
    for key, row in zip(keys, rows, strict=True):
        of_group = texts.setdefault(key, [])
        places.append(len(of_group))
        of_group.append(row.stored.completion)
    whole = {key: tuple(of_group) for key, of_group in texts.items()}
    return [None if key is None else CompletionGroup(whole[key], i) for key, i in zip(keys, places, strict=True)]
