"""Drawn clips of events: the target is in the pixels, and gone from the clip without evidence."""

import random

import numpy as np
import pytest

from rewards import REWARDS
from rft.packs.events.drawn import COLOURS, DRAWN, FPS, draw, draw_order
from rft.synthetic.clips import RGB, SIDE
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
    assert CLIPS[0].pixels.shape == (8 * FPS, DRAWN["events"].side, DRAWN["events"].side, 3)
    assert (draw(random.Random(3)).pixels == CLIPS[3].pixels).all()


def colours_seen(clip: DrawnClip) -> list[str]:
    """The band's colours second by second, repeats left out, by the pixel in the middle."""
    middle = clip.pixels[:: FPS.numerator, SIDE // 2, SIDE // 2].tolist()
    seen = [next(colour for colour in COLOURS if list(RGB[colour]) == pixel) for pixel in middle]
    return list(dict.fromkeys(seen))


def test_the_band_shows_its_colours_in_the_order_of_the_target() -> None:
    clips = [draw_order(random.Random(seed)) for seed in range(60)]
    task, exact = TASKS["event_order"], []
    for clip in clips:
        row = clip.rows[0]
        target = task.read_target(row["target"])
        assert row["target"]["order"] == colours_seen(clip)
        assert np.ptp(clip.blank, axis=3).max() < np.ptp(list(RGB.values()), axis=1).min()
        assert REWARDS["think_format"](row["demonstration"], target).value == 1.0
        exact.append(task.measure(row["demonstration"], target)["exact"])
    assert {len(clip.rows[0]["target"]["order"]) for clip in clips} == {2, 3, 4}
    # Half are in any order, of which some are right.
    assert 0.4 < np.mean(exact) < 0.8
