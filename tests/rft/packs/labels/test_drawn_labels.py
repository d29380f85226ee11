"""The drawn motions: the label can be read off the pixels, and off the clip without evidence it cannot."""

import random
from collections import Counter

import numpy as np

from rewards.targets.label import LabelTarget
from rft.packs.labels.drawn import MIXED_UP, MOTIONS, draw_clip
from rft.tasks import TASKS


def motion_of(pixels: np.ndarray, blank: np.ndarray) -> str:
    """The motion by the area and the centre of what differs from the background."""
    inside = np.abs(pixels.astype(int) - blank).sum(axis=3) > 60
    areas = inside.sum(axis=(1, 2))
    if (areas == 0).any():
        return "blink"
    if max(areas[0], areas[-1]) > 3 * min(areas[0], areas[-1]):
        return "grow" if areas[-1] > areas[0] else "shrink"
    (y0, x0), (y1, x1) = (np.argwhere(inside[frame]).mean(axis=0) for frame in (0, -1))
    if max(abs(x1 - x0), abs(y1 - y0)) < 5:
        return "still"
    if abs(x1 - x0) > abs(y1 - y0):
        return "right" if x1 > x0 else "left"
    return "down" if y1 > y0 else "up"


def test_every_motion_is_seen_in_its_clips_and_in_no_blank_one() -> None:
    rng, met, mixed_up = random.Random(5), Counter(), 0
    for _ in range(160):
        clip = draw_clip(rng)
        (row,) = clip.rows
        label = row["target"]["label"]
        met[label] += 1
        assert motion_of(clip.pixels, clip.blank) == label
        assert (clip.blank == clip.blank[0]).all()
        said = row["demonstration"].split("<answer>")[1].removesuffix("</answer>")
        mixed_up += said != label
        assert said in (label, MOTIONS[MOTIONS.index(label) ^ 1])
        assert TASKS["labels"].measure(row["demonstration"], LabelTarget(said))["accuracy"] == 1
    assert set(met) == set(MOTIONS)
    assert abs(mixed_up / 160 - MIXED_UP) < 0.12
