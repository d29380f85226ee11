"""Clips of a shape that moves in one of eight ways; the label is the way."""

import random
from fractions import Fraction

from rft.synthetic.clips import RGB, Scene, Shape, draw
from rft.synthetic.drawn_set import DrawnClip, DrawnSet
from rft.synthetic.questions import FRAME_PARTS

MOTIONS = ("left", "right", "up", "down", "grow", "shrink", "blink", "still")
"""Pairs of opposites."""
QUESTION = "How does the shape move?"

FPS = Fraction(2)
NUM_FRAMES = 8
MIXED_UP = 0.45
"""Share of demonstrations that name the opposite; their thoughts are right."""

SMALL, BIG = 0.13, 0.22
"""Radius below and above which a thought says so."""

State = tuple[float, float, float]
"""Centre (x, y) and radius, as shares of the frame; radius 0: not to be seen."""


def draw_clip(rng: random.Random) -> DrawnClip:
    """A clip of 4 s of one shape; without it, the background alone is left."""
    motion = rng.choice(MOTIONS)
    states = _states(motion, rng)
    colour, kind = rng.choice(tuple(RGB)), rng.choice(("square", "circle", "triangle"))
    shapes = tuple(
        Shape(colour, kind, radius, (x, y), (x, y), (frame / 2, frame / 2 + 0.5))
        for frame, (x, y, radius) in enumerate(states)
        if radius
    )
    seed = rng.getrandbits(32)
    seen, empty = (Scene(of, FPS, NUM_FRAMES / 2, seed) for of in (shapes, ()))
    thought = " ".join(_word(states[frame]) for frame in range(1, NUM_FRAMES, 2))
    said = MOTIONS[MOTIONS.index(motion) ^ 1] if rng.random() < MIXED_UP else motion
    row = {
        "task": "labels",
        "question": QUESTION,
        "labels": list(MOTIONS),
        "target": {"label": motion},
        "demonstration": f"<think>{thought}</think><answer>{said}</answer>",
    }
    return DrawnClip(draw(seen, seen.frame_times), draw(empty, empty.frame_times), (row,))


def _states(motion: str, rng: random.Random) -> list[State]:
    """The shape in each frame."""
    shares = [frame / (NUM_FRAMES - 1) for frame in range(NUM_FRAMES)]
    radius, across = rng.uniform(0.15, 0.19), rng.uniform(0.25, 0.75)
    if motion in ("left", "right", "up", "down"):
        start, travel = rng.uniform(0.2, 0.25), rng.uniform(0.5, 0.55)
        along = [start + share * travel for share in shares]
        along = along[::-1] if motion in ("left", "up") else along
        return [(x, across, radius) if motion in ("left", "right") else (across, x, radius) for x in along]
    place = (rng.uniform(0.35, 0.65), rng.uniform(0.35, 0.65))
    if motion in ("grow", "shrink"):
        radii = [0.07 + share * 0.26 for share in shares]
        return [(*place, one) for one in (radii if motion == "grow" else radii[::-1])]
    # Two frames on, two frames off: a pair of frames is one step of the policy's view.
    phase = rng.randrange(2)
    return [(*place, radius if motion == "still" or (frame // 2 + phase) % 2 else 0.0) for frame in range(NUM_FRAMES)]


def _word(state: State) -> str:
    """What a thought says of a frame: "no", "small", "big" or the part of the frame, such as "northwest"."""
    x, y, radius = state
    if radius == 0:
        return "no"
    return "small" if radius < SMALL else "big" if radius > BIG else FRAME_PARTS[int(3 * y)][int(3 * x)]


DRAWN = {"labels": DrawnSet(draw_clip, FPS, num_train=1200)}
