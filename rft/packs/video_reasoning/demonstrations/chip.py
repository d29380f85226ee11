"""Chip: chips of five values in cups; their order never matters. A state is {"cup0": [values], ..}."""

import random
import re
from collections import Counter
from typing import Any, ClassVar

from rft.packs.video_reasoning.demonstrations.containers import (
    action,
    action_parts,
    action_pattern,
    things_of_kind,
)
from rft.packs.video_reasoning.demonstrations.reading import Reader
from rft.packs.video_reasoning.demonstrations.types import (
    Ask,
    Demonstration,
    IllegalOperation,
    Items,
    Operated,
    Readers,
    Skill,
)

CHIPS = (5, 10, 20, 50, 100)

_CHIP = r"\b(5|10|20|50|100)\b"
_VALUES = Reader(re.compile(rf"{_CHIP}(?!\s*+(?:chips?\b|:))", re.IGNORECASE), lambda m: m[1])


def _cup(text: str) -> str:
    return text.lower().replace(" ", "")


class Chip(Demonstration):
    name = "chip"
    has_containers = True
    readers: ClassVar[Readers] = {
        "recall order": Reader(
            re.compile(rf"{_CHIP}[\s,:;(]*+(?:(?:to|from|in|into)\s++)?+(cup\s?+[0-9])\b", re.IGNORECASE),
            lambda m: f"{m[1]}, {_cup(m[2])}",
        ),
        "recall count": _VALUES,
        "infer state": _VALUES,
        "compare state": Reader(
            re.compile(r"\b(start|end)\b[^0-9]{0,80}+\b0*+([1-9][0-9]{0,5}+)\b", re.IGNORECASE),
            lambda m: f"{m[1].lower()}, {m[2]}",
        ),
        "predict state": _VALUES,
        "predict operation": Reader(
            action_pattern(rf"{_CHIP}(?:\s++chip)?+", "cup"),
            lambda m: action("add" if m[1].lower() == "add" else "remove", m[2], _cup(m[3])),
        ),
    }

    def state_problem(self, state: object) -> str | None:
        if not isinstance(state, dict) or not state or not all(re.fullmatch("cup[0-9]", str(key)) for key in state):
            return 'is no {"cup0": [values of chips], ..}'
        if not all(isinstance(chips, list) for chips in state.values()):
            return "a cup is no list of chips"
        odd = [chip for chips in state.values() for chip in chips if chip not in CHIPS]
        return f"{odd[0]!r:.30} is no chip" if odd else None

    def apply(self, state: Any, operation: str) -> Any:
        verb, value, cup = action_parts(operation)
        if value not in map(str, CHIPS) or cup not in state:
            raise IllegalOperation("there is no such chip or cup")
        chips = list(state[cup])
        if verb == "add":
            chips.append(int(value))
        elif int(value) in chips:
            chips.remove(int(value))
        else:
            raise IllegalOperation(f"{cup} holds no {value}")
        return {**state, cup: chips}

    def recalled(self, video: Operated, skill: Skill, ask: Ask) -> Items:
        moved = things_of_kind(video, ask.kind)
        if skill == "recall order":
            return Items(tuple(f"{value}, {cup}" for value, cup in moved[ask.first - 1 : ask.last]), "list")
        return Items(tuple(value for value, cup in moved if cup == ask.container), "bag")

    def shown(self, state: Any, ask: Ask) -> Items:
        return Items(tuple(map(str, state[ask.container])), "bag")

    def compared(self, video: Operated, ask: Ask) -> Items:
        difference = sum(video.states[-1][ask.container]) - sum(video.states[0][ask.container])
        return Items((f"{'end' if difference > 0 else 'start'}, {abs(difference)}",) if difference else (), "list")

    def solution(self, state: Any, ask: Ask) -> tuple[str, ...] | None:
        has, goal = Counter(map(str, state[ask.container])), Counter(ask.goal)
        changes = (("remove", has - goal), ("add", goal - has))
        return tuple(action(verb, value, ask.container) for verb, values in changes for value in values.elements())

    def size(self, state: Any) -> str:
        return f"{len(state)} cup{'s' if len(state) > 1 else ''}"

    def random_state(self, size: int, rng: random.Random) -> Any:
        return {f"cup{i}": rng.choices(CHIPS, k=rng.randint(3, 5)) for i in range(size)}

    def random_operation(self, state: Any, rng: random.Random) -> str:
        cup = rng.choice(list(state))
        if state[cup] and rng.random() < 0.5:
            return action("remove", str(rng.choice(state[cup])), cup)
        return action("add", str(rng.choice(CHIPS)), cup)
