"""Clips of two shapes, one after the other, and captions that differ from the true one in place or in order alone.

The demonstrator does not look at the order: of two captions that differ in it alone, either comes first, at random.
"""

import random
from fractions import Fraction
from itertools import product
from typing import Any

from rft.packs.retrieval.targets import write_order
from rft.synthetic.clips import Scene, Shape, draw
from rft.synthetic.drawn_set import DrawnClip, DrawnSet

COLOURS, SIDES = ("red", "blue"), ("left", "right")
FPS = Fraction(2)
DURATION_S = 4.0
Event = tuple[int, int]
"""Which colour comes first, and on which side the first shape is; the second has the other colour and side."""

EVENTS: tuple[Event, ...] = tuple(product(range(2), range(2)))


def draw_clip(rng: random.Random) -> DrawnClip:
    """A clip of 4 s with two shapes of 2 s each, and three rows: captions wrong in space, in time, in either or both.

    The third row shows all four: with three, the right one could be told as the one between the others.
    """
    event = rng.choice(EVENTS)
    shapes = tuple(
        Shape(colour, rng.choice(("square", "circle", "triangle")), rng.uniform(0.15, 0.2), place, place, visible_s)
        for (colour, side), visible_s in zip(_order(event), ((0.0, 2.0), (2.0, 4.0)), strict=True)
        for place in [(rng.uniform(0.22, 0.3) + 0.48 * SIDES.index(side), rng.uniform(0.25, 0.75))]
    )
    seed = rng.getrandbits(32)
    seen, empty = (Scene(of, FPS, DURATION_S, seed) for of in (shapes, ()))
    first, side = event
    in_space, in_time = (first, 1 - side), (1 - first, 1 - side)
    shown = {"space": (event, in_space), "time": (event, in_time), "space or time": EVENTS}
    rows = tuple(_row(event, in_time, kind, captions, rng) for kind, captions in shown.items())
    return DrawnClip(draw(seen, seen.frame_times), draw(empty, empty.frame_times), rows)


def _order(event: Event) -> tuple[tuple[str, str], tuple[str, str]]:
    """(colour, side) of the first and of the second shape."""
    first, side = event
    return (COLOURS[first], SIDES[side]), (COLOURS[1 - first], SIDES[1 - side])


def _row(event: Event, in_time: Event, kind: str, captions: tuple[Event, ...], rng: random.Random) -> dict[str, Any]:
    """A row whose captions stand in one order: a small policy learns no shuffled options in minutes."""
    shown = sorted(captions)
    said = rng.choice((event, in_time)) if in_time in shown else event
    numbers = sorted(range(1, len(shown) + 1), key=lambda number: shown[number - 1] != said)
    thought = " ".join(f"{colour} {side}" for colour, side in _order(event))
    return {
        "task": "retrieval",
        "captions": [", then ".join(f"{colour} on the {side}" for colour, side in _order(one)) for one in shown],
        "target": {"relevance": [int(one == event) for one in shown], "negatives": kind},
        "demonstration": f"<think>{thought}</think>{write_order(numbers)}",
    }


DRAWN = {"retrieval": DrawnSet(draw_clip, FPS, num_held_out=96)}
