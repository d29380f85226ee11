"""Random videos of a demonstration, and random questions about them."""

import random
from collections.abc import Sequence

from rft.packs.video_reasoning.demonstrations import DEMONSTRATIONS
from rft.packs.video_reasoning.demonstrations.board import DIRECTIONS
from rft.packs.video_reasoning.demonstrations.file import EXTENSIONS
from rft.packs.video_reasoning.demonstrations.types import Ask, Demonstration, Operated, Skill, State
from rft.packs.video_reasoning.targets import ReasoningTarget

MOST_RECALLED = 4
"""Most operations that a question asks to recall."""

FURTHER = (3, 5)
"""Fewest and most further operations of "predict state", as in the published questions."""

TO_GOAL = (1, 3)
"""Fewest and most operations to a goal, before detours are taken off."""


def random_video(rules: Demonstration, size: int, num_operations: int, rng: random.Random) -> Operated:
    """Legal operations from a random state; either end is visible."""
    states, operations = _walk(rules, rules.random_state(size, rng), num_operations, rng)
    return Operated(operations, states, "start" if rng.random() < 0.5 else "end")


def random_target(name: str, skill: Skill, video: Operated, rng: random.Random) -> ReasoningTarget:
    """A question about a video that has an answer."""
    ask = _random_ask(DEMONSTRATIONS[name], video, skill, rng)
    return ReasoningTarget(name, skill, video.visible, video.states[0], video.operations, ask)


def _walk(
    rules: Demonstration, state: State, count: int, rng: random.Random
) -> tuple[tuple[State, ...], tuple[str, ...]]:
    states, operations = [state], []
    for _ in range(count):
        operations.append(rules.random_operation(states[-1], rng))
        states.append(rules.apply(states[-1], operations[-1]))
    return tuple(states), tuple(operations)


def _random_ask(rules: Demonstration, video: Operated, skill: Skill, rng: random.Random) -> Ask:
    container = rng.choice(list(video.latent)) if rules.has_containers else ""
    extension = rng.choice(EXTENSIONS) if rules.name == "file" else ""
    match skill:
        case "recall order":
            kind = rng.choice(_verbs(video.operations)) if rules.has_containers else ""
            count = sum(operation.startswith(kind) for operation in video.operations)
            first = rng.randint(1, count)
            return Ask(kind=kind, first=first, last=min(count, first + rng.randrange(MOST_RECALLED)))
        case "recall count":
            return _random_count(rules, video, container, extension, rng)
        case "infer state":
            return Ask(container=container, extension=extension)
        case "compare state":
            has_change = rules.name in ("file", "card")
            return Ask(container=container, change=rng.choice(("gone", "new")) if has_change else "")
        case "predict state":
            _, further = _walk(rules, video.latent, rng.randint(*FURTHER), rng)
            return Ask(container=container, extension=extension, operations=further)
    reached = _walk(rules, video.latent, rng.randint(*TO_GOAL), rng)[0][-1]
    return Ask(container=container, goal=rules.shown(reached, Ask(container=container)).items)


def _random_count(rules: Demonstration, video: Operated, container: str, extension: str, rng: random.Random) -> Ask:
    match rules.name:
        case "number" | "circle":
            return Ask(kind=rng.choice(list(DIRECTIONS)))
        case "cup":
            return Ask(kind="abcdefgh"[rng.randrange(len(video.latent))])
        case "file":
            return Ask(kind=rng.choice(_verbs(video.operations)), extension=extension)
    return Ask(kind=rng.choice(_verbs(video.operations)), container=container)


def _verbs(operations: Sequence[str]) -> list[str]:
    return sorted({operation.split()[0] for operation in operations})
