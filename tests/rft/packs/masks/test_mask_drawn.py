"""Drawn clips of the masks pack: targets that are right, balanced absent moments, pairs held out of training."""

import random

from rft.packs.masks.drawn import DRAWN, PAIRS, UNSEEN
from rft.packs.masks.reading import read_cells
from rft.synthetic.drawn_set import DrawnClip
from rft.tasks import TASKS

TASK = TASKS["mask_grid"]


def clips(held_out: bool, num: int = 60) -> list[DrawnClip]:
    rng = random.Random(0)
    draw = DRAWN["masks"].draw_held_out if held_out else DRAWN["masks"].draw
    assert draw is not None
    return [draw(rng) for _ in range(num)]


def test_targets_are_the_pixels_that_are_drawn() -> None:
    for clip in clips(held_out=False, num=20):
        present, absent = (TASK.read_target(row["target"]) for row in clip.rows)
        assert (present.subsets(), absent.subsets()) == (("seen", "present"), ("seen", "absent"))
        ((mask,), (time_s,)) = present.track.masks, present.track.times_s
        frame = int(time_s * DRAWN["masks"].fps)
        changed = (clip.pixels[frame] != clip.blank[frame]).any(axis=2)
        assert mask.area == changed.sum() > 0
        assert all(mask.has(row, column) == changed[row, column] for row in range(0, 56, 5) for column in range(56))


def test_every_clip_has_a_question_about_what_is_not_there() -> None:
    reasons = {"other time": 0, "other name": 0}
    for clip in clips(held_out=False):
        _, row = clip.rows
        frame = int(row["target"]["times"][0] * DRAWN["masks"].fps)
        is_there = bool((clip.pixels[frame] != clip.blank[frame]).any())
        reasons["other name" if is_there else "other time"] += 1
    assert min(reasons.values()) > 15, reasons


def pair_of(clip: DrawnClip) -> tuple[str, str]:
    """Colour and kind of the shape; a square has 28 x 28 pixels."""
    row = clip.rows[0]
    (mask,) = TASK.read_target(row["target"]).track.masks
    return row["demonstration"].removeprefix("<think>").split()[0], "square" if mask.area > 700 else "circle"


def test_training_lacks_the_pairs_of_half_of_the_held_out_clips() -> None:
    training, held_out = clips(held_out=False), clips(held_out=True)
    assert set(map(pair_of, training)) == set(PAIRS) - set(UNSEEN)
    unseen = [pair_of(clip) in UNSEEN for clip in held_out]
    assert 15 < sum(unseen) < 45
    subsets = [row["target"]["subsets"] for clip in held_out for row in clip.rows]
    assert subsets == [["unseen"] if one else ["seen"] for one in unseen for _ in range(2)]


def test_demonstrations_are_read_and_half_of_them_are_too_large() -> None:
    grown = []
    for clip in clips(held_out=False):
        row = clip.rows[0]
        target = TASK.read_target(row["target"])
        value = TASK.own_rewards["mask_iou"](row["demonstration"], target).value
        assert value > 0.15
        assert read_cells(row["demonstration"].rpartition("<answer>")[2].removesuffix("</answer>")) is not None
        grown.append(value < 1)
    assert 15 < sum(grown) < 45
    blank = [
        TASK.own_rewards["mask_iou"](clip.rows[1]["demonstration"], TASK.read_target(clip.rows[1]["target"]))
        for clip in clips(held_out=False)
    ]
    assert all(score.value == 1.0 for score in blank)
