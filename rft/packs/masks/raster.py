"""Boxes, rings of points and grids -> masks and back. Coordinates are parts of width and height, rows go down."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from rewards.types import Box
from rft.packs.masks.mask import Mask, mask_of_runs
from rft.packs.masks.metrics import dilated, eroded

Point = tuple[float, float]
"""(x, y)."""
Ring = tuple[Point, ...]
"""Corners of a closed outline, in order."""

CELL_SHARE = 0.5
"""A cell of a grid is on if the mask covers at least this share of it."""


def box_mask(box: Box, height: int, width: int) -> Mask:
    """The pixels whose centre lies in a box."""
    x0, y0, x1, y1 = box
    top, bottom = _first_centre(y0, height), _first_centre(y1, height)
    columns = range(_first_centre(x0, width), _first_centre(x1, width))
    runs = [(column * height + top, column * height + bottom) for column in columns if top < bottom]
    return mask_of_runs(height, width, runs)


def rings_mask(rings: Sequence[Ring], height: int, width: int) -> Mask:
    """The pixels whose centre lies in an odd number of rings: a ring inside another one is a hole.

    COCO's own rasteriser differs at the border: it draws the outline on a finer grid.
    """
    crossings: dict[int, list[float]] = {}
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, (*ring[1:], *ring[:1]), strict=True):
            if x0 > x1:
                x0, y0, x1, y1 = x1, y1, x0, y0
            for column in range(_first_centre(x0, width), _first_centre(x1, width)):
                y = y0 + ((column + 0.5) / width - x0) * (y1 - y0) / (x1 - x0)
                crossings.setdefault(column, []).append(min(1.0, max(0.0, y)))
    return mask_of_runs(height, width, _column_runs(crossings, height))


def _column_runs(crossings: dict[int, list[float]], height: int) -> Iterator[tuple[int, int]]:
    for column in sorted(crossings):
        edges = sorted(_first_centre(y, height) for y in crossings[column])
        yield from ((column * height + a, column * height + b) for a, b in zip(edges[::2], edges[1::2], strict=False))


def _first_centre(share: float, count: int) -> int:
    """Index of the first of `count` pixels whose centre lies at or after a share of the side, itself cut to [0, 1]."""
    return math.ceil(min(1.0, max(0.0, share)) * count - 0.5)


def mask_box(mask: Mask) -> Box | None:
    """The smallest box around a mask, with four decimals; None if it is empty."""
    if not mask.bits:
        return None
    height, width = mask.size
    pixels = height * width
    first, last = pixels - mask.bits.bit_length(), pixels - 1 - ((mask.bits & -mask.bits).bit_length() - 1)
    rows, column = 0, (1 << height) - 1
    for x in range(first // height, last // height + 1):
        rows |= mask.bits >> (width - 1 - x) * height & column
    top, bottom = height - rows.bit_length(), height - ((rows & -rows).bit_length() - 1)
    x0, x1 = first // height / width, (last // height + 1) / width
    return round(x0, 4), round(top / height, 4), round(x1, 4), round(bottom / height, 4)


def mask_rings(mask: Mask, most_points: int) -> tuple[Ring, ...]:
    """One ring of at most `most_points` around a mask: its upper and lower edge, sampled evenly; () if it is empty.

    Exact for a convex shape with few corners, a rough outline of any other.
    """
    height, width = mask.size
    edges: dict[int, tuple[int, int]] = {}
    for start, end in mask.runs():
        for column in range(start // height, (end - 1) // height + 1):
            top, bottom = max(start - column * height, 0), min(end - column * height, height)
            known = edges.get(column, (top, bottom))
            edges[column] = (min(top, known[0]), max(bottom, known[1]))
    if not edges:
        return ()
    columns = sorted(edges)
    count = min(len(columns), most_points // 2)
    chosen = [columns[round(i * (len(columns) - 1) / max(1, count - 1))] for i in range(count)]
    if len(chosen) == 1:
        chosen *= 2
    # Outer borders of the first and last column, centres of the others.
    xs = [chosen[0] / width, *((x + 0.5) / width for x in chosen[1:-1]), (chosen[-1] + 1) / width]
    upper = [(round(x, 4), round(edges[column][0] / height, 4)) for x, column in zip(xs, chosen, strict=True)]
    lower = [(round(x, 4), round(edges[column][1] / height, 4)) for x, column in zip(xs, chosen, strict=True)]
    return ((*upper, *reversed(lower)),)


def inner_points(mask: Mask) -> tuple[Point, Point] | None:
    """The deepest point of a mask, and the deepest of those that are not near it; None if the mask is empty."""
    if not mask.bits:
        return None
    index, depth = _deepest(mask.bits, mask)
    rest = mask.bits & ~dilated(1 << index, *mask.size, depth)
    return _point(index, mask), _point(_deepest(rest, mask)[0] if rest else index, mask)


def _deepest(bits: int, mask: Mask) -> tuple[int, int]:
    """(index of a bit that erosion reaches last, number of erosions that it takes); of equals the middle one."""
    left, depth = bits, 0
    while left:
        bits, left, depth = left, eroded(left, *mask.size), depth + 1
    text = format(bits, "b")
    places = [i for i, bit in enumerate(text) if bit == "1"]
    return len(text) - 1 - places[len(places) // 2], depth


def _point(index: int, mask: Mask) -> Point:
    column, row = divmod(mask.height * mask.width - 1 - index, mask.height)
    return round((column + 0.5) / mask.width, 4), round((row + 0.5) / mask.height, 4)


def point_in(point: Point, mask: Mask) -> bool:
    """Whether the pixel under a point belongs to a mask; points outside the frame do not."""
    x, y = point
    if not (0 <= x <= 1 and 0 <= y <= 1):
        return False
    row, column = min(int(y * mask.height), mask.height - 1), min(int(x * mask.width), mask.width - 1)
    return mask.has(row, column)


def grid_of(mask: Mask, side: int) -> Mask:
    """The cells of a side x side grid that a mask covers by half; if none, the one that it covers most."""
    height, width = mask.size
    edges = [_first_centre(i / side, height) for i in range(side + 1)]
    covered, every = [0.0] * side**2, (1 << height) - 1
    for x in range(width):
        column = mask.bits >> (width - 1 - x) * height & every
        for row, (top, bottom) in enumerate(pairwise(edges)):
            part = column >> height - bottom & (1 << bottom - top) - 1
            covered[_cell(x, width, side) * side + row] += part.bit_count() * side**2 / (height * width)
    least = min(CELL_SHARE, max(covered))
    return Mask(side, side, int("".join("1" if least and share >= least else "0" for share in covered), 2))


def _cell(pixel: int, count: int, side: int) -> int:
    """Index of the cell, of `side`, that holds the centre of one of `count` pixels."""
    return int((pixel + 0.5) / count * side)


def enlarged(mask: Mask, height: int, width: int) -> Mask:
    """A mask of few cells as one of height x width pixels: the cell under the pixel's centre decides."""
    columns = [_cell(x, width, mask.width) for x in range(width)]
    rows = [_cell(y, height, mask.height) for y in range(height)]
    text = "".join("1" if mask.has(row, column) else "0" for column in columns for row in rows)
    return Mask(height, width, int(text, 2))
