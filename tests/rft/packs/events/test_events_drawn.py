"""Drawn clips of events: the target is in the pixels, and gone from the clip without evidence."""

import random

import numpy as np
import pytest

from rewards import REWARDS
from rft.packs.events.drawn import DRAWN, FPS, draw
from rft.synthetic.drawn_set import DrawnClip
from rft.tasks import TASKS

CLIPS = [draw(random.Random(seed)) for seed in range(60)]


def spans_of(clip: DrawnClip) -> list[tuple[float, float]]:
    row = clip.rows[0]
    return list(TASKS[row["task"]].read_target(row["target"], duration_s=8.0).time_spans().values())


@pytest.mark.parametrize("clip", CLIPS[:20])
def test_frames_differ_from_the_blank_clip_where_the_target_says(clip: DrawnClip) -> None:
    changed = np.abs(clip.pixels.astype(int) - clip.blank).max(axis=(1, 2, 3)) > 0
    asked = np.zeros(len(changed), bool)
    for start, end in spans_of(clip):
        asked[int(start * FPS) : int(end * FPS)] = True
    assert changed[asked].all()
    if clip.rows[0]["task"] == "event_moment":
        assert (changed == asked).all()


def test_demonstrations_are_well_formed_and_loose() -> None:
    values = []
    for clip in CLIPS:
        row = clip.rows[0]
        task = TASKS[row["task"]]
        target = task.read_target(row["target"], duration_s=8.0)
        assert REWARDS["think_format"](row["demonstration"], target).value == 1.0
        values.append(task.measure(row["demonstration"], target)[task.main_metric])
    assert 0.3 < np.mean(values) < 0.9


def test_all_kinds_of_rows_are_drawn() -> None:
    assert {clip.rows[0]["task"] for clip in CLIPS} == {"event_spans", "event_moment", "timed_captions"}
    assert CLIPS[0].pixels.shape == (8 * FPS, DRAWN.side, DRAWN.side, 3)
    assert (draw(random.Random(3)).pixels == CLIPS[3].pixels).all()
