"""What is true about an object's pixels, one kind of target for each form of the answer."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from rewards.parsing import parse_boxes
from rewards.targets.boxes import write_box
from rewards.targets.values import ENDLESS, read_list, read_numbers, read_text, shown, write_number
from rewards.types import Box, Fault, Target
from rft.packs.masks.mask import Mask, Rle, empty_mask, mask_of, read_rle, rle_of
from rft.packs.masks.metrics import region_overlap
from rft.packs.masks.raster import grid_of, inner_points, mask_box, mask_rings, rings_mask
from rft.packs.masks.reading import MOST_POINTS, read_boxes, read_cells, read_keyframe, read_outlines

NO_SIZE = (100, 100)
"""(height, width) of the masks of a target that states none, since the object is in no frame."""

MASKS = '{"times": [s, ...], "masks": [{"size": [height, width], "counts": ...} or null, ...]}'

PARTS = ((), ("object_class",), ("subsets",), ("object_class", "subsets"))
"""Optional keys of a JSON form: to which parts of an evaluation the row belongs."""


def _keys(*names: str) -> tuple[tuple[str, ...], ...]:
    """The keys of a JSON form, with and without the optional ones."""
    return tuple((*names, *extra) for extra in PARTS)


@dataclass(frozen=True, slots=True)
class Part:
    """Where a row belongs in an evaluation."""

    object_class: str | None = None
    """Class of the object, such as "cat"; over classes goes the mIoU of semantic segmentation."""
    subsets: tuple[str, ...] = ()
    """Such as "unseen" or "reasoning"."""

    def to_json(self) -> dict[str, object]:
        data: dict[str, object] = {"object_class": self.object_class} if self.object_class else {}
        return data | ({"subsets": list(self.subsets)} if self.subsets else {})


@dataclass(frozen=True, slots=True)
class Track:
    """The masks of an object at the moments that a question asks about."""

    times_s: tuple[float, ...]
    """Moments, in seconds from the start of the clip; () for the only moment of an image."""
    rles: tuple[Rle, ...]
    """A mask per moment, empty where the object is not to be seen; all of one size."""
    part: Part

    @property
    def masks(self) -> list[Mask]:
        return [mask_of(rle) for rle in self.rles]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the masks."""
        return self.rles[0].height, self.rles[0].width

    def to_json(self) -> dict[str, object]:
        masks = [rle.to_json() for rle in self.rles]
        return {"times": list(self.times_s), "masks": masks, **self.part.to_json()}

    def subsets(self) -> tuple[str, ...]:
        """The row's own, and whether the object is in all moments, in some or in none."""
        shown_in = [mask.area > 0 for mask in self.masks]
        presence = "present" if all(shown_in) else "partly absent" if any(shown_in) else "absent"
        return (*self.part.subsets, presence)

    def nearest(self, time_s: float) -> Mask:
        """The mask of the moment nearest to a time."""
        index = min(range(len(self.rles)), key=lambda i: abs(self.times_s[i] - time_s)) if self.times_s else 0
        return mask_of(self.rles[index])


@dataclass(frozen=True, slots=True)
class OutlineTarget(Target):
    """Masks to be answered as rings of points."""

    json_form = MASKS
    json_keys = _keys("times", "masks")
    answer_form = "<answer>[[[[x, y], ...], ...], ...]</answer>"

    track: Track

    @classmethod
    def from_json(cls, data: Mapping[str, object], problems: list[str]) -> Self:
        return cls(_read_track(data, problems))

    def to_json(self) -> dict[str, object]:
        return self.track.to_json()

    def written(self) -> str:
        """Rings where they give the mask exactly, else its run-length code, which is an answer too."""
        return f"<answer>[{', '.join(map(_write_outline, self.track.rles))}]</answer>"

    def format_problem(self, answer: str, completion: str) -> tuple[str, Fault] | None:
        try:
            outlines = read_outlines(answer, len(self.track.rles))
        except ValueError as error:
            return f"the answer is no list of outlines: {error}", "unreadable"
        height, width = self.track.size
        if any(isinstance(one, Rle) and (one.height, one.width) != (height, width) for one in outlines):
            return f"a run-length code is not of {height} x {width} pixels", "unreadable"
        return count_problem(len(outlines), len(self.track.rles), "outlines")

    def subsets(self) -> tuple[str, ...]:
        return self.track.subsets()


