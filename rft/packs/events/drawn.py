"""Drawn clips of events: a shape seen once or twice, a flash, chapters of a colour each; the order of such colours."""

import random
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np

from rewards.types import Span
from rft.packs.events.targets import MomentTarget, OrderTarget, SpansTarget, TimedCaptionsTarget
from rft.synthetic.clips import RGB, SIDE, Pixels, grey_noise
from rft.synthetic.drawn_set import DrawnClip, DrawnSet
from rft.tasks.types import thought_before

FPS = Fraction(4)
DURATION_S = 8
COLOURS = tuple(RGB)
EARLY_S, LATE_S = 1.5, 0.5
"""Most seconds by which the loose annotator's spans begin too early and end too late, or the other way round."""
WRONG_COLOUR = 0.25
"""Share of chapters to which the loose annotator gives another colour."""
ANY_ORDER = 0.5
"""Share of clips whose colours the loose annotator names in any order."""


def draw(rng: random.Random) -> DrawnClip:
    """A clip of one of three kinds, with one row."""
    return rng.choice((_appearances, _flash, _chapters))(rng)


def _appearances(rng: random.Random) -> DrawnClip:
    """A square of one colour, seen once or twice, and of another colour, seen once between."""
    asked, other = rng.sample(COLOURS, 2)
    lengths = [rng.randint(2, 4) for _ in range(rng.choice((2, 3)))]
    free = 2 * DURATION_S - sum(lengths)
    gaps = sorted(rng.sample(range(free + 1), len(lengths)))
    spans = _half_seconds(gaps, lengths)
    is_other = rng.randrange(len(spans))
    pixels = grey_noise(rng, int(DURATION_S * FPS))
    blank = pixels.copy()
    for i, span in enumerate(spans):
        _square(pixels, span, RGB[other if i == is_other else asked], rng)
    true = [span for i, span in enumerate(spans) if i != is_other]
    said = SpansTarget(tuple(_loose(span, rng) for span in true)).written()
    words = _by_second([(span, "yes") for span in true])
    row = {"task": "event_spans", "query": f"the {asked} square is visible", "target": SpansTarget(tuple(true))}
    return _clip(pixels, blank, row, thought_before(said, words))


def _flash(rng: random.Random) -> DrawnClip:
    """A second of bright frames."""
    start = rng.randint(0, 2 * DURATION_S - 2) / 2
    span = (start, start + 1.0)
    pixels = grey_noise(rng, int(DURATION_S * FPS))
    blank = pixels.copy()
    first = int(start * FPS)
    pixels[first : first + FPS.numerator] = np.clip(pixels[first : first + FPS.numerator].astype(int) + 90, 0, 255)
    target = MomentTarget((span,))
    said = min(max(round(2 * rng.gauss(start + 0.5, 1.0)) / 2, 0.0), float(DURATION_S))
    row = {"task": "event_moment", "query": "a bright flash", "target": target}
    return _clip(pixels, blank, row, thought_before(f"<answer>{said}</answer>", _by_second([(span, "yes")])))


def _chapters(rng: random.Random) -> DrawnClip:
    """Two or three chapters, each with a band of another colour."""
    number = rng.choice((2, 3))
    edges = [0, *sorted(rng.sample(range(2, DURATION_S - 1, 2), number - 1)), DURATION_S]
    colours = rng.sample(COLOURS, number)
    spans = [(float(edges[i]), float(edges[i + 1])) for i in range(number)]
    pixels, blank = _banded(rng, spans, colours)
    events = tuple((span, f"{colour} band") for span, colour in zip(spans, colours, strict=True))
    said = tuple(
        (_loose(span, rng), f"{rng.choice(COLOURS) if rng.random() < WRONG_COLOUR else text.split()[0]} band")
        for span, text in events
    )
    words = _by_second([(span, text.split()[0]) for span, text in events])
    row = {"task": "timed_captions", "target": TimedCaptionsTarget(events)}
    return _clip(pixels, blank, row, thought_before(TimedCaptionsTarget(said).written(), words))


def draw_order(rng: random.Random) -> DrawnClip:
    """A clip with a band of two to four colours, one after the other, and the question in which order."""
    colours = rng.sample(COLOURS, rng.choice((2, 3, 4)))
    edges = [0, *sorted(rng.sample(range(1, DURATION_S), len(colours) - 1)), DURATION_S]
    spans = [(float(start), float(end)) for start, end in pairwise(edges)]
    pixels, blank = _banded(rng, spans, colours)
    said = rng.sample(colours, len(colours)) if rng.random() < ANY_ORDER else colours
    words = _by_second(list(zip(spans, colours, strict=True)))
    question = "In which order does the band show its colours?"
    row = {"task": "event_order", "question": question, "target": OrderTarget(tuple(colours))}
    return _clip(pixels, blank, row, thought_before(OrderTarget(tuple(said)).written(), words))


def _clip(pixels: Pixels, blank: Pixels, row: dict[str, Any], demonstration: str) -> DrawnClip:
    return DrawnClip(pixels, blank, ({**row, "target": row["target"].to_json(), "demonstration": demonstration},))


def _square(pixels: Pixels, span: Span, rgb: tuple[int, int, int], rng: random.Random) -> None:
    """Draws a square of a third of the frame's side during the span."""
    x, y = (rng.randint(2, SIDE - SIDE // 3 - 2) for _ in range(2))
    pixels[int(span[0] * FPS) : int(span[1] * FPS), y : y + SIDE // 3, x : x + SIDE // 3] = rgb


def _banded(rng: random.Random, spans: Sequence[Span], colours: Sequence[str]) -> tuple[Pixels, Pixels]:
    """Noise with a band of half the frame's height in each span's colour, and the noise alone."""
    pixels = grey_noise(rng, int(DURATION_S * FPS))
    blank = pixels.copy()
    for (start, end), colour in zip(spans, colours, strict=True):
        pixels[int(start * FPS) : int(end * FPS), SIDE // 4 : 3 * SIDE // 4] = RGB[colour]
    return pixels, blank


def _half_seconds(gaps: Sequence[int], lengths: Sequence[int]) -> list[Span]:
    """Spans of these lengths in half seconds, the i-th after gaps[i] free half seconds; none touches another."""
    starts = [gap + sum(lengths[:i]) for i, gap in enumerate(gaps)]
    return [(start / 2, (start + length) / 2) for start, length in zip(starts, lengths, strict=True)]


def _by_second(spans: Sequence[tuple[Span, str]]) -> str:
    """A word for each second of the clip, that of the span that covers most of it: "no no yes yes no ..."."""

    def word(second: int) -> str:
        shares = [(min(end, second + 1) - max(start, second), name) for (start, end), name in spans]
        share, name = max(shares)
        return name if share > 0 else "no"

    return " ".join(word(second) for second in range(DURATION_S))


def _loose(span: Span, rng: random.Random) -> Span:
    """The span in half seconds, with a systematic error: mostly too long."""
    start = max(0.0, round(2 * (span[0] - rng.uniform(-LATE_S, EARLY_S))) / 2)
    end = min(float(DURATION_S), round(2 * (span[1] + rng.uniform(-LATE_S, EARLY_S))) / 2)
    return (start, max(end, start + 0.5))


DRAWN = {
    "events": DrawnSet(draw, FPS, num_train=1500, num_held_out=384),
    "order": DrawnSet(draw_order, FPS, num_train=1500, num_held_out=384),
}
