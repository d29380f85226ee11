"""Tasks of masks: what a phrase means, as rings, boxes, a keyframe or a grid; and the box of a phrase in one frame."""

from collections.abc import Mapping, Sequence
from statistics import fmean as mean
from statistics import median
from typing import ClassVar

from pydantic import Field

from rewards.targets.boxes import write_box
from rewards.targets.values import write_number
from rewards.types import Box
from rft.packs.masks.corpus import corpus_figures
from rft.packs.masks.mask import Mask, mask_of_runs, rle_of
from rft.packs.masks.published import published_boundary, seg_zero_box, seg_zero_points
from rft.packs.masks.raster import mask_box
from rft.packs.masks.reading import MOST_POINTS, MOST_RINGS
from rft.packs.masks.rewards import (
    MaskTarget,
    answered_pixels,
    box_overlap,
    inner_points,
    keyframe_box,
    keyframe_view,
    mask_boundary,
    mask_iou,
    region_iou,
)
from rft.packs.masks.targets import (
    GridTarget,
    KeyframeTarget,
    MaskBoxesTarget,
    OutlineTarget,
    RegionTarget,
    Track,
    write_grid,
)
from rft.tasks.types import LATE_END_S, Answers, HeldOut, Rewards, Row, Task

MASKS: Rewards = {"mask_iou": mask_iou, "mask_boundary": mask_boundary}
PUBLISHED_MASKS: Rewards = {"mask_iou": mask_iou, "mask_boundary": published_boundary}

OF_FRAME = "as parts of the width and height, from the top left corner"

CONSTANT_BOXES: dict[str, Box] = {"full_frame": (0.0, 0.0, 1.0, 1.0), "centre_half": (0.25, 0.25, 0.75, 0.75)}
"""Baseline name -> the box that it answers everywhere."""


class MaskRow(Row):
    query: str = Field(min_length=1)
    """What is meant, as a phrase or as a question."""


EXAMPLE_MASK = rle_of(mask_of_runs(6, 8, [(8, 10), (14, 16), (20, 22)])).to_json()
"""Pixels of columns 1 to 3, rows 2 and 3."""

EXAMPLE = {"video": "garden.mp4", "duration_s": 8.0, "query": "the dog that is chased"}


class MaskOutline(Task):
    name = "mask_outline"
    row_type = MaskRow
    target_type = OutlineTarget
    example = MaskRow(
        id="example", task="mask_outline", target={"times": [1.5, 4.0], "masks": [EXAMPLE_MASK, None]}, **EXAMPLE
    )
    rewards = (("mask_iou", 1.0),)
    own_rewards: ClassVar[Rewards] = MASKS
    published_rewards: ClassVar[Rewards] = PUBLISHED_MASKS
    main_metric = "J&F"

    def question(self, row: MaskRow, target: OutlineTarget) -> str:
        return (
            f"{_found(row, target.track)} give its outline: at most {MOST_RINGS} rings of 3 to {MOST_POINTS} points "
            f"[x, y], {OF_FRAME}; a ring inside another one is a hole, [] means that it is not to be seen."
        )

    def row_problems(self, row: MaskRow, target: OutlineTarget) -> list[str]:
        return _time_problems(row, target.track)

    def metrics(self, completion: str, target: OutlineTarget, rewards: Rewards) -> dict[str, float]:
        return _mask_metrics(completion, target, rewards)

    def corpus_metrics(self, judged: Sequence[tuple[OutlineTarget, Mapping[str, float]]]) -> dict[str, float]:
        return corpus_figures([(target.track, values) for target, values in judged])

    def baselines(self, train: Sequence[OutlineTarget], rows: HeldOut[OutlineTarget]) -> Answers:
        boxes = _constant_boxes([target.track for target in train])
        answers = {name: f"[{_corners(box)}]" for name, box in boxes.items()} | {"empty": "[]"}
        return _everywhere(answers, [target.track for target, _ in rows])


class MaskBoxes(Task):
    name = "mask_boxes"
    row_type = MaskRow
    target_type = MaskBoxesTarget
    example = MaskRow(
        id="example", task="mask_boxes", target={"times": [1.5, 4.0], "masks": [EXAMPLE_MASK, None]}, **EXAMPLE
    )
    rewards = (("box_overlap", 1.0),)
    own_rewards: ClassVar[Rewards] = {"box_overlap": box_overlap, **MASKS}
    published_rewards: ClassVar[Rewards] = PUBLISHED_MASKS
    main_metric = "box_IoU"

    def question(self, row: MaskRow, target: MaskBoxesTarget) -> str:
        return (
            f"{_found(row, target.track)} give its box: left, top, right, bottom, {OF_FRAME}; null where it is not to "
            "be seen."
        )

    def row_problems(self, row: MaskRow, target: MaskBoxesTarget) -> list[str]:
        return _time_problems(row, target.track)

    def metrics(self, completion: str, target: MaskBoxesTarget, rewards: Rewards) -> dict[str, float]:
        box_iou = rewards["box_overlap"](completion, target).value
        return {"box_IoU": box_iou, **_mask_metrics(completion, target, rewards)}

    def corpus_metrics(self, judged: Sequence[tuple[MaskBoxesTarget, Mapping[str, float]]]) -> dict[str, float]:
        return corpus_figures([(target.track, values) for target, values in judged])

    def baselines(self, train: Sequence[MaskBoxesTarget], rows: HeldOut[MaskBoxesTarget]) -> Answers:
        boxes = _constant_boxes([target.track for target in train])
        answers = {name: write_box(box) for name, box in boxes.items()} | {"empty": "null"}
        return _everywhere(answers, [target.track for target, _ in rows])


