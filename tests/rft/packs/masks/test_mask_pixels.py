"""Masks: COCO's run-length code, rasterising, J and F."""

import math
import random
from collections.abc import Callable

import pytest

from rft.packs.masks.mask import Mask, Rle, compressed, decompressed, empty_mask, mask_of, read_rle, rle_of
from rft.packs.masks.metrics import boundary, boundary_agreement, dilated, region_overlap
from rft.packs.masks.raster import (
    box_mask,
    enlarged,
    grid_of,
    inner_points,
    mask_box,
    mask_rings,
    point_in,
    rings_mask,
)


def mask(*rows: str) -> Mask:
    """A mask from its rows of "." and "#"."""
    columns = ("".join(column) for column in zip(*rows, strict=True))
    return Mask(len(rows), len(rows[0]), int("".join(columns).replace("#", "1").replace(".", "0"), 2))


def rows_of(one: Mask) -> list[str]:
    return ["".join("#" if one.has(row, column) else "." for column in range(one.width)) for row in range(one.height)]


def random_mask(rng: random.Random) -> Mask:
    height, width = rng.randint(1, 9), rng.randint(1, 9)
    return Mask(height, width, rng.getrandbits(height * width))


CODES = [
    # Texts that pycocotools 2.0.11 writes for these masks.
    (mask("....", "....", "...."), [12], "<"),
    (mask("####", "####", "####"), [0, 12], "0<"),
    (mask("#...", "#...", "...."), [0, 2, 10], "02:"),
    (mask("....", ".##.", ".##."), [4, 2, 1, 2, 3], "42102"),
]


@pytest.mark.parametrize(("one", "counts", "text"), CODES)
def test_a_mask_is_its_run_lengths(one: Mask, counts: list[int], text: str) -> None:
    rle = rle_of(one)
    assert (decompressed(rle.counts), rle.counts) == (counts, text)
    assert mask_of(rle) == one
    assert read_rle({"size": list(one.size), "counts": counts}) == read_rle(rle.to_json()) == rle


def test_random_masks_survive_their_code() -> None:
    rng = random.Random(0)
    for _ in range(200):
        one = random_mask(rng)
        assert mask_of(rle_of(one)) == one
    counts = [rng.choice([0, 1, 5, 31, 32, 1_000, 70_000]) for _ in range(50)]
    assert decompressed(compressed(counts)) == counts


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("x", "size"),
        ({"size": [2, 2], "counts": [1, 2]}, "add up to 3 pixels, size to 4"),
        ({"size": [2, 2], "counts": [5, -1]}, "add up"),
        ({"size": [2, 0], "counts": [0]}, r"size is not \[height, width\]"),
        ({"size": [2, True], "counts": [0]}, "size is not"),
        ({"size": [2, 2], "counts": [4.0]}, "neither"),
        ({"size": [2, 2], "counts": "a b"}, "which no COCO text does"),
        ({"size": [2, 2], "counts": "o"}, "in the middle"),
        ({"size": [2, 2], "counts": "o" * 50}, "endless"),
        ({"size": [100_000, 100_000], "counts": [10**10]}, "more than"),
    ],
)
def test_what_is_no_code_is_refused(data: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_rle(data)


def test_boxes_and_rings_hold_the_pixels_whose_centre_they_hold() -> None:
    assert rows_of(box_mask((0.25, 0.0, 0.75, 0.5), 2, 4)) == [".##.", "...."]
    assert rows_of(box_mask((0.4, -3.0, 9.0, 0.2), 2, 4)) == ["....", "...."]
    assert rows_of(box_mask((0.7, 0.7, 0.2, 0.2), 2, 4)) == ["....", "...."]
    triangle = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))
    assert rows_of(rings_mask([triangle], 4, 4)) == ["###.", "##..", "#...", "...."]
    whole = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
    hole = ((0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75))
    assert rows_of(rings_mask([whole, hole], 4, 4)) == ["####", "#..#", "#..#", "####"]
    bow = ((0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0))
    assert rows_of(rings_mask([bow], 4, 4)) == ["#..#", "####", "#..#", "...."]
    assert rows_of(rings_mask([((-9.0, -9.0), (9.0, -9.0), (9.0, 9.0), (-9.0, 9.0))], 2, 2)) == ["##", "##"]
    assert rings_mask([], 2, 2) == empty_mask(2, 2)


