"""Rewards for masks: rings, boxes, a keyframe, grids; and for the box of a phrase. Standard library only.

Source: J and F of DAVIS, as MeViS, ReVOS and ReasonVOS use them; box and points at a keyframe of Seg-Zero
(arXiv:2503.06520), whose own thresholds are in published.py.
"""

from collections.abc import Sequence

from rewards.geometry import box_iou
from rewards.parsing import answer_text, parse_boxes
from rewards.tracking import leaves_the_frame
from rewards.types import Box, Fault, Score, Target
from rft.packs.masks.mask import Mask, Rle, empty_mask, mask_of
from rft.packs.masks.metrics import boundary_agreement, region_overlap
from rft.packs.masks.raster import box_mask, enlarged, mask_box, point_in, rings_mask
from rft.packs.masks.reading import Keyframe, read_boxes, read_cells, read_keyframe, read_outlines
from rft.packs.masks.targets import GridTarget, KeyframeTarget, MaskBoxesTarget, OutlineTarget, RegionTarget

MaskTarget = OutlineTarget | MaskBoxesTarget | GridTarget
"""Targets whose answers are a mask per moment."""


def mask_iou(completion: str, target: OutlineTarget | MaskBoxesTarget | GridTarget, *, min_iou: float = 0.0) -> Score:
    """Mean over the asked moments of the masks' intersection over union (J), in [0, 1].

    Reads the last <answer> in the target's form. Not readable, or not as many parts as asked for: 0. A moment that
    does not show the object counts 1 for an empty mask, 0 for any other. A moment below `min_iou` counts 0. Boxes are
    judged by the pixels that they cover, grids by their cells: one is on if the true mask covers half of it.
    """
    answer = _answer(completion, target)
    if isinstance(answer, Score):
        return answer
    true = target.grids if isinstance(target, GridTarget) else target.track.masks
    overlaps = [region_overlap(a, t) for a, t in zip(_masks(answer, target), true, strict=True)]
    return _mean_score([iou if iou >= min_iou else 0.0 for iou in overlaps], answer, "IoU", "masks")


def mask_boundary(completion: str, target: OutlineTarget | MaskBoxesTarget | GridTarget) -> Score:
    """Mean over the asked moments of the boundaries' agreement (F), in [0, 1]; answers are read as in `mask_iou`.

    Where the object is not to be seen an empty mask counts 1, any other 0. Cells are enlarged to pixels.
    """
    return boundary_score(completion, target, as_published=False)


def boundary_score(completion: str, target: MaskTarget, *, as_published: bool) -> Score:
    """Mean F. `as_published`: a mask that fills the frame counts 1 where nothing is to be seen."""
    answer = _answer(completion, target)
    if isinstance(answer, Score):
        return answer
    pairs = zip(answered_pixels(completion, target), target.track.masks, strict=True)
    return _mean_score([boundary_agreement(a, t, as_published=as_published) for a, t in pairs], answer, "F", "masks")


def box_overlap(completion: str, target: MaskBoxesTarget) -> Score:
    """Mean over the asked moments of the IoU of the answered box with the box of the true mask, in [0, 1].

    null counts 1 where the object is not to be seen and 0 elsewhere. Not readable, or another number of boxes: 0.
    """
    answer = _answer(completion, target)
    if isinstance(answer, Score):
        return answer
    boxes, true = read_boxes(answer), [mask_box(mask) for mask in target.track.masks]
    ious = [box_iou(a, t) if a and t else float(a == t) for a, t in zip(boxes, true, strict=True)]
    return _mean_score(ious, answer, "IoU", "boxes", [box for box in boxes if box])


def keyframe_box(completion: str, target: KeyframeTarget) -> Score:
    """IoU of the answered box with that of the true mask, at the asked moment nearest to the answered time, in [0, 1].

    null counts 1 if the object is in no moment, else 0. Not readable: 0.
    """
    keyframe = _keyframe(completion, target)
    if isinstance(keyframe, Score):
        return keyframe
    true = mask_box(target.track.nearest(keyframe.time_s))
    return _mean_score(
        [box_iou(keyframe.box, true) if true else 0.0], answer_text(completion), "IoU", "box", [keyframe.box]
    )