@dataclass(frozen=True, slots=True)
class MaskBoxesTarget(Target):
    """Masks to be answered by their boxes."""

    json_form = MASKS
    json_keys = _keys("times", "masks")
    answer_form = "<answer>[[left, top, right, bottom] or null, ...]</answer>"

    track: Track

    @classmethod
    def from_json(cls, data: Mapping[str, object], problems: list[str]) -> Self:
        return cls(_read_track(data, problems))

    def to_json(self) -> dict[str, object]:
        return self.track.to_json()

    def written(self) -> str:
        boxes = [mask_box(mask) for mask in self.track.masks]
        return f"<answer>[{', '.join(write_box(box) if box else 'null' for box in boxes)}]</answer>"

    def format_problem(self, answer: str, completion: str) -> tuple[str, Fault] | None:
        try:
            boxes = read_boxes(answer)
        except ValueError as error:
            return f"the answer is no list of boxes: {error}", "unreadable"
        return count_problem(len(boxes), len(self.track.rles), "boxes")

    def subsets(self) -> tuple[str, ...]:
        return self.track.subsets()


@dataclass(frozen=True, slots=True)
class KeyframeTarget(Target):
    """Masks of which one is to be shown to a segmenter: by its moment, its box and two points on it."""

    json_form = MASKS
    json_keys = _keys("times", "masks")
    answer_form = (
        '<answer>{"time": seconds, "bbox": [left, top, right, bottom], "points_1": [x, y], "points_2": [x, y]}</answer>'
    )

    track: Track

    @classmethod
    def from_json(cls, data: Mapping[str, object], problems: list[str]) -> Self:
        return cls(_read_track(data, problems))

    def to_json(self) -> dict[str, object]:
        return self.track.to_json()

    def written(self) -> str:
        """The moment with the largest mask, its box and its two deepest points; null if the object is in none."""
        masks = self.track.masks
        best = max(range(len(masks)), key=lambda i: masks[i].area)
        box, points = mask_box(masks[best]), inner_points(masks[best])
        if box is None or points is None:
            return "<answer>null</answer>"
        time = f'"time": {write_number(self.track.times_s[best])}, ' if self.track.times_s else ""
        ends = ", ".join(f'"points_{i}": {write_box(point)}' for i, point in enumerate(points, start=1))
        return f'<answer>{{{time}"bbox": {write_box(box)}, {ends}}}</answer>'

    def format_problem(self, answer: str, completion: str) -> tuple[str, Fault] | None:
        try:
            read_keyframe(answer)
        except ValueError as error:
            return f"the answer is no keyframe: {error}", "unreadable"
        return None

    def subsets(self) -> tuple[str, ...]:
        return self.track.subsets()


@dataclass(frozen=True, slots=True)
class GridTarget(Target):
    """Masks to be answered as grids of 0 and 1."""

    json_form = f'{MASKS[:-1]}, "side": 4}}'
    json_keys = _keys("times", "masks", "side")
    answer_form = "<answer>0 or 1 for each cell</answer>"

    track: Track
    side: int
    """Cells in a row and in a column."""

    @classmethod
    def from_json(cls, data: Mapping[str, object], problems: list[str]) -> Self:
        side = data["side"]
        if not (type(side) is int and 1 <= side <= 32):
            problems.append(f"side: {shown(side)} is not a whole number from 1 to 32")
            side = 1
        return cls(_read_track(data, problems), side)

    def to_json(self) -> dict[str, object]:
        return {**self.track.to_json(), "side": self.side}

    @property
    def grids(self) -> list[Mask]:
        """The true cells of each moment."""
        return [grid_of(mask, self.side) for mask in self.track.masks]

    def written(self) -> str:
        return f"<answer>{'; '.join(map(write_grid, self.grids))}</answer>"

    def format_problem(self, answer: str, completion: str) -> tuple[str, Fault] | None:
        cells = read_cells(answer)
        if cells is None:
            return "the answer is no grid of 0 and 1", "unreadable"
        return count_problem(len(cells), len(self.track.rles) * self.side**2, "cells")

    def subsets(self) -> tuple[str, ...]:
        return self.track.subsets()


