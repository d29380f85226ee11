"""Drawn streams: a band that changes its colour; questions at a time about the colour now, before and at first."""

import random
from fractions import Fraction
from itertools import pairwise

from rft.synthetic.clips import RGB, SIDE, grey_noise
from rft.synthetic.drawn_set import DrawnClip, DrawnSet
from rft.tasks.types import thought_before

FPS = Fraction(4)
DURATION_S = 8
COLOURS = tuple(RGB)
GUESSED = 0.4
"""Share of questions that the loose annotator answers at random."""

QUESTIONS = {
    "now": "Which colour has the band now?",
    "before": "Which colour did the band have before this one?",
    "first": "Which colour did the band have at first?",
}


def draw(rng: random.Random) -> DrawnClip:
    """A clip with three or four colours, and a question of each kind, each at a time of its own."""
    number = rng.choice((3, 4))
    edges = [0, *sorted(rng.sample(range(1, DURATION_S), number - 1)), DURATION_S]
    by_second: list[str] = []
    for start, end in pairwise(edges):
        colour = rng.choice([colour for colour in COLOURS if colour not in by_second[-1:]])
        by_second += [colour] * (end - start)
    pixels = grey_noise(rng, int(DURATION_S * FPS))
    blank = pixels.copy()
    for second, colour in enumerate(by_second):
        pixels[second * FPS.numerator : (second + 1) * FPS.numerator, SIDE // 4 : 3 * SIDE // 4] = RGB[colour]
    return DrawnClip(pixels, blank, tuple(_row(by_second, kind, rng) for kind in QUESTIONS))


def _row(by_second: list[str], kind: str, rng: random.Random) -> dict[str, object]:
    changes = [second for second in range(1, DURATION_S) if by_second[second] != by_second[second - 1]]
    now_s = rng.randint(changes[0] + 1 if kind == "before" else 2, DURATION_S)
    seen = by_second[:now_s]
    other = [colour for colour in seen if colour != seen[-1]]
    last_change = max((second for second in changes if second < now_s), default=0)
    right = {"now": seen[-1], "before": by_second[last_change - 1] if other else "", "first": seen[0]}[kind]
    said = rng.choice(COLOURS) if rng.random() < GUESSED else right
    return {
        "task": "stream_choice",
        "end_s": now_s - float(1 / FPS),  # the time of the last frame with the colour of now
        "question": QUESTIONS[kind],
        "options": list(COLOURS),
        "target": {"choice": "ABCD"[COLOURS.index(right)], "kind": kind},
        "demonstration": thought_before(f"<answer>{'ABCD'[COLOURS.index(said)]}</answer>", f"{' '.join(seen)} {said}"),
    }


DRAWN = {"streams": DrawnSet(draw, FPS, num_train=700, num_held_out=128)}
