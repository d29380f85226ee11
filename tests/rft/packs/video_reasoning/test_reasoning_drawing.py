"""Drawn videos: what they show and hide, random questions about them, the tiny set and the large one."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

from rft.data.dataset import read_rows
from rft.packs.video_reasoning import generate
from rft.packs.video_reasoning.asking import random_target, random_video
from rft.packs.video_reasoning.demonstrations import DEMONSTRATIONS
from rft.packs.video_reasoning.demonstrations.types import SKILLS, Operated, simulated
from rft.packs.video_reasoning.drawing import Look, background, draw_video
from rft.packs.video_reasoning.drawn import GUESSED, SHARES, draw
from rft.packs.video_reasoning.rewards import verified_answer
from rft.packs.video_reasoning.targets import ReasoningTarget
from rft.tasks import TASKS

SAME_OPERATIONS = {
    "number": ([[1, 2], [3, 0]], [[2, 3], [1, 0]], ["down", "right"], ["right", "down"]),
    "circle": (
        {"board": [[0, 1], [0, 0]], "at": [0, 0]},
        {"board": [[1, 0], [1, 1]], "at": [0, 0]},
        ["right", "down"],
        ["down", "right"],
    ),
    "cup": ([[1, 0, 0]], [[0, 0, 1]], ["(a1, a2)", "(a2, a3)"], ["(a2, a3)", "(a1, a2)"]),
    "file": (
        {"path0": ["a.py", "b.txt"]},
        {"path0": ["b.txt", "c.csv"]},
        ["touch path0/{d.py}", "rm -rf path0/{b.txt}"],
        ["rm -rf path0/{b.txt}", "touch path0/{d.py}"],
    ),
    "card": (
        {"pile0": ["King of Clubs", "2 of Hearts"]},
        {"pile0": ["Ace of Spades", "2 of Hearts"]},
        ["remove 2 of Hearts from pile0", "add 3 of Clubs to pile0"],
        ["add 3 of Clubs to pile0", "remove 2 of Hearts from pile0"],
    ),
    "chip": (
        {"cup0": [5, 20]},
        {"cup0": [20, 100]},
        ["remove 20 from cup0", "add 5 to cup0"],
        ["add 5 to cup0", "remove 20 from cup0"],
    ),
}
"""Demonstration -> two states, and operations that both allow, in two orders."""

LOOK = Look(side=224, shown_frames=2, step_frames=2)


def video_of(name: str, start: object, operations: list[str], visible: str = "start") -> Operated:
    return Operated(tuple(operations), simulated(DEMONSTRATIONS[name], start, operations), visible)


@pytest.mark.parametrize("name", DEMONSTRATIONS)
def test_the_state_is_seen_at_one_end_and_not_in_the_middle(name: str) -> None:
    one, other, operations, _ = SAME_OPERATIONS[name]
    for visible in ("start", "end"):
        pixels, like = (draw_video(name, video_of(name, start, operations, visible), LOOK)[0] for start in (one, other))
        assert pixels.shape == (6, 224, 224, 3)
        assert pixels.dtype == np.uint8
        shown, hidden = (slice(0, 2), slice(2, 6)) if visible == "start" else (slice(4, 6), slice(0, 4))
        assert (pixels[shown] != like[shown]).any()
        assert (pixels[hidden] == like[hidden]).all()


@pytest.mark.parametrize("name", DEMONSTRATIONS)
def test_operations_are_seen_and_blanked(name: str) -> None:
    start, _, operations, reordered = SAME_OPERATIONS[name]
    pixels, blank = draw_video(name, video_of(name, start, operations), LOOK)
    again, _ = draw_video(name, video_of(name, start, reordered), LOOK)
    assert (pixels[2:] != again[2:]).any()
    assert (blank[:2] == pixels[:2]).all()
    assert (blank[2:] == background(224)).all()


@pytest.mark.parametrize("name", DEMONSTRATIONS)
@pytest.mark.parametrize("skill", SKILLS)
def test_random_questions_have_an_answer(name: str, skill: str) -> None:
    rng = random.Random(5)
    for size in (2, 3):
        video = random_video(DEMONSTRATIONS[name], size, 6, rng)
        target = random_target(name, skill, video, rng)
        assert ReasoningTarget.read(json.loads(json.dumps(target.to_json()))) == target
        assert verified_answer(target.written(), target).value == 1.0


def test_the_tiny_set_asks_about_all_numbers_of_operations_and_guesses_as_often_as_it_says() -> None:
    rng, task = random.Random(0), TASKS["video_reasoning"]
    counts, right, rights = set(), [], {}
    for _ in range(400):
        clip = draw(rng)
        (fields,) = clip.rows
        row = task.row_type(id="a", video="a.mp4", **fields)
        target = task.target(row)
        counts.add((target.demonstration, len(target.operations)))
        shown = 2 if target.demonstration == "cup" else 0
        assert len(clip.pixels) == len(clip.blank) == shown + 2 * len(target.operations)
        assert task.measure(fields["demonstration"], target)["well_formed"] == 1.0
        right.append(verified_answer(fields["demonstration"], target).value)
        rights.setdefault(fields["question"], set()).add(target.written())
    assert counts == {(name, number) for name in ("circle", "cup", "chip") for number in SHARES}
    assert 1 - GUESSED - 0.06 < np.mean(right) < 1 - GUESSED + 0.12  # an answer of no parts has no wrong one
    assert all(len(answers) > 2 for answers in rights.values())


def test_videos_for_large_policies(tmp_path: Path) -> None:
    arguments = ["--train", "12", "--test", "1", "--side", "112", "--operations", "2", "3", "--board-sides", "3"]
    generate.main([str(tmp_path), *arguments, "--seconds-per-operation", "0.5"])
    rows = {split: read_rows([tmp_path / f"{split}.jsonl"], None, TASKS) for split in ("train", "test")}
    assert {split: len(of_split) for split, of_split in rows.items()} == {"train": 12, "test": 1}
    task = TASKS["video_reasoning"]
    targets = [task.target(row) for row in rows["train"]]
    assert [target.demonstration for target in targets] == list(DEMONSTRATIONS) * 2
    assert {target.skill for target in targets} == {"recall order", "recall count"}
    assert all("{" not in task.question(row, task.target(row)) for row in rows["train"])
    assert all(Path(str(row.video)).stat().st_size > 0 for row in rows["train"])