class MaskKeyframe(Task):
    name = "mask_keyframe"
    row_type = MaskRow
    target_type = KeyframeTarget
    example = MaskRow(
        id="example", task="mask_keyframe", target={"times": [1.5, 4.0], "masks": [EXAMPLE_MASK, None]}, **EXAMPLE
    )
    rewards = (("keyframe_box", 1.0), ("inner_points", 1.0), ("keyframe_view", 1.0))
    own_rewards: ClassVar[Rewards] = {
        "keyframe_box": keyframe_box,
        "inner_points": inner_points,
        "keyframe_view": keyframe_view,
    }
    # Seg-Zero knows one image, so that the moment is ours.
    published_rewards: ClassVar[Rewards] = {
        "keyframe_box": seg_zero_box,
        "inner_points": seg_zero_points,
        "keyframe_view": keyframe_view,
    }
    main_metric = "mean"

    def question(self, row: MaskRow, target: KeyframeTarget) -> str:
        choose = (
            "Choose the moment that shows it best. Give that time in seconds, its box there "
            if row.video
            else ("Give its box ")
        )
        return (
            f"Find this: {row.query.strip()}\n{choose}(left, top, right, bottom) and two points that lie on it, well "
            f"inside, {OF_FRAME}; null if it is not to be seen."
        )

    def row_problems(self, row: MaskRow, target: KeyframeTarget) -> list[str]:
        return _time_problems(row, target.track)

    def metrics(self, completion: str, target: KeyframeTarget, rewards: Rewards) -> dict[str, float]:
        parts = {name: rewards[name](completion, target).value for name, _ in self.rewards}
        return {"mean": mean(parts.values()), **parts, "R@0.5": float(parts["keyframe_box"] >= 0.5)}

    def baselines(self, train: Sequence[KeyframeTarget], rows: HeldOut[KeyframeTarget]) -> Answers:
        answers = {"empty": ["<answer>null</answer>"] * len(rows)}
        for name, (x0, y0, x1, y1) in _constant_boxes([target.track for target in train]).items():
            centre = write_box(((x0 + x1) / 2, (y0 + y1) / 2))
            there = f'"bbox": {write_box((x0, y0, x1, y1))}, "points_1": {centre}, "points_2": {centre}}}</answer>'
            answers[name] = [f'<answer>{{"time": {write_number((clip_s or 0.0) / 2)}, {there}' for _, clip_s in rows]
        return answers


class MaskGrid(Task):
    name = "mask_grid"
    row_type = MaskRow
    target_type = GridTarget
    example = MaskRow(
        id="example", task="mask_grid", target={"times": [1.5], "masks": [EXAMPLE_MASK], "side": 4}, **EXAMPLE
    )
    rewards = (("mask_iou", 1.0),)
    own_rewards: ClassVar[Rewards] = MASKS
    published_rewards: ClassVar[Rewards] = PUBLISHED_MASKS
    main_metric = "cell_IoU"

    def question(self, row: MaskRow, target: GridTarget) -> str:
        return (
            f"{_found(row, target.track)} give the {target.side} x {target.side} cells of the frame, row by row from "
            "the top: 1 where it covers at least half of the cell, else 0."
        )

    def row_problems(self, row: MaskRow, target: GridTarget) -> list[str]:
        return _time_problems(row, target.track)

    def metrics(self, completion: str, target: GridTarget, rewards: Rewards) -> dict[str, float]:
        cell_iou = rewards["mask_iou"](completion, target).value
        return {"cell_IoU": cell_iou, **_mask_metrics(completion, target, rewards)}

    def corpus_metrics(self, judged: Sequence[tuple[GridTarget, Mapping[str, float]]]) -> dict[str, float]:
        return corpus_figures([(target.track, values) for target, values in judged])

    def baselines(self, train: Sequence[GridTarget], rows: HeldOut[GridTarget]) -> Answers:
        sides = {target.side for target, _ in rows}
        answers = {
            name: {side: cell * side**2 for side in sides} for name, cell in (("full_frame", "1"), ("empty", "0"))
        }
        means = {side: _mean_grid([grid for t in train if t.side == side for grid in t.grids]) for side in sides}
        if all(means.values()):
            answers["mean_mask"] = {side: text for side, text in means.items() if text}
        return {
            name: [f"<answer>{'; '.join([texts[target.side]] * len(target.track.rles))}</answer>" for target, _ in rows]
            for name, texts in answers.items()
        }


