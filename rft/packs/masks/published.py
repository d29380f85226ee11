"""Rewards of a keyframe as Seg-Zero's released code judges them, its faults included.

Source: verl/utils/reward_score/seg.py of Seg-Zero (arXiv:2503.06520), commit 42a3345. Faults that are kept:
- it reads the first braces anywhere, those in the thought included, and no nested ones;
- any key with "bbox" in it is the box; the two first with "points" are the points, so that "point_1" is none;
- the IoU counts the last row and column of pixels twice: one is added to each side;
- points earn by lying in the answered box, which may fill the frame, and within 100 pixels of the true ones;
- values are 0 or 1. A box that misses 10 pixels by a little earns half.

It knows one image and no answer for an absent object. Its training images were 840 x 840 pixels, answers in pixels of
them; ours are parts of the frame and are multiplied by that. Integers, as its true boxes and points are, by rounding.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from rewards.parsing import LONGEST_ANSWER
from rewards.types import Score
from rft.packs.masks.raster import Point, inner_points, mask_box
from rft.packs.masks.rewards import boundary_score
from rft.packs.masks.targets import GridTarget, KeyframeTarget, MaskBoxesTarget, OutlineTarget

SIDE = 840
MOST_L1 = 10
MOST_DISTANCE = 100

_BRACES = re.compile(r"\{[^}]+\}")


def seg_zero_box(completion: str, target: KeyframeTarget) -> Score:
    """Half for a box IoU above 0.5, half for corners that are less than 10 pixels off in the mean; 0, 0.5 or 1."""
    answer = _first_object(completion)
    true = mask_box(target.track.nearest(_time(answer)))
    box = _box(answer)
    if box is None or true is None:
        return Score(0.0, None, "no box, or nothing to be seen")
    pixels = [round(value * SIDE) for value in true]
    try:
        parts = (_inclusive_iou(box, pixels) > 0.5, _l1(box, pixels) < MOST_L1)
    except (TypeError, OverflowError, ZeroDivisionError):
        return Score(0.0, None, "a corner is no number")
    return Score(sum(parts) / 2, str(box), f"{sum(parts)} of 2: IoU above 0.5, less than 10 pixels off")


def seg_zero_points(completion: str, target: KeyframeTarget) -> Score:
    """1 if both points lie in the answered box and less than 100 pixels from the two deepest true ones, else 0."""
    answer = _first_object(completion)
    true = inner_points(target.track.nearest(_time(answer)))
    box = _box(answer)
    names = [name for name in answer if "points" in name.lower()][:2]
    if box is None or true is None or len(names) < 2:
        return Score(0.0, None, "no box or no two points, or nothing to be seen")
    try:
        points = [(int(_pixels(answer[name][0])), int(_pixels(answer[name][1]))) for name in names]
        inside = all(box[0] <= x <= box[2] and box[1] <= y <= box[3] for x, y in points)
        distance = _distance(points, [(round(x * SIDE), round(y * SIDE)) for x, y in true])
    except (TypeError, ValueError, OverflowError, IndexError, KeyError):
        return Score(0.0, None, "a point is no two numbers")
    return Score(float(inside and distance < MOST_DISTANCE), str(points), f"{distance:.0f} pixels off")


def published_boundary(completion: str, target: OutlineTarget | MaskBoxesTarget | GridTarget) -> Score:
    """Mean F; a mask that fills the frame counts 1 where nothing is to be seen, as in the released code of DAVIS."""
    return boundary_score(completion, target, as_published=True)


def _first_object(completion: str) -> Mapping[str, Any]:
    """The first braces of the text as JSON; {} where there are none or they hold something else."""
    # The pattern tries every brace: one that is never closed must not cost the whole text each.
    last = completion.rfind("}", 0, LONGEST_ANSWER) + 1
    match = _BRACES.search(completion, 0, last)
    try:
        value = json.loads(match[0]) if match else {}
    except (ValueError, RecursionError):
        value = {}
    return value if isinstance(value, dict) else {}


def _time(answer: Mapping[str, Any]) -> float:
    time = answer.get("time", 0.0)
    return time if isinstance(time, (int, float)) and math.isfinite(time) else 0.0


def _box(answer: Mapping[str, Any]) -> list[Any] | None:
    name = next((name for name in answer if "bbox" in name.lower()), None)
    box = answer[name] if name is not None else None
    if not isinstance(box, list) or len(box) != 4:
        return None
    return [_pixels(value) if isinstance(value, (int, float)) else None for value in box]


def _pixels(share: float) -> float:
    # Rounded, so that pixels written as shares are the same pixels again.
    return round(share * SIDE, 6)


def _inclusive_iou(box: Sequence[float], true: Sequence[float]) -> float:
    x0, y0, x1, y1 = max(box[0], true[0]), max(box[1], true[1]), min(box[2], true[2]), min(box[3], true[3])
    common = (x1 - x0 + 1) * (y1 - y0 + 1) if x0 < x1 and y0 < y1 else 0
    areas = [(b[2] - b[0] + 1) * (b[3] - b[1] + 1) for b in (box, true)]
    return common / (areas[0] + areas[1] - common)


def _l1(box: Sequence[float], true: Sequence[float]) -> float:
    return sum(abs(a - b) for a, b in zip(box, true, strict=True)) / 4


def _distance(points: Sequence[Point], true: Sequence[Point]) -> float:
    """Mean distance in pixels, of the better of the two pairings."""
    pairings = (true, true[::-1])
    return min(sum(map(math.dist, points, pairing)) for pairing in pairings) / 2
