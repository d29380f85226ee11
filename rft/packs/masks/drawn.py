"""Clips of one coloured shape that is there for a part of the time; the answer is its mask at one moment, as a grid.

Half of the questions are about a moment without the shape, or name another shape. Held-out clips show pairs of colour
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
COLOURS = tuple(RGB)
KINDS = ("square", "circle", "triangle")
UNSEEN = (("red", "circle"), ("green", "triangle"), ("blue", "square"))
"""Pairs of colour and shape that no training clip has."""

GROWN = 0.5
"""Share of demonstrations whose mask has the cells right of it and below it too; their thoughts are right."""

Pair = tuple[str, str]


def draw_clip(rng: random.Random) -> DrawnClip:
    """A clip with one of the pairs that training has."""
    return _clip(rng, rng.choice([(c, k) for c in COLOURS for k in KINDS if (c, k) not in UNSEEN]))


def draw_held_out_clip(rng: random.Random) -> DrawnClip:
    """A clip that has one of the other pairs every second time."""
    return _clip(rng, rng.choice(UNSEEN)) if rng.random() < 0.5 else draw_clip(rng)


def _clip(rng: random.Random, pair: Pair) -> DrawnClip:
    radius = rng.uniform(0.2, 0.27)
    centre = (rng.uniform(radius, 1 - radius), rng.uniform(radius, 1 - radius))
    second = rng.randrange(DURATION_S)
    shape = Shape(*pair, radius, centre, centre, (float(second), second + 1.0))
    seed = rng.getrandbits(32)
    scenes = (Scene(shapes, FPS, float(DURATION_S), seed) for shapes in ((shape,), ()))
    seen, blank = (draw(scene, scene.frame_times) for scene in scenes)
    asked = _name(pair, rng)
    absent = (_name(pair, rng), 1 - second) if rng.random() < 0.5 else (_other_name(pair, rng), second)
    rows = (_row(seen, blank, shape, asked, second, rng), _row(seen, blank, shape, *absent, rng))
    return DrawnClip(seen, blank, rows)


def _name(pair: Pair, rng: random.Random) -> str:
    """The shape by its colour, by its kind, or by both."""
    colour, kind = pair
    return rng.choice((f"the {colour} shape", f"the {kind}", f"the {colour} {kind}"))


def _other_name(pair: Pair, rng: random.Random) -> str:
    colour = rng.choice([colour for colour in COLOURS if colour != pair[0]])
    kind = rng.choice([kind for kind in KINDS if kind != pair[1]])
    return _name((colour, kind), rng)


def _row(seen: Pixels, blank: Pixels, shape: Shape, query: str, second: int, rng: random.Random) -> dict[str, Any]:
    """The question about the middle of a second, with a demonstration."""
    is_there = shape.visible_s[0] == second
    is_meant = is_there and _means(query, shape)
    mask = _mask(seen[2 * second + 1], blank[2 * second + 1]) if is_meant else None
    x, y = shape.centre(0.0)
    thought = f"{shape.name} {FRAME_PARTS[int(3 * y)][int(3 * x)]}" if is_there else "no"
    cells = grid_of(mask, SIDE_CELLS) if mask else Mask(SIDE_CELLS, SIDE_CELLS, 0)
    said = _grown(cells) if rng.random() < GROWN else cells
    subset = "unseen" if (shape.colour, shape.kind) in UNSEEN else "seen"
    return {
        "task": "mask_grid",
        "query": query,
        "target": {
            "times": [second + 0.5],
            "masks": [rle_of(mask).to_json() if mask else None],
            "side": SIDE_CELLS,
            "subsets": [subset],
        },
        "demonstration": f"<think>{thought}</think><answer>{write_grid(said)}</answer>",
    }


def _means(query: str, shape: Shape) -> bool:
    return all(word in ("the", "shape", shape.colour, shape.kind) for word in query.split())


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


DRAWN = DrawnSet(draw_clip, FPS, draw_held_out=draw_held_out_clip)