class RegionRow(Row):
    phrase: str = Field(min_length=1)
    """What is meant."""
    at_s: float | None = Field(None, ge=0, allow_inf_nan=False)
    """Moment of a video, in seconds from the start of the clip; None: an image."""


class RegionBox(Task):
    name = "region_box"
    row_type = RegionRow
    target_type = RegionTarget
    example = RegionRow(
        id="example",
        task="region_box",
        video="garden.mp4",
        phrase="the dog on the left",
        at_s=1.5,
        target={"box": [0.1, 0.2, 0.3, 0.45]},
    )
    rewards = (("region_iou", 1.0),)
    own_rewards: ClassVar[Rewards] = {"region_iou": region_iou}
    main_metric = "mIoU"

    def question(self, row: RegionRow, target: RegionTarget) -> str:
        moment = "" if row.at_s is None else f" at {write_number(row.at_s)} s"
        return f"Where is this{moment}: {row.phrase.strip()}? Give its box: left, top, right, bottom, {OF_FRAME}."

    def row_problems(self, row: RegionRow, target: RegionTarget) -> list[str]:
        if (row.at_s is None) == (row.video is not None):
            return ["at_s: a moment belongs to a video, and to no image. Write it, or take it out."]
        return _outside(row, [row.at_s] if row.at_s is not None else [])

    def metrics(self, completion: str, target: RegionTarget, rewards: Rewards) -> dict[str, float]:
        iou = rewards["region_iou"](completion, target).value
        return {"mIoU": iou, "Acc@0.5": float(iou >= 0.5)}

    def baselines(self, train: Sequence[RegionTarget], rows: HeldOut[RegionTarget]) -> Answers:
        boxes = CONSTANT_BOXES | _median_box([target.box for target in train])
        return {name: [RegionTarget(box).written()] * len(rows) for name, box in boxes.items()}


def _found(row: MaskRow, track: Track) -> str:
    """The beginning of a question: what to find, and when."""
    times = ", ".join(f"{write_number(time)} s" for time in track.times_s)
    moments = f"For each of these moments: {times}," if len(track.times_s) > 1 else f"At {times}" if times else "Then"
    return f"Find this: {row.query.strip()}\n{moments}"


def _time_problems(row: MaskRow, track: Track) -> list[str]:
    if (not track.times_s) == (row.video is not None):
        return ["times: moments belong to a video, and to no image. Write them, or take them out: []"]
    return _outside(row, track.times_s)


def _outside(row: Row, times_s: Sequence[float]) -> list[str]:
    late = [time for time in times_s if row.clip_s is not None and time > row.clip_s + LATE_END_S]
    return [f"times: {time:g} s lies outside the clip of {row.clip_s:g} s; times count from its start" for time in late]


def _mask_metrics(completion: str, target: MaskTarget, rewards: Rewards) -> dict[str, float]:
    """J, F and their mean; gIoU, which is J with 0 for two empty masks; and both areas, as shares of the frames."""
    answered, true = answered_pixels(completion, target), target.track.masks
    common = [(a.bits & t.bits).bit_count() for a, t in zip(answered, true, strict=True)]
    union = [(a.bits | t.bits).bit_count() for a, t in zip(answered, true, strict=True)]
    pixels = len(true) * true[0].height * true[0].width
    boundary = rewards["mask_boundary"](completion, target)
    j = mean(c / u if u else 1.0 for c, u in zip(common, union, strict=True)) if boundary.fault is None else 0.0
    return {
        "J&F": (j + boundary.value) / 2,
        "J": j,
        "F": boundary.value,
        "gIoU": mean(c / u if u else 0.0 for c, u in zip(common, union, strict=True)),
        "intersection": sum(common) / pixels,
        "union": sum(union) / pixels,
    }


def _constant_boxes(train: Sequence[Track]) -> dict[str, Box]:
    boxes = [mask_box(mask) for track in train for mask in track.masks]
    return CONSTANT_BOXES | _median_box([box for box in boxes if box])


def _median_box(boxes: Sequence[Box]) -> dict[str, Box]:
    if not boxes:
        return {}
    x0, y0, x1, y1 = (round(median(values), 3) for values in zip(*boxes, strict=True))
    return {"median_box": (x0, y0, x1, y1)}


def _everywhere(answers: Mapping[str, str], rows: Sequence[Track]) -> Answers:
    """Baseline name -> the same answer for every moment of every row."""
    return {
        name: [f"<answer>[{', '.join([answer] * len(track.rles))}]</answer>" for track in rows]
        for name, answer in answers.items()
    }


def _corners(box: Box) -> str:
    x0, y0, x1, y1 = box
    return f"[{', '.join(map(write_box, ((x0, y0), (x1, y0), (x1, y1), (x0, y1))))}]"


def _mean_grid(grids: Sequence[Mask]) -> str | None:
    """The cells that are on in at least half of the grids; None without grids."""
    if not grids:
        return None
    height, width = grids[0].size
    cells = range(height * width)
    counts = [sum(grid.bits >> cell & 1 for grid in grids) for cell in cells]
    return write_grid(Mask(height, width, sum(1 << cell for cell in cells if 2 * counts[cell] >= len(grids))))
