"""The drawn set for a tiny policy: moves of a ring, a coin under three cups, chips that are added to a cup."""

import random
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from rft.packs.video_reasoning.demonstrations import DEMONSTRATIONS
from rft.packs.video_reasoning.demonstrations.board import DIRECTIONS
from rft.packs.video_reasoning.demonstrations.containers import action
from rft.packs.video_reasoning.demonstrations.cup import swap
from rft.packs.video_reasoning.demonstrations.types import Ask, Items, simulated
from rft.packs.video_reasoning.drawing import Look, draw_video
from rft.packs.video_reasoning.targets import ReasoningTarget
from rft.synthetic.clips import SIDE
from rft.synthetic.drawn_set import DrawnClip, DrawnSet

SHARES = {1: 0.5, 2: 0.3, 3: 0.2}
"""Number of operations -> share of the clips: one operation teaches to look, more of them to keep track."""

GUESSED = 0.3
"""Share of demonstrations in which one part of the answer is wrong."""

WITH_STATE, WITHOUT_STATE = Look(SIDE), Look(SIDE, shown_frames=0)
VALUES = ("5", "20", "100")
"""Chips of the clips: red, green and violet."""

Story = tuple[ReasoningTarget, Look, str, str, tuple[str, ...]]
"""(target, look, question, thought, parts that an answer may have). The thought says what is seen, without errors."""


def ring(rng: random.Random, count: int) -> Story:
    """The moves of a ring on a 3 x 3 grid, in order."""
    rules = DEMONSTRATIONS["circle"]
    state = rules.random_state(3, rng)
    states, operations = [state], []
    for _ in range(count):
        operations.append(rules.random_operation(states[-1], rng))
        states.append(rules.apply(states[-1], operations[-1]))
    target = ReasoningTarget("circle", "recall order", "start", state, tuple(operations), Ask(first=1, last=count))
    question = "Which moves does the ring make, in order?"
    return target, WITHOUT_STATE, question, " ".join(operations), tuple(DIRECTIONS)


def coin(rng: random.Random, count: int) -> Story:
    """The place of the one coin under three cups after swaps; the thought follows it."""
    cups = ("a1", "a2", "a3")
    place = rng.randrange(3)
    board = [[int(column == place) for column in range(3)]]
    operations = tuple(swap(*rng.sample(cups, 2)) for _ in range(count))
    states = simulated(DEMONSTRATIONS["cup"], board, operations)
    thought = " ".join(str(1 + state[0].index(1)) for state in states)
    target = ReasoningTarget("cup", "infer state", "start", board, operations, Ask())
    return target, WITH_STATE, "Which cup hides the coin at the end?", thought, cups


def chips(rng: random.Random, count: int) -> Story:
    """The chips that are added to a cup, from which others are removed; the thought lists all actions."""
    held: list[str] = [rng.choice(VALUES), rng.choice(VALUES)]
    start = {"cup0": list(map(int, held))}
    operations = []
    for _ in range(count):
        verb, value = ("add", rng.choice(VALUES)) if not held or rng.random() < 0.6 else ("remove", rng.choice(held))
        (held.append if verb == "add" else held.remove)(value)
        operations.append(action(verb, value, "cup0"))
    thought = " ".join(" ".join(operation.split()[:2]) for operation in operations)
    ask = Ask(kind="add", container="cup0")
    target = ReasoningTarget("chip", "recall count", "start", start, tuple(operations), ask)
    return target, WITHOUT_STATE, "Which chips are added to the cup?", thought, VALUES


STORIES = {ring: 0.3, coin: 0.4, chips: 0.3}
"""Story -> share of the clips."""


def draw(rng: random.Random) -> DrawnClip:
    """A clip of one of the stories, its operations blanked, and its question."""
    (count,) = rng.choices(list(SHARES), list(SHARES.values()))
    (story,) = rng.choices(list(STORIES), list(STORIES.values()))
    target, look, question, thought, parts = story(rng, count)
    pixels, blank = draw_video(target.demonstration, target.video, look)
    right = target.right
    loose = Items(_loose(right.items, parts, rng), right.order)
    row: dict[str, Any] = {
        "task": "video_reasoning",
        "question": question,
        "target": target.to_json(),
        "demonstration": f"<think>{thought}</think><answer>{loose.written()}</answer>",
    }
    return DrawnClip(pixels, blank, (row,))


def _loose(items: Sequence[str], parts: Sequence[str], rng: random.Random) -> tuple[str, ...]:
    """An annotator's answer: with the chance GUESSED one part is another one."""
    said = list(items)
    if said and rng.random() < GUESSED:
        place = rng.randrange(len(said))
        said[place] = rng.choice([part for part in parts if part != said[place]])
    return tuple(said)


DRAWN = {"video_reasoning": DrawnSet(draw, Fraction(2), num_train=3000)}
