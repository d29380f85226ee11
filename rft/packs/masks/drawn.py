"""Clips of one coloured shape that is there for a part of the time; the answer is its mask at one moment, as a grid.

Half of the questions are about a moment without the shape, or name another colour. Held-out clips show pairs of colour
and shape that no training clip has.
"""

import random
from fractions import Fraction
from typing import Any

import numpy as np

from rft.packs.masks.mask import Mask, rle_of
from rft.packs.masks.raster import grid_of
from rft.packs.masks.targets import write_grid
from rft.synthetic.clips import RGB, Pixels, Scene, Shape, draw
from rft.synthetic.drawn_set import DrawnClip, DrawnSet
from rft.synthetic.questions import FRAME_PARTS

FPS = Fraction(2)
DURATION_S = 2
"""Whole seconds, in one of which the shape is there."""

SIDE_CELLS = 4
RADIUS = 0.25
"""Half of the shape's side, as a share of the frame: it covers about two by two cells."""
PLACES = (0.25, 0.5, 0.75)
"""Where the shape's centre lies, in x and in y; each is moved a little."""
JITTER = 0.03

COLOURS = tuple(RGB)
KINDS = ("square", "circle")
PAIRS = tuple((colour, kind) for colour in COLOURS for kind in KINDS)
UNSEEN = (("red", "circle"), ("blue", "square"))
"""Pairs of colour and shape that no training clip has."""

GROWN = 0.5
"""Share of demonstrations whose mask has the cells right of it and below it too; their thoughts are right."""


def draw_clip(rng: random.Random) -> DrawnClip:
    """A clip with one of the pairs that training has."""
    return _clip(rng, *rng.choice([pair for pair in PAIRS if pair not in UNSEEN]))


def draw_held_out_clip(rng: random.Random) -> DrawnClip:
    """A clip that has one of the other pairs every second time."""
    return _clip(rng, *rng.choice(UNSEEN)) if rng.random() < 0.5 else draw_clip(rng)


def _clip(rng: random.Random, colour: str, kind: str) -> DrawnClip:
    """A clip with a question about the shape, and one about what is not there: at the other time, or by its colour."""
    x, y = (rng.choice(PLACES) + rng.uniform(-JITTER, JITTER) for _ in range(2))
    second = rng.randrange(DURATION_S)
    shape = Shape(colour, kind, RADIUS, (x, y), (x, y), (float(second), second + 1.0))
    seed = rng.getrandbits(32)
    scenes = (Scene(shapes, FPS, float(DURATION_S), seed) for shapes in ((shape,), ()))
    seen, blank = (draw(scene, scene.frame_times) for scene in scenes)
    other = rng.choice([one for one in COLOURS if one != colour])
    absent = (_name(colour, kind, rng), 1 - second) if rng.random() < 0.5 else (f"the {other} shape", second)
    frame = 2 * second + 1
    mask = _mask(seen[frame], blank[frame])
    rows = (_row(shape, _name(colour, kind, rng), second, mask, rng), _row(shape, *absent, None, rng))
    return DrawnClip(seen, blank, rows)


def _name(colour: str, kind: str, rng: random.Random) -> str:
    """The shape by its colour, by its kind, or by both."""
    return rng.choice((f"the {colour} shape", f"the {kind}", f"the {colour} {kind}"))


def _row(shape: Shape, query: str, second: int, mask: Mask | None, rng: random.Random) -> dict[str, Any]:
    """The question about the middle of a second, with a demonstration; `mask`: what is meant, None if not there."""
    x, y = shape.centre(0.0)
    part = FRAME_PARTS[int(3 * y)][int(3 * x)]
    places = [part if shape.visible_s[0] == i else "no" for i in range(DURATION_S)]
    thought = f"{shape.colour} {' '.join(places)} so {part if mask else 'no'}"
    cells = grid_of(mask, SIDE_CELLS) if mask else Mask(SIDE_CELLS, SIDE_CELLS, 0)
    said = _grown(cells) if rng.random() < GROWN else cells
    return {
        "task": "mask_grid",
        "query": query,
        "target": {
            "times": [second + 0.5],
            "masks": [rle_of(mask).to_json() if mask else None],
            "side": SIDE_CELLS,
            "subsets": ["unseen" if (shape.colour, shape.kind) in UNSEEN else "seen"],
        },
        "demonstration": f"<think>{thought}</think><answer>{write_grid(said)}</answer>",
    }


def _mask(frame: Pixels, blank: Pixels) -> Mask:
    """The pixels in which two frames differ."""
    pixels = np.any(frame != blank, axis=2)
    height, width = pixels.shape
    return Mask(height, width, int("".join("1" if pixel else "0" for pixel in pixels.T.flat), 2))


def _grown(cells: Mask) -> Mask:
    """The cells with those right of them, below them and between both."""
    height, width = cells.size
    on = [
        any(cells.has(row - r, column - c) for r in (0, 1) for c in (0, 1) if row >= r and column >= c)
        for column in range(width)
        for row in range(height)
    ]
    return Mask(height, width, int("".join("1" if one else "0" for one in on), 2))


DRAWN = {"masks": DrawnSet(draw_clip, FPS, num_train=1200, num_held_out=128, draw_held_out=draw_held_out_clip)}