def test_a_mask_gives_its_box_points_rings_and_cells() -> None:
    cross = mask(".....", "..#..", ".###.", "..#..", ".....", ".....")
    assert mask_box(cross) == (0.2, round(1 / 6, 4), 0.8, round(4 / 6, 4))
    points = inner_points(cross)
    assert points is not None
    assert points[0] == (0.5, round(2.5 / 6, 4))
    assert all(point_in(point, cross) for point in points)
    assert (mask_box(empty_mask(2, 2)), inner_points(empty_mask(2, 2)), mask_rings(empty_mask(2, 2), 12)) == (
        None,
        None,
        (),
    )
    block = mask("....", ".##.", ".##.", "....")
    assert rings_mask(mask_rings(block, 12), 4, 4) == block
    assert (point_in((0.3, 0.3), block), point_in((0.1, 0.3), block), point_in((1.1, 0.5), block)) == (
        True,
        False,
        False,
    )
    assert rows_of(grid_of(mask("##..", "##..", "#...", "...."), 2)) == ["#.", ".."]
    assert rows_of(grid_of(mask("....", "....", "....", "...#"), 2)) == ["..", ".#"]
    assert grid_of(empty_mask(4, 4), 2) == empty_mask(2, 2)
    assert rows_of(enlarged(mask("#.", ".."), 4, 3)) == ["#..", "#..", "...", "..."]


OVERLAPS = [
    (mask("##..", "##.."), mask("##..", "##.."), 1.0, 1.0),
    (mask("##..", "##.."), mask(".##.", ".##."), 1 / 3, 1.0),  # boundaries one pixel apart: within the radius of 1
    (mask("....", "...."), mask("....", "...."), 1.0, 1.0),
    (mask("....", "...."), mask("##..", "##.."), 0.0, 0.0),
    (mask("####", "####"), mask("##..", "##.."), 0.5, 0.0),  # a whole frame has no boundary
    (mask("#...", "...."), mask("...#", "...."), 0.0, 0.0),
]


@pytest.mark.parametrize(("answered", "true", "j", "f"), OVERLAPS)
def test_j_and_f(answered: Mask, true: Mask, j: float, f: float) -> None:
    assert region_overlap(answered, true) == pytest.approx(j)
    assert boundary_agreement(answered, true) == pytest.approx(f)


def test_a_whole_frame_agrees_with_an_empty_truth_as_published_alone() -> None:
    whole, none = mask("##", "##"), empty_mask(2, 2)
    assert boundary_agreement(whole, none, as_published=True) == 1.0
    assert boundary_agreement(whole, none) == 0.0


def test_boundaries_and_disks_pixel_by_pixel() -> None:
    rng = random.Random(1)
    for _ in range(60):
        one = random_mask(rng)
        height, width = one.size
        edge = Mask(height, width, boundary(one))
        radius = rng.randint(0, 3)
        disk = Mask(height, width, dilated(one.bits, height, width, radius))
        for row in range(height):
            for column in range(width):
                steps = (
                    ((0, 1),) if row == height - 1 else ((1, 0),) if column == width - 1 else ((0, 1), (1, 0), (1, 1))
                )
                inside = [(row + r, column + c) for r, c in steps if row + r < height and column + c < width]
                assert edge.has(row, column) == any(one.has(*near) != one.has(row, column) for near in inside)
                near = any(
                    one.has(r, c) and math.hypot(r - row, c - column) <= radius
                    for r in range(height)
                    for c in range(width)
                )
                assert disk.has(row, column) == near


FORMULAS = [
    (
        40,
        30,
        lambda x, y: (x - 14) ** 2 + (y - 20) ** 2 <= 150,
        "R35P16K4M2N2N2O0O2O000O2O00000001N10001N101N2N2N3L5JY3",
    ),
    (9, 7, lambda x, y: (x * x * 7 + y * 13) % 11 < 4, "0240O01OO10OO1111OO000O010N"),
    (300, 200, lambda x, y: y >= x and x < 3, r"0\91O1Ojfi1"),
]


@pytest.mark.parametrize(("height", "width", "covers", "text"), FORMULAS)
def test_texts_are_those_of_pycocotools(height: int, width: int, covers: Callable[[int, int], bool], text: str) -> None:
    """Texts that pycocotools 2.0.11 writes."""
    pixels = "".join("1" if covers(x, y) else "0" for x in range(width) for y in range(height))
    one = Mask(height, width, int(pixels, 2))
    assert rle_of(one).counts == text
    assert mask_of(Rle(height, width, text)) == one


def test_a_large_mask_is_read_in_time() -> None:
    rle = Rle(1080, 1920, compressed([10, 5] * (1080 * 1920 // 15)))
    assert mask_of(rle).area == 1080 * 1920 // 3
