"""What a demonstration is: states, operations, questions about them, and the answers that follow by simulation."""

import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from rft.packs.video_reasoning.demonstrations.reading import Reader

State = Any
"""A state as a JSON value, such as the rows of a board; each demonstration says which. Never changed in place."""

Skill = Literal["recall order", "recall count", "infer state", "compare state", "predict state", "predict operation"]
"""What a question asks for. "infer state" and all after it are about the latent state, at the end that is not shown."""

SKILLS: tuple[Skill, ...] = get_args(Skill)
LEVELS: Mapping[str, int] = {skill: 1 + place // 2 for place, skill in enumerate(SKILLS)}

Readers = Mapping[Skill, Reader]
"""Skill -> how an answer to it is read."""

FARTHEST = 8
"""Most operations from the latent state to a goal that is found by search."""


class IllegalOperation(ValueError):
    """An operation that the state does not allow, or that is none of the demonstration; the message says why."""


@dataclass(frozen=True, slots=True)
class Items:
    """An answer as the parts that are compared: an ordered list, a set, or a bag, in which repeats count."""

    items: tuple[str, ...]
    order: Literal["list", "set", "bag"] = "set"

    def equal(self, read: Sequence[str]) -> bool:
        """Whether the items of an answer are these."""
        match self.order:
            case "list":
                return tuple(read) == self.items
            case "set":
                return set(read) == set(self.items)
        return Counter(read) == Counter(self.items)

    def f1(self, read: Sequence[str]) -> float:
        """F1 of the items of an answer, in [0, 1]; in a list an item counts at its own place alone."""
        if self.order == "list":
            right = sum(a == b for a, b in zip(read, self.items, strict=False))
            num_read, num_items = len(read), len(self.items)
        else:
            ours, theirs = (Counter(set(part) if self.order == "set" else part) for part in (self.items, read))
            right, num_read, num_items = (ours & theirs).total(), theirs.total(), ours.total()
        return 2 * right / (num_read + num_items) if num_read + num_items else 1.0

    def distance(self, other: Sequence[str]) -> int:
        """Number of items of either that the other lacks."""
        ours, theirs = Counter(self.items), Counter(other)
        return (ours - theirs).total() + (theirs - ours).total()

    def written(self) -> str:
        """Text that the demonstration's reader reads back."""
        return ("; " if any("," in item for item in self.items) else ", ").join(self.items) or "none"


@dataclass(frozen=True, slots=True)
class Ask:
    """What a question names beside its skill; empty where it names no such thing."""

    first: int = 0
    """First of the operations to recall, from 1, among those of `kind`."""
    last: int = 0
    """Last of them."""
    kind: str = ""
    """Kind of operation that counts: "left", "touch", "add", the row "b" of cups; "": all."""
    container: str = ""
    """The path, pile or cup that is asked for, such as "pile0"."""
    extension: str = ""
    """Extension of the files that count, such as ".csv"; "": all."""
    change: Literal["", "gone", "new"] = ""
    """Things that were there at the start and not at the end, or the other way round."""
    other: str = ""
    """Path whose files are taken off those of `container`, ..."""
    after: int = 0
    """... after so many operations of the video."""
    operations: tuple[str, ...] = ()
    """Further operations, from the latent state."""
    goal: tuple[str, ...] = ()
    """Items of the state to be reached."""


@dataclass(frozen=True, slots=True)
class Operated:
    """The operations of a video and its states, simulated."""

    operations: tuple[str, ...]
    states: tuple[State, ...]
    """One more than operations, first to last."""
    visible: Literal["start", "end"]

    @property
    def latent(self) -> State:
        """The state at the end of the video that is not shown."""
        return self.states[-1 if self.visible == "start" else 0]

    @property
    def observed(self) -> State:
        return self.states[0 if self.visible == "start" else -1]


class Demonstration(ABC):
    """The rules of one demonstration. Operations are texts, such as "left" or "add 20 to cup0"."""

    name: ClassVar[str]
    readers: ClassVar[Readers]
    """How answers are read; "predict operation" reads operations."""
    has_containers: ClassVar[bool] = False
    """Whether a question names a path, pile or cup."""

    @abstractmethod
    def state_problem(self, state: object) -> str | None:
        """Why a JSON value is no state, with what it should be; None if it is one."""

    @abstractmethod
    def apply(self, state: State, operation: str) -> State:
        """The next state. Raises IllegalOperation."""

    @abstractmethod
    def recalled(self, video: Operated, skill: Skill, ask: Ask) -> Items:
        """The right answer about the operations of a video."""

    @abstractmethod
    def shown(self, state: State, ask: Ask) -> Items:
        """What a question about one state asks for, and what a goal is compared with."""

    @abstractmethod
    def compared(self, video: Operated, ask: Ask) -> Items:
        """What differs between the ends of a video, as the question has it."""

    @abstractmethod
    def solution(self, state: State, ask: Ask) -> tuple[str, ...] | None:
        """Operations that lead from a state to the goal; None: not found."""

    @abstractmethod
    def size(self, state: State) -> str:
        """Size of a state, as evaluation names it: "3x3 board"."""

    @abstractmethod
    def random_state(self, size: int, rng: random.Random) -> State:
        """A state of that side or number of containers."""

    @abstractmethod
    def random_operation(self, state: State, rng: random.Random) -> str:
        """A legal operation."""

    def rule_problem(self, operations: Sequence[str]) -> str | None:
        """Why the operations as a whole break the rules of the question; None if they do not."""
        return None

    def counts(self, operation: str) -> bool:
        """Whether an operation counts as one of the video's operations."""
        return True


def simulated(rules: Demonstration, state: State, operations: Sequence[str]) -> tuple[State, ...]:
    """All states, first to last. Raises IllegalOperation, which names the step, from 1."""
    states = [state]
    for step, operation in enumerate(operations, start=1):
        try:
            states.append(rules.apply(states[-1], operation))
        except IllegalOperation as error:
            raise IllegalOperation(f"step {step}, '{operation[:60]}': {error}") from None
    return tuple(states)


def shortest_path(
    rules: Demonstration, operations: Sequence[str], state: State, goal: Items, ask: Ask
) -> tuple[str, ...] | None:
    """The fewest of some operations that lead to a goal; None: there is no such path of at most FARTHEST."""
    edge: list[tuple[State, tuple[str, ...]]] = [(state, ())]
    seen = {repr(state)}
    while edge:
        following = []
        for reached, path in edge:
            if goal.equal(rules.shown(reached, ask).items):
                return path
            for operation in operations if len(path) < FARTHEST else ():
                try:
                    after = rules.apply(reached, operation)
                except IllegalOperation:
                    continue
                if (key := repr(after)) not in seen:
                    seen.add(key)
                    following.append((after, (*path, operation)))
        edge = following
    return None
