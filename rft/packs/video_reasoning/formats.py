"""Published rows of VideoReasonBench (arXiv:2505.23359): one file per demonstration, `questions/*.json`.

A question is read into what it asks for; the answer is computed from the published truth by simulation. An annotated
answer that the verifier does not pass is a fault of the annotation: it is named in the summary.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from rft.data.convert.source import Format, Published, SourceRequest, read_json
from rft.errors import DataError, refuse
from rft.packs.video_reasoning.demonstrations import DEMONSTRATIONS
from rft.packs.video_reasoning.demonstrations.board import square_name
from rft.packs.video_reasoning.demonstrations.cup import swap
from rft.packs.video_reasoning.demonstrations.reading import read_items
from rft.packs.video_reasoning.demonstrations.types import Skill
from rft.packs.video_reasoning.rewards import verified_answer
from rft.packs.video_reasoning.targets import ReasoningTarget

FILES = {"hrd": "number", "grid": "circle", "cup": "cup", "file_sys": "file", "card": "card", "chip": "chip"}
"""Name of a published file -> demonstration."""

SKILL_OF: Mapping[str, Skill] = {
    "order_operation": "recall order",
    "counting_operation": "recall count",
    "order_state": "infer state",
    "counting_state": "infer state",
    "comparison_state": "compare state",
    "prediction_state": "predict state",
    "prediction_operation": "predict operation",
}
STEPS = {"x-1": "left", "x+1": "right", "y-1": "up", "y+1": "down"}
SUMMARY = "Provide a summary of the final answer after 'Final Answer:'"
"""Last line of each question; our prompts ask for <answer> in its place."""

_BETWEEN = re.compile(r"the ([0-9]+)\w\w to ([0-9]+)\w\w ")
_ADDED = re.compile(r"\b(add|remov)ed\b")
_OF_KIND = {
    "number": re.compile(r"the '(?P<kind>\w+?)(?:ward)?' move"),
    "circle": re.compile(r"direction `(?P<kind>\w+)`"),
    "cup": re.compile(r"the row '(?P<kind>\w)'"),
    "file": re.compile(r"different `(?P<extension>\.\w+)` files were involved in the `(?P<kind>\w+)"),
    "card": re.compile(r"(?:to|from) `(?P<container>\w+)` throughout"),
    "chip": re.compile(r"(?:to|from) `(?P<container>\w+)` throughout"),
}
_STATE = {
    "file": re.compile(r"`(?P<extension>\.\w+)` files (?:remain|would be) in `(?P<container>\w+)/?`"),
    "card": re.compile(r"cards (?:are|would be) in `(?P<container>\w+)`"),
    "chip": re.compile(r"chips (?:were|would be) in `(?P<container>\w+)`"),
}
_COMPARED = {
    "file": re.compile(
        r"files were in `(?P<container>\w+)/?` (?:at the (?P<when>start|end)|but were not in `(?P<other>\w+)`)"
    ),
    "card": re.compile(r"cards were in `(?P<container>\w+)` at the (?P<when>start|end)"),
    "chip": re.compile(r"chips in `(?P<container>\w+)` higher"),
}
_AFTER = re.compile(r"After the command `([^`]+)`")
_FURTHER = re.compile(r"(?:executed|executed in order|in order|run the command):? `([^`]+)`")
_GOAL = re.compile(r"(?:desired [a-z ]+|exactly the following [a-z ]+): `([^`]+)`")
_OF_GOAL = re.compile(r"to ensure that `(?P<container>\w+)`")


class Question(BaseModel):
    """One row; the truth of a demonstration stands in the fields that it has."""

    model_config = ConfigDict(frozen=True)

    video: str
    question: str
    answer: str | None
    dim: str
    visible_time: Literal["start", "end"]
    states: Any
    moves: Any = None
    coords: Any = None
    commands: Any = None
    actions: Any = None


def read(request: SourceRequest) -> Published:
    """One draft per question. DataError: a file of another name or shape, or questions that cannot be read."""
    name = FILES.get(request.source.stem)
    if name is None:
        raise DataError(f"{request.source}: is none of {', '.join(f'{stem}.json' for stem in FILES)}.")
    questions = read_json(request.source, dict[str, Question])
    drafts, problems, passed, faults = [], [], Counter[bool](), []
    for key, row in questions.items():
        try:
            target = _target(name, row)
        except (ValueError, KeyError, IndexError, TypeError) as error:
            problems.append(f"{key}: {error}")
            continue
        skill = target["skill"].replace(" ", "_")
        text = row.question.replace(SUMMARY, "").strip()
        dataset = f"video_reason_bench/{skill}"
        drafts.append(request.draft(dataset, f"{name}_{key}", [row.video], question=text, target=target))
        fault = None if row.answer is None else _fault(row.answer, target)
        passed[fault is None] += row.answer is not None
        faults += [f"{key}: {fault}"] if fault else []
    refuse(problems)
    facts = (
        ("questions", f"{len(questions):,}"),
        ("annotated answers that the verifier passes", f"{passed[True]:,} of {passed.total():,}"),
        ("questions without an annotated answer", f"{len(questions) - passed.total():,}"),
        *(("annotation fault", fault) for fault in faults),
    )
    return Published(tuple(drafts), facts, ("VideoReasonBench has no training split: test on it alone.",))


def _fault(answer: str, target: dict[str, Any]) -> str | None:
    """Why the verifier does not pass an annotated answer."""
    try:
        score = verified_answer(f"<answer>{answer}</answer>", ReasoningTarget.read(target))
    except ValueError as error:
        return f"has no right answer: {error}"
    return None if score.value == 1.0 else f"{' '.join(answer.split())[:60]!r}: {score.note}"


def _target(name: str, row: Question) -> dict[str, Any]:
    skill = SKILL_OF[row.dim]
    start, operations = _video(name, row)
    return {
        "demonstration": name,
        "skill": skill,
        "visible": row.visible_time,
        "start": start,
        "operations": operations,
        "ask": _ask(name, skill, row.question.partition("following question:")[2], operations),
    }


def _video(name: str, row: Question) -> tuple[Any, list[str]]:
    """State at the start, and operations, from the published truth."""
    match name:
        case "number":  # the published rows of a board begin at the bottom
            return row.states[0][::-1], list(row.moves)
        case "circle":
            column, line = row.coords[0]
            return {"board": row.states[0], "at": [line, column]}, [STEPS[move] for move in row.moves]
        case "cup":
            return row.states[0], [swap(square_name(*first), square_name(*second)) for first, second in row.moves]
        case "file":  # the first command makes the files
            start = {path: sorted(states["init"]) for path, states in row.states.items()}
            return start, [_operations("file", command)[0] for command in row.commands[1:]]
        case "card":  # the published piles begin at the bottom
            return {pile: states[0][::-1] for pile, states in row.states.items()}, list(row.actions)
    return {cup: states[0] for cup, states in row.states.items()}, list(row.actions)


def _operations(name: str, text: str) -> list[str]:
    return list(read_items(text, DEMONSTRATIONS[name].readers["predict operation"]).items)


def _ask(name: str, skill: Skill, question: str, operations: list[str]) -> dict[str, Any]:
    """The fields of Ask, from the text of a question. ValueError: it is none of the published ones."""
    added = {"kind": {"add": "add", "remov": "remove"}[verb[1]]} if (verb := _ADDED.search(question)) else {}
    match skill:
        case "recall order":
            between = _found(_BETWEEN, question)
            of_command = re.search(r"`(touch|rm|cp|mv)[^`]*` commands", question)
            kind = {"kind": of_command[1]} if of_command else {}
            return {"first": int(between[1]), "last": int(between[2]), **kind, **added}
        case "recall count":
            return {**_named(_OF_KIND[name], question), **added}
        case "infer state":
            return _named(_STATE[name], question) if name in _STATE else {}
        case "compare state":
            return _compared(name, question, operations) if name in _COMPARED else {}
        case "predict state":
            further = _operations(name, _found(_FURTHER, question)[1])
            return {"operations": further, **(_named(_STATE[name], question) if name in _STATE else {})}
    rules = DEMONSTRATIONS[name]
    goal = read_items(_found(_GOAL, question)[1], rules.readers["infer state"]).items
    return {"goal": list(goal), **(_named(_OF_GOAL, question) if rules.has_containers else {})}


def _compared(name: str, question: str, operations: list[str]) -> dict[str, Any]:
    named = _named(_COMPARED[name], question)
    when = named.pop("when", None)
    if "other" in named:
        return {**named, "after": 1 + operations.index(_operations(name, _found(_AFTER, question)[1])[0])}
    return named if when is None else {**named, "change": "gone" if when == "start" else "new"}


def _named(pattern: re.Pattern[str], question: str) -> dict[str, str]:
    """The named groups of a match that are there."""
    return {key: text for key, text in _found(pattern, question).groupdict().items() if text}


def _found(pattern: re.Pattern[str], question: str) -> re.Match[str]:
    match = pattern.search(question)
    if match is None:
        raise ValueError(f"the question does not match {pattern.pattern!r}")
    return match


FORMATS = {"video_reason_bench": Format(("video_reasoning",), read)}
