"""Drawn captions: the events are in the pixels, in the order of time, and the loose annotator is loose."""

import random

import numpy as np

from rft.packs.captions.drawn import COLOURS, DRAWN, draw_clip
from rft.synthetic.clips import RGB
from rft.tasks import TASKS


def test_the_first_half_shows_the_first_event_and_the_blank_clip_none() -> None:
    rng, numbers = random.Random(3), []
    for _ in range(30):
        clip = draw_clip(rng)
        elements = clip.rows[0]["target"]["elements"]
        numbers.append(len(elements))
        frames = len(clip.pixels) // 2
        shown = [colours(half) for half in (clip.pixels[:frames], clip.pixels[frames:])]
        assert [colour for half in shown for colour in half] == [colour for _, colour, _ in elements]
        assert not colours(clip.blank)
    assert set(numbers) == {1, 2}


def colours(pixels: np.ndarray) -> list[str]:
    """The colours of shapes in some frames, by name."""
    return [name for name in COLOURS if (pixels == np.array(RGB[name])).all(-1).any()]


def test_the_loose_annotator_errs_in_about_half_of_the_captions() -> None:
    rng, task = random.Random(4), TASKS["structured_caption"]
    values = []
    for _ in range(60):
        row = draw_clip(rng).rows[0]
        target = task.target(task.row_type(id="a", video="a.mp4", **row))
        values.append(task.measure(row["demonstration"], target))
    assert 0.6 < np.mean([value["event_f1"] for value in values]) < 0.75
    assert all(value["well_formed"] == 1 for value in values)
    assert DRAWN["captions"].num_train > DRAWN["captions"].num_held_out