def inner_points(completion: str, target: KeyframeTarget) -> Score:
    """Share of the two answered points that lie on the true mask at the answered time, in [0, 1]; as `keyframe_box`.

    On the mask, not in the answered box: a box around the whole frame would pass that.
    """
    keyframe = _keyframe(completion, target)
    if isinstance(keyframe, Score):
        return keyframe
    mask = target.track.nearest(keyframe.time_s)
    num_inside = sum(point_in(point, mask) for point in keyframe.points)
    return Score(num_inside / 2, answer_text(completion), f"{num_inside} of 2 points on the object")


def keyframe_view(completion: str, target: KeyframeTarget, *, min_box_iou: float = 0.5) -> Score:
    """Area of the object at the answered moment over its largest area at any asked one, in [0, 1].

    0 if the box has an IoU below `min_box_iou`, so that a time alone earns nothing; else as `keyframe_box`.
    """
    keyframe = _keyframe(completion, target)
    if isinstance(keyframe, Score):
        return keyframe
    answer, mask = answer_text(completion), target.track.nearest(keyframe.time_s)
    true = mask_box(mask)
    if true is None or box_iou(keyframe.box, true) < min_box_iou:
        return Score(0.0, answer, f"no box of IoU {min_box_iou:g} at that time")
    share = mask.area / max(mask.area for mask in target.track.masks)
    return Score(share, answer, f"{share:.0%} of the object's largest area")


def region_iou(completion: str, target: RegionTarget, *, min_iou: float = 0.0) -> Score:
    """IoU of the answered and the true box, in [0, 1]; below `min_iou`, not readable, or not one box: 0."""
    answer = _answer(completion, target)
    if isinstance(answer, Score):
        return answer
    boxes = parse_boxes(answer) or ()
    iou = box_iou(boxes[0], target.box)
    return _mean_score([iou if iou >= min_iou else 0.0], answer, "IoU", "box", boxes)


def answered_pixels(completion: str, target: MaskTarget) -> list[Mask]:
    """The answered masks in the size of the true ones; empty ones where the answer cannot be read."""
    answer = _answer(completion, target)
    size = target.track.size
    if isinstance(answer, Score):
        return [empty_mask(*size)] * len(target.track.rles)
    masks = _masks(answer, target)
    return [enlarged(mask, *size) for mask in masks] if isinstance(target, GridTarget) else masks


def _masks(answer: str, target: MaskTarget) -> list[Mask]:
    """A mask per moment, of an answer without a problem; cells where the target is a grid."""
    if isinstance(target, GridTarget):
        cells, side = read_cells(answer) or "", target.side
        return [
            Mask(side, side, int("".join(cells[first + i :: side][:side] for i in range(side)), 2))
            for first in range(0, len(cells), side**2)
        ]
    height, width = target.track.size
    if isinstance(target, MaskBoxesTarget):
        return [box_mask(box, height, width) if box else empty_mask(height, width) for box in read_boxes(answer)]
    outlines = read_outlines(answer, len(target.track.rles))
    return [mask_of(one) if isinstance(one, Rle) else rings_mask(one, height, width) for one in outlines]


def _answer(completion: str, target: Target) -> str | Score:
    """The text of the last <answer>, which can be read then; or the score of a completion without such."""
    answer = answer_text(completion)
    if answer is None:
        return Score(0.0, None, "no <answer>", "no_tag")
    problem = target.format_problem(answer, completion)
    return Score(0.0, answer, *problem) if problem else answer


def _keyframe(completion: str, target: KeyframeTarget) -> Keyframe | Score:
    """The answered keyframe; or the score of a completion that cannot be read, or that says null."""
    answer = _answer(completion, target)
    if isinstance(answer, Score):
        return answer
    is_absent = not any(mask.area for mask in target.track.masks)
    keyframe = read_keyframe(answer)
    if keyframe is None or is_absent:
        right = keyframe is None and is_absent
        return Score(float(right), answer, f"the object is {'in no' if is_absent else 'in an'} asked moment")
    return keyframe


def _mean_score(
    values: Sequence[float], answer: str | None, measure: str, what: str, boxes: Sequence[Box] = ()
) -> Score:
    mean = sum(values) / len(values)
    fault: Fault | None = "out_of_range" if leaves_the_frame(boxes) else None
    return Score(mean, answer, f"mean {measure} {mean:.3f} over {len(values)} {what}", fault)
