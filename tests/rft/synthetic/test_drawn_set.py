"""A pack's drawn set: its files, and clips with and without evidence."""

import json
import random
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from rft.data.dataset import read_rows
from rft.errors import DataError
from rft.synthetic.drawn_set import DrawnClip, DrawnSet, drawn_set, write_drawn_set
from rft.tasks import TASKS


def lit_clip(rng: random.Random) -> DrawnClip:
    """Four dark frames, one of them bright; the question is which half it lies in."""
    bright = rng.randrange(4)
    pixels = np.zeros((4, 84, 84, 3), np.uint8)
    pixels[bright] = 255
    row = {
        "task": "multiple_choice",
        "question": "Which half is bright?",
        "options": ["the first", "the second"],
        "target": {"choice": "AB"[bright // 2]},
        "demonstration": f"<think>light</think><answer>{rng.choice('AB')}</answer>",
    }
    return DrawnClip(pixels, np.zeros_like(pixels), (row,))


LIT = DrawnSet(lit_clip, Fraction(2), side=84, num_train=3, num_held_out=2)


def frames_of(video: str) -> np.ndarray:
    with av.open(video) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_questions_demonstrations_and_clips_without_evidence(tmp_path: Path) -> None:
    counts = write_drawn_set(tmp_path, "lit", LIT)
    assert counts == {"train": 3, "cold_start": 3, "validation": 2, "test": 2, "test_blank": 2}
    rows = {name: read_rows([tmp_path / f"{name}.jsonl"], None, TASKS) for name in counts}
    assert all(row.duration_s == 2.0 for of_file in rows.values() for row in of_file)
    assert {name: {row.dataset for row in of_file} for name, of_file in rows.items()} == {
        "train": {"lit/train"},
        "cold_start": {None},
        "validation": {"lit/validation"},
        "test": {"lit/test"},
        "test_blank": {"lit/blank"},
    }
    assert all((row.demonstration is not None) == (name == "cold_start") for name in rows for row in rows[name])
    for seen, blank in zip(rows["test"], rows["test_blank"], strict=True):
        bright = np.flatnonzero(frames_of(str(seen.video)).mean(axis=(1, 2, 3)) > 128)
        assert "AB"[bright.item() // 2] == seen.target["choice"] == blank.target["choice"]
        assert frames_of(str(blank.video)).max() < 10
    size = json.loads((tmp_path / "policy" / "processor_config.json").read_text())["video_processor"]["size"]
    assert size == {"longest_edge": 84 * 84, "shortest_edge": 84 * 84}


def test_held_out_rows_do_not_depend_on_the_number_of_others(tmp_path: Path) -> None:
    write_drawn_set(tmp_path / "a", "lit", LIT, seed=1)
    write_drawn_set(tmp_path / "b", "lit", DrawnSet(lit_clip, Fraction(2), side=84, num_train=1, num_held_out=2), 1)
    a, b = (tmp_path / name / "test.jsonl" for name in "ab")
    assert a.read_text() == b.read_text()


def test_a_pack_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--pack lit: no pack draws clips of this name"):
        drawn_set("lit")
