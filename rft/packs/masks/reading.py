"""Answer text -> boxes, points, rings and grids. Any text is allowed; what is no such answer is a ValueError."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from rewards.parsing import LONGEST_ANSWER, read_once
from rewards.types import Box
from rft.packs.masks.mask import Rle, read_rle
from rft.packs.masks.raster import Point, Ring

MOST_RINGS = 3
MOST_POINTS = 12
LEAST_POINTS = 3
"""Limits of an outline: rings of a moment, points of a ring."""

MOST_COORDINATE = 1e6
"""A coordinate beyond it is no number that an answer can mean."""

_ROUND = str.maketrans("()", "[]")
_BLANK = re.compile(r"[\s,;/|\[\]\"']++")


@dataclass(frozen=True, slots=True)
class Keyframe:
    """A moment that shows the object, its box there, and points on it."""

    time_s: float
    box: Box
    points: tuple[Point, Point]


@read_once
def json_value(text: str) -> Any:
    """Value of a JSON text, a code fence around it and round brackets allowed. ValueError: no such text, or too long.

    Numbers are floats, none of them infinite.
    """
    if len(text) > LONGEST_ANSWER:
        raise ValueError("longer than an answer can be")
    text = text.strip().removeprefix("```json").removeprefix("```").removesuffix("```").translate(_ROUND)
    try:
        return json.loads(text, parse_int=float, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def read_boxes(text: str) -> tuple[Box | None, ...]:
    """A box or null per moment: "[[0.1, 0.2, 0.3, 0.4], null]"; a single box may stand alone. ValueError: no such."""
    value = json_value(text)
    if value is None or _are_numbers(value, 4):
        value = [value]
    if not isinstance(value, list):
        raise ValueError("no list of boxes")
    return tuple(None if box is None or box == [] else _box(box) for box in value)


def read_keyframe(text: str) -> Keyframe | None:
    """{"time": 2.5, "bbox": [..], "points_1": [x, y], "points_2": [x, y]}; None for null. ValueError: no such.

    The keys of Seg-Zero's answers; without "time" it is 0, the only moment of an image.
    """
    value = json_value(text)
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ValueError("no object with time, bbox, points_1 and points_2")
    (time_s,) = _numbers([value.get("time", 0.0)], 1)
    return Keyframe(time_s, _box(value.get("bbox")), (_point(value.get("points_1")), _point(value.get("points_2"))))


def read_outlines(text: str, count: int) -> tuple[tuple[Ring, ...] | Rle, ...]:
    """Rings, or COCO's run-length code, per moment: "[[[[0.1, 0.2], ...]], []]". ValueError: no such.

    With one moment (`count`) its rings, or its only ring, may stand alone.
    """
    value = json_value(text)
    if count == 1:
        value = _of_one_moment(value)
    if not isinstance(value, list):
        raise ValueError("no list of outlines")
    return tuple(_outline(outline) for outline in value)


def _of_one_moment(value: Any) -> Any:
    """[outline], of an outline that may stand alone: null, [], a run-length code, its rings, or its only ring."""
    is_whole = isinstance(value, list) and len(value) == 1 and (value[0] in (None, []) or isinstance(value[0], dict))
    if is_whole or _depth(value) > 3:
        return value
    return [[value]] if _depth(value) == 2 else [value]


@read_once
def read_cells(text: str) -> str | None:
    """The cells of one or more grids, "0" and "1" in reading order, without what divides them; None: other text."""
    cells = _BLANK.sub("", text) if len(text) <= LONGEST_ANSWER else ""
    return cells if cells and not cells.strip("01") else None


def _outline(value: object) -> tuple[Ring, ...] | Rle:
    if isinstance(value, dict):
        return read_rle({key: _whole(part) for key, part in value.items()})
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MOST_RINGS:
        raise ValueError(f"no list of at most {MOST_RINGS} rings")
    return tuple(_ring(ring) for ring in value)


def _whole(value: object) -> object:
    """A list of numbers with whole ones as integers, which they were in the text; anything else as it is."""
    if not isinstance(value, list):
        return value
    return [int(one) if isinstance(one, float) and one.is_integer() else one for one in value]


def _ring(value: object) -> Ring:
    if not isinstance(value, list) or not LEAST_POINTS <= len(value) <= MOST_POINTS:
        raise ValueError(f"no ring of {LEAST_POINTS} to {MOST_POINTS} points")
    return tuple(_point(point) for point in value)


def _box(value: object) -> Box:
    x0, y0, x1, y1 = _numbers(value, 4)
    return x0, y0, x1, y1


def _point(value: object) -> Point:
    x, y = _numbers(value, 2)
    return x, y


def _numbers(value: object, count: int) -> Sequence[float]:
    if not _are_numbers(value, count):
        raise ValueError(f"not {count} numbers")
    assert isinstance(value, list)
    return value


def _are_numbers(value: object, count: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == count
        and all(isinstance(number, float) and abs(number) <= MOST_COORDINATE for number in value)
    )


def _depth(value: object) -> int:
    depth = 0
    while isinstance(value, list) and value:
        value, depth = value[0], depth + 1
    return depth
