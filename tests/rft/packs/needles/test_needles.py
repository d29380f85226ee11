"""Needles: videos that are composed, questions that are read, figures by length and depth."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from annotation_files import annotations
from PIL import Image

from rft.__main__ import main
from rft.data.dataset import read_rows
from rft.data.video import decode
from rft.errors import DataError
from rft.packs.needles.compose import NEEDLE_FRAMES, split_question, write_needles
from rft.packs.needles.drawn import COLOURS, draw
from rft.packs.needles.tasks import NeedleTarget, released_answer
from rft.synthetic.clips import RGB
from rft.tasks import TASKS
from rft.types import Video, VideoSampling

QUESTION = "Find the plate. What is its colour?\nOptions: (A) white\n(B) red\nOnly give the best option. Best option: ("
ALL_FRAMES = VideoSampling(1.0, 4, 64, 784, 784, 784 * 64)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Ten grey frames."""
    folder = tmp_path / "film"
    folder.mkdir()
    for number in range(10):
        Image.new("RGB", (28, 28), (100, 100, 100)).save(folder / f"{number}.png")
    return folder


def published(folder: Path, needles: list[dict[str, object]]) -> Path:
    for name, colour in (("white.png", "white"), ("red.png", "red"), ("blue.png", "blue")):
        Image.new("RGB", (14, 28), colour).save(folder / name)
    path = folder / "needles.json"
    path.write_text(json.dumps(needles))
    return path


def seen(rows: Path, number: int) -> np.ndarray:
    """Brightest and darkest channel of the middle of each frame of a row's video: [F, 3]."""
    row = read_rows([rows], None, TASKS)[number]
    frames = decode(Video(Path(str(row.video)), ALL_FRAMES, source_fps=row.source_fps))
    return frames.pixels[:, 14, 14].astype(int)


def test_a_needle_stands_at_its_depth(tmp_path: Path, film: Path) -> None:
    source = published(tmp_path, [{"question": QUESTION, "answer": "A", "image": "white.png"}])
    out = tmp_path / "out"
    command = ["data", "needle", str(source), "--haystack", str(film), "--frames", "6", "10", "--depths", "0", "1"]
    assert main([*command, "-o", str(out)]) == 0
    rows = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
    assert [(row["target"]["frames"], row["target"]["depth"]) for row in rows] == [(6, 0), (6, 1), (10, 0), (10, 1)]
    assert rows[0]["options"] == ["white", "red"]
    bright = [np.flatnonzero(seen(out / "rows.jsonl", i)[:, 0] > 200).tolist() for i in range(4)]
    first, last = list(range(NEEDLE_FRAMES)), list(range(6, 10))
    assert bright == [first, [2, 3, 4, 5], first, last]


def test_several_needles_are_spread_from_first_to_last(tmp_path: Path, film: Path) -> None:
    needle = {"images": ["red.png", "blue.png"], "question1": QUESTION, "answer1": "A", "question2": QUESTION,
              "answer2": "B"}  # fmt: skip
    count = write_needles(published(tmp_path, [needle]), [film], [10], [0.5], tmp_path / "out")
    assert count == 2
    frames = seen(tmp_path / "out" / "rows.jsonl", 0)
    assert [int(frame.argmax()) for frame in frames[:4]] == [0] * 4
    assert [int(frame.argmax()) for frame in frames[6:]] == [2] * 4
    assert {row.target["hops"] for row in read_rows([tmp_path / "out" / "rows.jsonl"], None, TASKS)} == {2}


