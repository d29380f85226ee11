"""Drawn needles: grey noise of 4, 8 or 16 seconds, and a coloured square in one of them."""

import random
from fractions import Fraction

import numpy as np

from rft.synthetic.clips import RGB, SIDE
from rft.synthetic.drawn_set import DrawnClip, DrawnSet
from rft.tasks.types import thought_before

FPS = Fraction(2)
LENGTHS_S = (4, 8, 16)
DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
COLOURS = tuple(RGB)
GUESSED = 0.5
"""Share of questions that the loose annotator answers at random."""


def draw(rng: random.Random) -> DrawnClip:
    """A clip whose needle is seen for one second, and the question for its colour."""
    length_s, depth, colour = rng.choice(LENGTHS_S), rng.choice(DEPTHS), rng.choice(COLOURS)
    num_frames = int(length_s * FPS)
    noise = np.random.default_rng(rng.getrandbits(32)).normal(rng.uniform(70, 110), 12, (num_frames, SIDE, SIDE, 1))
    blank = np.clip(np.repeat(noise, 3, axis=3), 0, 255).astype(np.uint8)
    pixels = blank.copy()
    first = int(int(depth * (length_s - 1)) * FPS)
    x, y = (rng.randint(2, SIDE - SIDE // 3 - 2) for _ in range(2))
    pixels[first : first + FPS.numerator, y : y + SIDE // 3, x : x + SIDE // 3] = RGB[colour]
    said = rng.choice(COLOURS) if rng.random() < GUESSED else colour
    row = {
        "task": "needle",
        "question": "Which colour has the square?",
        "options": list(COLOURS),
        "target": {"choice": "ABCD"[COLOURS.index(colour)], "frames": num_frames, "depth": depth, "hops": 1},
        "demonstration": thought_before(f"<answer>{'ABCD'[COLOURS.index(said)]}</answer>", said),
    }
    return DrawnClip(pixels, blank, (row,))


DRAWN = {"needles": DrawnSet(draw, FPS, num_train=1500, num_held_out=384)}
