"""Clips of one or two shapes that move one after the other, for structured captions in a closed grammar.

"red circle moves left. blue square moves up." states the events of a clip; 3 colours, 2 shapes and 4 directions make
24 of them. The loose annotator guesses some directions and leaves out some second events.
"""

import random
from fractions import Fraction
from typing import Any

from rft.synthetic.clips import Scene, Shape, draw
from rft.synthetic.drawn_set import DrawnClip, DrawnSet

COLOURS = ("red", "green", "blue")
KINDS = ("circle", "square")
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}

FPS = Fraction(2)
HALF_S = 4.0
"""Seconds of an event; a clip has two halves, in one or both of which a shape moves."""

TWO_EVENTS = 0.5
"""Share of clips with two events."""

GUESSED = 0.3
"""Share of directions that the loose annotator draws at random."""

FORGOTTEN = 0.3
"""Share of second events that the loose annotator leaves out."""

QUERY = "What happens?"


def draw_clip(rng: random.Random) -> DrawnClip:
    """A clip, its still background, and one row about it."""
    halves = (0, 1) if rng.random() < TWO_EVENTS else (rng.randrange(2),)
    colours = rng.sample(COLOURS, len(halves))
    events = [(rng.choice(KINDS), colour, rng.choice(list(DIRECTIONS))) for colour in colours]
    shapes = tuple(_moving(event, half, rng) for event, half in zip(events, halves, strict=True))
    scene = Scene(shapes, FPS, 2 * HALF_S, rng.getrandbits(32))
    empty = Scene((), FPS, 2 * HALF_S, scene.texture_seed)
    said = [
        (kind, colour, rng.choice(list(DIRECTIONS)) if rng.random() < GUESSED else direction)
        for kind, colour, direction in events
    ]
    if len(said) > 1 and rng.random() < FORGOTTEN:
        said.pop()
    row: dict[str, Any] = {
        "task": "structured_caption",
        "query": QUERY,
        "target": {"events": [_sentence(*event) for event in events], "elements": [list(event) for event in events]},
        "demonstration": _completion(said),
    }
    return DrawnClip(draw(scene, scene.frame_times), draw(empty, scene.frame_times), (row,))


def _moving(event: tuple[str, str, str], half: int, rng: random.Random) -> Shape:
    """The shape of an event, which crosses half of the frame in its half of the clip."""
    kind, colour, direction = event
    radius, travel = rng.uniform(0.15, 0.19), rng.uniform(0.45, 0.6)
    x, y = (rng.uniform(radius, 1 - radius) for _ in range(2))
    along = rng.uniform(radius, 1 - radius - travel)
    dx, dy = DIRECTIONS[direction]
    first, last = (along, along + travel) if dx + dy > 0 else (along + travel, along)
    start, end = ((first, y), (last, y)) if dx else ((x, first), (x, last))
    return Shape(colour, kind, radius, start, end, (half * HALF_S, (half + 1) * HALF_S))


def _sentence(kind: str, colour: str, direction: str) -> str:
    return f"{colour} {kind} moves {direction}."


def _completion(events: list[tuple[str, str, str]]) -> str:
    thought = "\n".join(" | ".join(event) for event in events)
    return f"<think>{thought}</think><answer>{' '.join(_sentence(*event) for event in events)}</answer>"


DRAWN = {"captions": DrawnSet(draw_clip, FPS)}
