"""Random scenes of the drawn clips, and their targets."""

import math
import random
from dataclasses import dataclass
from fractions import Fraction

from rewards.types import Box
from rft.synthetic.clips import OTHER_STYLE, RGB, TRAINED_STYLE, Scene, Shape, Style

COLOURS = tuple(RGB)
KINDS = ("square", "circle", "triangle")
DIRECTIONS = ("left", "right", "up", "down")

TWO_SHAPES = 0.25
"""Share of event clips with a second shape, which the question is not about."""

NUM_BOXES = 3
"""Boxes of a tracking answer, the start box included."""


@dataclass(frozen=True, slots=True)
class Domain:
    """Ranges from which the parameters of random scenes are drawn."""

    duration_s: float
    frame_rates: tuple[Fraction, ...]
    seen_half_seconds: tuple[int, int]
    """Fewest and most half seconds for which a shape of an event clip is visible."""
    event_radius: tuple[float, float]
    """Least and largest radius of a shape of an event clip, as a share of the frame."""
    travel: tuple[float, float]
    """Least and largest distance that a shape of an event clip moves, as a share of the frame."""
    journey_radius: float
    style: Style
    has_distractor: bool


TRAINED = Domain(
    duration_s=8.0,
    frame_rates=(Fraction(8), Fraction(10), Fraction(25, 2)),
    seen_half_seconds=(4, 7),
    event_radius=(0.15, 0.19),
    travel=(0.45, 0.6),
    journey_radius=0.18,
    style=TRAINED_STYLE,
    has_distractor=False,
)
"""Domain of the training clips and of the in-domain held-out clips."""

OUT_OF_DOMAIN = tuple(
    Domain(
        duration_s=duration_s,
        frame_rates=(Fraction(6), Fraction(15), Fraction(24_000, 1001)),
        seen_half_seconds=(3, 10),
        event_radius=(0.1, 0.14),
        travel=(0.3, 0.65),
        journey_radius=0.12,
        style=OTHER_STYLE,
        has_distractor=True,
    )
    for duration_s in (10.0, 12.0)
)
"""Domains of the out-of-domain clips: longer, other frame rates, smaller shapes of other speeds and shades, another
texture, and a distractor, about which there is no question."""


def event_scene(rng: random.Random, domain: Domain = TRAINED) -> Scene:
    """One or two shapes of different colours, each visible for some seconds while it moves left, right, up or down."""
    shapes = []
    for colour in rng.sample(COLOURS, 2 if rng.random() < TWO_SHAPES else 1):
        half_seconds = rng.randint(*domain.seen_half_seconds)
        start_s = rng.randint(0, int(2 * domain.duration_s) - half_seconds) / 2
        radius, travel = rng.uniform(*domain.event_radius), rng.uniform(*domain.travel)
        along = rng.uniform(radius, 1 - radius - travel)
        across = rng.uniform(radius, 1 - radius)
        line = {
            "left": ((along + travel, across), (along, across)),
            "right": ((along, across), (along + travel, across)),
            "up": ((across, along + travel), (across, along)),
            "down": ((across, along), (across, along + travel)),
        }[rng.choice(DIRECTIONS)]
        shapes.append(Shape(colour, rng.choice(KINDS), radius, *line, (start_s, start_s + half_seconds / 2)))
    return _scene(tuple(shapes), rng, domain)


def journey_scene(rng: random.Random, domain: Domain = TRAINED) -> Scene:
    """One shape that crosses at least a third of the frame, on a line of any direction, in the whole clip."""
    radius = domain.journey_radius
    line = _line(rng, radius)
    shape = Shape(rng.choice(COLOURS), rng.choice(KINDS), radius, *line, (0.0, domain.duration_s))
    return _scene((shape,), rng, domain)


def _line(rng: random.Random, radius: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Start and end of a movement inside the frame, at a distance of at least 0.35 of its side."""
    start, end = (0.0, 0.0), (0.0, 0.0)
    while math.dist(start, end) < 0.35:
        start, end = ((rng.uniform(radius, 1 - radius), rng.uniform(radius, 1 - radius)) for _ in range(2))
    return start, end


def _scene(shapes: tuple[Shape, ...], rng: random.Random, domain: Domain) -> Scene:
    fps, texture_seed = rng.choice(domain.frame_rates), rng.getrandbits(32)
    distractor = None
    if domain.has_distractor:
        # A cross, visible for half of the clip; its shape and colour are in no question.
        radius, start_s = rng.uniform(*domain.event_radius), rng.uniform(0, domain.duration_s / 2)
        visible_s = (start_s, start_s + domain.duration_s / 2)
        distractor = Shape("violet", "cross", radius, *_line(rng, radius), visible_s)
    return Scene(shapes, fps, domain.duration_s, texture_seed, domain.style, distractor)


def direction_of(shape: Shape) -> str:
    (x0, y0), (x1, y1) = shape.start, shape.end
    if abs(x1 - x0) > abs(y1 - y0):
        return "right" if x1 > x0 else "left"
    return "down" if y1 > y0 else "up"


def boxes_of(scene: Scene) -> tuple[Box, ...]:
    """NUM_BOXES boxes of the only shape of a scene, evenly spaced from first to last frame; two decimals."""
    shape, last_s = scene.shapes[0], scene.frame_times[-1]
    centres = [shape.centre(last_s * i / (NUM_BOXES - 1)) for i in range(NUM_BOXES)]
    r = shape.radius
    return tuple((round(x - r, 2), round(y - r, 2), round(x + r, 2), round(y + r, 2)) for x, y in centres)