@dataclass(frozen=True, slots=True)
class RegionTarget(Target):
    """The box of what a phrase means, in one frame: RegionTarget((0.1, 0.2, 0.3, 0.45))."""

    json_form = '{"box": [left, top, right, bottom]}'
    json_keys = _keys("box")
    answer_form = "<answer>[left, top, right, bottom]</answer>"

    box: Box
    part: Part = field(default_factory=Part)

    @classmethod
    def from_json(cls, data: Mapping[str, object], problems: list[str]) -> Self:
        x0, y0, x1, y1 = read_numbers("box", data["box"], 4, problems) or (0.0, 0.0, 1.0, 1.0)
        if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
            problems.append(
                f"box: {shown(data['box'])} is not [left, top, right, bottom] with left < right, top < bottom, in "
                "[0, 1]; divide x by the width, y by the height"
            )
        return cls((x0, y0, x1, y1), _read_part(data, problems))

    def to_json(self) -> dict[str, object]:
        return {"box": list(self.box), **self.part.to_json()}

    def written(self) -> str:
        return f"<answer>{write_box(self.box)}</answer>"

    def format_problem(self, answer: str, completion: str) -> tuple[str, Fault] | None:
        boxes = parse_boxes(answer)
        if boxes is None:
            return "the answer is no box", "unreadable"
        return count_problem(len(boxes), 1, "boxes")

    def subsets(self) -> tuple[str, ...]:
        return self.part.subsets


def write_grid(grid: Mask) -> str:
    """The rows of a grid from top to bottom: "0110 0110 0000 0000"."""
    rows = (
        "".join("1" if grid.has(row, column) else "0" for column in range(grid.width)) for row in range(grid.height)
    )
    return " ".join(rows)


def count_problem(answered: int, asked: int, what: str) -> tuple[str, Fault] | None:
    """(note, fault) of an answer with another number of parts than asked for."""
    return None if answered == asked else (f"the answer has {answered} {what}, asked for {asked}", "wrong_count")


def _write_outline(rle: Rle) -> str:
    mask = mask_of(rle)
    rings = mask_rings(mask, MOST_POINTS)
    if region_overlap(rings_mask(rings, *mask.size), mask) < 1:
        return json.dumps(rle.to_json())
    return _listed(_listed(map(write_box, ring)) for ring in rings)


def _listed(texts: Iterable[str]) -> str:
    return f"[{', '.join(texts)}]"


def _read_track(data: Mapping[str, object], problems: list[str]) -> Track:
    """Problems of a JSON object with times and masks are added to `problems`; the track is then not used."""
    given = read_list("masks", data["masks"], 1, problems)
    stated = data["times"]
    times = read_numbers("times", stated, len(stated) if isinstance(stated, (list, tuple)) else 1, problems) or ()
    if min(times, default=0.0) < 0 or max(times, default=0.0) > ENDLESS:
        problems.append(f"times: {shown(stated)} are not seconds from the start of the clip")
    if len(times) != len(given) and not (len(given) == 1 and times == ()):
        problems.append(f"masks: {len(given)}, but {len(times)} times; give a mask, or null, per time")
    rles: list[Rle | None] = []
    for i, mask in enumerate(given):
        try:
            rles.append(None if mask is None else read_rle(mask))
        except ValueError as error:
            problems.append(f"masks[{i}]: {error}")
    sizes = sorted({(rle.height, rle.width) for rle in rles if rle})
    if len(sizes) > 1:
        problems.append(f"masks: sizes differ: {', '.join(f'{h} x {w}' for h, w in sizes)}")
    absent = rle_of(empty_mask(*(sizes[0] if sizes else NO_SIZE)))
    return Track(times, tuple(rle or absent for rle in rles), _read_part(data, problems))


def _read_part(data: Mapping[str, object], problems: list[str]) -> Part:
    name = read_text("object_class", data["object_class"], problems) if "object_class" in data else None
    subsets = read_list("subsets", data.get("subsets", []), 0, problems)
    return Part(name, tuple(read_text(f"subsets[{i}]", subset, problems) for i, subset in enumerate(subsets)))