def test_a_clip_is_a_needle_of_its_own_frames(tmp_path: Path, film: Path) -> None:
    needles = [{"question": QUESTION, "answer": "A", "image": "fade"}, {"images": ["fade", "red.png"]}]
    source = published(tmp_path, [needles[0], needles[0] | needles[1]])
    (tmp_path / "fade").mkdir()
    for number in range(3):
        Image.new("RGB", (28, 28), (0, 0, 255 - 60 * number)).save(tmp_path / "fade" / f"{number}.png")
    assert write_needles(source, [film, film], [10], [0.5], tmp_path / "out") == 2
    one, several = (seen(tmp_path / "out" / "rows.jsonl", number) for number in range(2))
    faded = [255, 195, 135]
    assert one[3:6, 2].tolist() == pytest.approx(faded, abs=4)
    assert [abs(int(frame[0]) - 100) < 4 for frame in one] == [True] * 3 + [False] * 3 + [True] * 4
    assert several[:3, 2].tolist() == pytest.approx(faded, abs=4)
    assert [int(frame.argmax()) for frame in several[6:]] == [0] * 4


@pytest.mark.parametrize(
    ("needle", "message"),
    [
        ({"question": QUESTION, "answer": "A", "image": "none.png"}, "none.png is not there"),
        ({"question": "What colour?", "answer": "A", "image": "red.png"}, r"no options '\(A\) ..'"),
        ({"question": QUESTION, "answer": "D", "image": "red.png"}, "choice: D is not among the options A..B"),
        ({"image": "red.png"}, "names no image or clip, or has no question"),
    ],
)
def test_what_cannot_be_a_needle_is_named(tmp_path: Path, film: Path, needle: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        write_needles(published(tmp_path, [needle]), [film], [10], [0.5], tmp_path / "out")


def test_a_haystack_that_is_too_short_is_named(tmp_path: Path, film: Path) -> None:
    source = published(tmp_path, [{"question": QUESTION, "answer": "A", "image": "red.png"}])
    with pytest.raises(DataError, match="the haystacks have 10 frames at 1 per second, of 11: give more"):
        write_needles(source, [film], [11], [0.5], tmp_path / "out")
    assert write_needles(source, [film, film], [20], [0.5], tmp_path / "out") == 1


@pytest.mark.parametrize(
    ("name", "keys", "questions"),
    [("niah-coco-singlehop_20", ("",), 20), ("niah-coco-multihop-100", ("1", "2"), 200)],
)
def test_published_questions_have_four_options(name: str, keys: tuple[str, ...], questions: int) -> None:
    needles = json.loads(annotations(f"NIAH/{name}.json").read_text())
    found = [split_question(needle[f"question{key}"]) for needle in needles for key in keys]
    assert len(found) == questions
    assert {len(options) for _, options in found} == {4}
    assert all(question and all(options) for question, options in found)


def test_figures_by_length_and_depth() -> None:
    one, several = NeedleTarget("A", 1000, 0.5, 1), NeedleTarget("B", 1000, 0.0, 5)
    assert one.subsets() == ("1,000 frames", "depth 0.50", "1,000 frames, depth 0.50")
    assert several.subsets() == ("5 hops", "several hops, 1,000 frames")
    judged = [(one, {"accuracy": 1.0})] * 3 + [(NeedleTarget("A", 2000, 0.5, 1), {"accuracy": 0.0})]
    assert TASKS["needle"].corpus_metrics(judged) == {"mean_over_cells": 0.5}
    values = {text: released_answer(f"<answer>{text}</answer>", one).value for text in ("A", "(a)", "A.", "(A) x", "")}
    assert values == {"A": 1.0, "(a)": 1.0, "A.": 0.0, "(A) x": 0.0, "": 0.0}


def test_drawn_needles_are_in_the_pixels_alone() -> None:
    for seed in range(20):
        clip = draw(random.Random(seed))
        (row,) = clip.rows
        colour = RGB[COLOURS["ABCD".index(row["target"]["choice"])]]
        coloured = [(frame == colour).all(axis=2).any() for frame in clip.pixels]
        assert sum(coloured) == 2
        assert not any((frame == colour).all(axis=2).any() for frame in clip.blank)
        assert len(clip.pixels) == row["target"]["frames"]
