"""The ground truth of a question about operations on a hidden state: the whole video, and what is asked."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

from rewards.targets.values import read_list, shown
from rewards.types import Fault, Target
from rft.packs.video_reasoning.demonstrations import DEMONSTRATIONS
from rft.packs.video_reasoning.demonstrations.reading import Read, read_items
from rft.packs.video_reasoning.demonstrations.types import (
    LEVELS,
    SKILLS,
    Ask,
    Demonstration,
    IllegalOperation,
    Items,
    Operated,
    Skill,
    State,
    simulated,
)

NOTHING_ASKED = Ask()
LISTS = ("operations", "goal")
"""Fields of Ask that are lists."""


@dataclass(frozen=True, slots=True)
class ReasoningTarget(Target):
    """State at the start of a video, its operations, the end at which the state is shown, and what is asked."""

    json_form = (
        '{"demonstration": "cup", "skill": "infer state", "visible": "start" or "end", "start": state, '
        '"operations": ["(a1, a2)", ..], "ask": {}}'
    )
    json_keys = (("demonstration", "skill", "visible", "start", "operations", "ask"),)
    answer_form = "<answer>your final answer</answer>"

    demonstration: str
    skill: Skill
    visible: Literal["start", "end"]
    start: State
    """The state at the start of the video; rft/packs/video_reasoning/demonstrations/ says what a state is."""
    operations: tuple[str, ...]
    ask: Ask

    @classmethod
    def from_json(cls, data: Mapping[str, Any], problems: list[str]) -> Self:
        before = len(problems)
        known = {"demonstration": DEMONSTRATIONS, "skill": SKILLS, "visible": ("start", "end")}
        problems += [
            f"{key}: {shown(data[key])} is none of {', '.join(names)}"
            for key, names in known.items()
            if data[key] not in tuple(names)
        ]
        operations = _texts("operations", data["operations"], problems)
        ask = _read_ask(data["ask"], problems)
        target = cls(data["demonstration"], data["skill"], data["visible"], data["start"], operations, ask)
        if len(problems) == before:
            problems += _problems(target)
        return target

    def to_json(self) -> dict[str, object]:
        asked = {key: value for key, value in asdict(self.ask).items() if value != getattr(NOTHING_ASKED, key)}
        return {
            "demonstration": self.demonstration,
            "skill": self.skill,
            "visible": self.visible,
            "start": self.start,
            "operations": list(self.operations),
            "ask": {key: list(value) if key in LISTS else value for key, value in asked.items()},
        }

    @property
    def rules(self) -> Demonstration:
        return DEMONSTRATIONS[self.demonstration]

    @property
    def video(self) -> Operated:
        return Operated(self.operations, simulated(self.rules, self.start, self.operations), self.visible)

    @property
    def right(self) -> Items:
        """The right answer; for "predict operation" the state to be reached."""
        video, rules, ask = self.video, self.rules, self.ask
        match self.skill:
            case "infer state":
                return rules.shown(video.latent, ask)
            case "compare state":
                return rules.compared(video, ask)
            case "predict state":
                return rules.shown(simulated(rules, video.latent, ask.operations)[-1], ask)
            case "predict operation":
                return Items(ask.goal, rules.shown(video.latent, ask).order)
        return rules.recalled(video, self.skill, ask)

    def right_answer(self) -> Items:
        """What to answer: `right`, and for "predict operation" operations that lead there."""
        if self.skill == "predict operation":
            return Items(self.rules.solution(self.video.latent, self.ask) or (), "list")
        return self.right

    def read_answer(self, answer: str) -> Read:
        """The items of an answer, or why it has none."""
        return read_items(answer, self.rules.readers[self.skill])

    def written(self) -> str:
        return f"<answer>{self.right_answer().written()}</answer>"

    def format_problem(self, answer: str, completion: str) -> tuple[str, Fault] | None:
        problem = self.read_answer(answer).problem
        return (problem, "unreadable") if problem else None

    def subsets(self) -> tuple[str, ...]:
        counted = sum(map(self.rules.counts, self.operations))
        return (
            f"level {LEVELS[self.skill]}",
            f"skill: {self.skill}",
            f"demonstration: {self.demonstration}",
            f"operations: {_range(counted)}",
            f"size: {self.rules.size(self.start)}",
        )


def _range(count: int) -> str:
    """The published ranges, and each number below them."""
    if count < 5:
        return str(count)
    return "5 to 9" if count < 10 else "10 to 14" if count < 15 else "15 and more"


def _texts(where: str, value: object, problems: list[str]) -> tuple[str, ...]:
    items = read_list(where, value, 0, problems)
    problems += [f"{where}: {shown(item)} is no text" for item in items if not isinstance(item, str)]
    return tuple(map(str, items))


def _read_ask(value: object, problems: list[str]) -> Ask:
    if not isinstance(value, dict):
        problems.append(f"ask: {shown(value)} is no object")
        return NOTHING_ASKED
    kinds = {one.name: type(getattr(NOTHING_ASKED, one.name)) for one in fields(Ask)}
    read: dict[str, Any] = {}
    for key, part in value.items():
        if key not in kinds:
            problems.append(f"ask.{key}: is none of {', '.join(kinds)}")
        elif key in LISTS:
            read[key] = _texts(f"ask.{key}", part, problems)
        elif type(part) is not kinds[key]:
            problems.append(f"ask.{key}: {shown(part)} is no {'number' if kinds[key] is int else 'text'}")
        else:
            read[key] = part
    return Ask(**read)


def _problems(target: ReasoningTarget) -> list[str]:
    """Problems of a target whose fields are of the right kinds."""
    rules, ask = target.rules, target.ask
    problem = rules.state_problem(target.start)
    if problem:
        return [f"start: {problem}"]
    reader = rules.readers["predict operation"]
    problems = [
        f"{where}: {shown(operation)} is no operation of {rules.name}; write it as in its file"
        for where, operations in (("operations", target.operations), ("ask.operations", ask.operations))
        for operation in operations
        if read_items(operation, reader).items != (operation,)
    ]
    if target.skill not in ("recall order", "recall count") or (ask.container and rules.has_containers):
        paths = [name for name in (ask.container, ask.other) if name] if rules.has_containers else []
        problems += [f"ask: {shown(name)} is not in the state" for name in paths if name not in target.start]
        if rules.has_containers and not ask.container:
            problems.append(f"ask.container: is missing; name one of {', '.join(target.start)}")
    if target.skill == "recall order" and not 1 <= ask.first <= ask.last:
        problems.append(f"ask: first {ask.first} and last {ask.last} are no places in a list, counted from 1")
    if not 0 <= ask.after <= len(target.operations):
        problems.append(f"ask.after: the video has {len(target.operations)} operations")
    return problems or _unanswerable(target)


def _unanswerable(target: ReasoningTarget) -> list[str]:
    """Why the question has no answer, as a list."""
    try:
        right = target.right
    except IllegalOperation as error:
        return [f"operations: {error}"]
    if target.skill == "recall order" and len(right.items) != target.ask.last - target.ask.first + 1:
        return [f"ask: the video has no {target.ask.last} operations of that kind"]
    if target.skill == "predict operation":
        path = target.rules.solution(target.video.latent, target.ask)
        if path is None:
            return ["ask.goal: no way to it from the latent state was found"]
        goal = read_items(right.written(), target.rules.readers["infer state"])
        if not right.equal(goal.items):
            return [f"ask.goal: {shown(right.written())} is no list of parts of a state"]
    return []
