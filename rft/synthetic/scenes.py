"""What the drawn clips show: random scenes, and what is true of them."""

import math
import random
from fractions import Fraction

from rewards.types import Box
from rft.synthetic.clips import RGB, Scene, Shape

COLOURS = tuple(RGB)
KINDS = ("square", "circle", "triangle")
DIRECTIONS = ("left", "right", "up", "down")

FRAME_RATES = (Fraction(8), Fraction(10), Fraction(25, 2))
DURATION_S = 8.0
TWO_SHAPES = 0.25
"""Share of event clips with a second shape to tell apart from the one in question."""

NUM_BOXES = 3
"""Boxes of a tracking answer, the start box included."""


def event_scene(rng: random.Random) -> Scene:
    """One or two shapes of different colours, each seen for 2 to 3.5 s while it moves left, right, up or down."""
    shapes = []
    for colour in rng.sample(COLOURS, 2 if rng.random() < TWO_SHAPES else 1):
        half_seconds = rng.randint(4, 7)
        start_s = rng.randint(0, int(2 * DURATION_S) - half_seconds) / 2
        radius, travel = rng.uniform(0.15, 0.19), rng.uniform(0.45, 0.6)
        along = rng.uniform(radius, 1 - radius - travel)
        across = rng.uniform(radius, 1 - radius)
        line = {
            "left": ((along + travel, across), (along, across)),
            "right": ((along, across), (along + travel, across)),
            "up": ((across, along + travel), (across, along)),
            "down": ((across, along), (across, along + travel)),
        }[rng.choice(DIRECTIONS)]
        shapes.append(Shape(colour, rng.choice(KINDS), radius, *line, (start_s, start_s + half_seconds / 2)))
    return _scene(tuple(shapes), rng)


def journey_scene(rng: random.Random) -> Scene:
    """One shape that crosses at least a third of the frame, on a line of any direction, in the whole clip."""
    radius = 0.18
    start, end = (0.0, 0.0), (0.0, 0.0)
    while math.dist(start, end) < 0.35:
        start, end = ((rng.uniform(radius, 1 - radius), rng.uniform(radius, 1 - radius)) for _ in range(2))
    return _scene((Shape(rng.choice(COLOURS), rng.choice(KINDS), radius, start, end, (0.0, DURATION_S)),), rng)


def _scene(shapes: tuple[Shape, ...], rng: random.Random) -> Scene:
    return Scene(shapes, rng.choice(FRAME_RATES), DURATION_S, rng.getrandbits(32))


def direction_of(shape: Shape) -> str:
    (x0, y0), (x1, y1) = shape.start, shape.end
    if abs(x1 - x0) > abs(y1 - y0):
        return "right" if x1 > x0 else "left"
    return "down" if y1 > y0 else "up"


def boxes_of(scene: Scene) -> tuple[Box, ...]:
    """Where the only shape of a scene is, evenly from its first frame to its last; two decimals."""
    shape, last_s = scene.shapes[0], scene.frame_times[-1]
    centres = [shape.centre(last_s * i / (NUM_BOXES - 1)) for i in range(NUM_BOXES)]
    r = shape.radius
    return tuple((round(x - r, 2), round(y - r, 2), round(x + r, 2), round(y + r, 2)) for x, y in centres)
