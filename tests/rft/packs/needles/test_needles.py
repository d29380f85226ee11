"""Needles: videos that are composed, questions that are read, figures by length and depth."""

import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
from annotation_files import annotations
from PIL import Image

from rft.__main__ import main
from rft.data.convert.conversion import convert
from rft.data.dataset import read_rows
from rft.data.video import decode
from rft.errors import DataError
from rft.evaluation.predictions import read_predictions
from rft.packs.needles.compose import NEEDLE_FRAMES, split_question, write_needles
from rft.packs.needles.drawn import COLOURS, draw
from rft.packs.needles.tasks import CircularTarget, NeedleTarget, first_letter_anywhere, first_token_letter
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
    assert (rows[0]["id"], rows[0]["dataset"]) == ("needles/needles/0000_6_0_0", "needles/needles")
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


def test_every_argument_that_cannot_be_is_named(tmp_path: Path, film: Path) -> None:
    source = published(tmp_path, [{"question": QUESTION, "answer": "A", "image": "none.png"}])
    with pytest.raises(DataError) as error:
        write_needles(source, [film], [0, 5], [0.5, 50, math.nan], tmp_path / "out", fps=0)
    named = (
        "--frames: 0 is no",
        "--depths: 50 is not",
        "--depths: nan is not",
        "--fps: 0 is no",
        "none.png is not there",
    )
    assert [part for part in named if part not in str(error.value)] == []


def test_needles_that_would_cover_one_another_are_refused(tmp_path: Path, film: Path) -> None:
    needle = {"images": ["red.png", "blue.png", "white.png"], "question1": QUESTION, "answer1": "A"}
    with pytest.raises(DataError, match="--frames: 10 are too few for all frames of needle 0000_10"):
        write_needles(published(tmp_path, [needle]), [film], [10], [0.5], tmp_path / "out")


def test_images_of_one_name_in_two_folders_are_two(tmp_path: Path, film: Path) -> None:
    for colour in ("red", "blue"):
        (tmp_path / colour).mkdir()
        Image.new("RGB", (28, 28), colour).save(tmp_path / colour / "bus.png")
    needles = [{"question": QUESTION, "answer": "A", "image": f"{colour}/bus.png"} for colour in ("red", "blue")]
    assert write_needles(published(tmp_path, needles), [film], [10, 10], [0.0], tmp_path / "out") == 2
    assert [int(seen(tmp_path / "out" / "rows.jsonl", number)[0].argmax()) for number in range(2)] == [0, 2]


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
    at_start = [(NeedleTarget("B", 1000, 0.0, 1), {"accuracy": 1.0}), (several, {"accuracy": 0.0})]
    assert TASKS["needle"].corpus_metrics([*judged, *at_start]) == {"mean_over_cells": 0.5}


@pytest.mark.parametrize(
    ("answer", "is_a"),
    [("A", 1), ("(a)", 1), ("A.", 1), ("(A) white", 1), ("A, B", 1), (" A", 0), ("Answer: A", 0), ("B", 0), ("", 0)],
)
def test_videochat_flash_reads_the_first_token(answer: str, is_a: int) -> None:
    assert first_token_letter(f"<answer>{answer}</answer>", NeedleTarget("A", 1000, 0.5, 1)).value == is_a


@pytest.mark.parametrize(
    ("answer", "letter"),
    [("C", "C"), ("C.", "C"), ("B or A", "A"), ("CAT", "A"), ("Answer: D", "A"), ("the D", "D"), ("none. B", ""),
     ("b", ""), ("E", ""), ("", "")],
)  # fmt: skip
def test_vnbench_reads_the_first_of_a_to_d_anywhere(answer: str, letter: str) -> None:
    scores = {c: first_letter_anywhere(f"<answer>{answer}</answer>", CircularTarget(c, "q", 0, 4)) for c in "ABCD"}
    assert [choice for choice, score in scores.items() if score.value] == list(letter)
    assert {score.fault for score in scores.values()} == {None if letter else "unreadable"}


def circular_accuracy(answers: dict[str, list[list[float]]]) -> float:
    """Of answers by question and try, where each question has two tries."""
    judged = [
        (CircularTarget("A", question, place, 2), {"accuracy": value})
        for question, of_question in answers.items()
        for place, values in enumerate(of_question)
        for value in values
    ]
    return TASKS["circular_choice"].corpus_metrics(judged)["circular_accuracy"]


@pytest.mark.parametrize(
    ("answers", "right"),
    [
        ({"p": [[1], [1]], "q": [[1], [0]]}, 0.5),
        ({"p": [[1], [1]], "q": [[1]]}, 0.5),
        # Two answers to a try: 1 in 2 times 1 in 1.
        ({"p": [[1, 0], [1, 1]]}, 0.5),
        # A question that is drawn twice counts twice.
        ({"p": [[1, 1], [1, 1]], "q": [[0], [1]]}, 2 / 3),
    ],
)
def test_a_question_is_right_in_all_its_tries(answers: dict[str, list[list[float]]], right: float) -> None:
    assert circular_accuracy(answers) == pytest.approx(right)


def test_intervals_draw_the_tries_of_a_question_together(tmp_path: Path) -> None:
    lines = [
        {"id": f"{q}/{place}", "task": "circular_choice", "video": f"{q}.mp4", "completion": f"<answer>{said}</answer>",
         "target": {"choice": "A", "tries_of": str(q), "try": place, "tries": 2}}
        for q in range(20) for place, said in enumerate("AA" if q < 10 else "AB")
    ]  # fmt: skip
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    result, _ = read_predictions([path], None)
    estimates = result.estimates("circular_choice", "greedy")
    assert (estimates["accuracy"].value, estimates["circular_accuracy"].value) == (0.75, 0.5)
    # Right or wrong by question: 1.96 standard errors are 0.22.
    assert estimates["circular_accuracy"].low == pytest.approx(0.28, abs=0.04)


def test_vnbench_becomes_a_row_for_each_try(tmp_path: Path) -> None:
    one = {"video": "./VNBench/film_cnt_edit1.mp4", "question": "How many?", "type": "cnt_edit1", "needle_time": [3.5]}
    tries = [{"options": [5, 4, 6], "gt": 6, "try": 0}, {"options": [6, 5, 4], "gt": 6, "try": 1}]
    source = tmp_path / "VNBench.json"
    source.write_text(json.dumps([one | each for each in tries]))
    rows = convert("vnbench", source).rows
    assert [row["id"] for row in rows] == ["vnbench/cnt_edit1/film_cnt_edit1/0", "vnbench/cnt_edit1/film_cnt_edit1/1"]
    assert rows[1]["target"] == {"choice": "A", "tries_of": "film_cnt_edit1", "try": 1, "tries": 2}
    assert (rows[0]["options"], rows[0]["video"]) == (["5", "4", "6"], "VNBench/film_cnt_edit1.mp4")
    source.write_text(json.dumps([one | tries[0] | {"gt": 9}]))
    assert [anomaly.kind for anomaly in convert("vnbench", source).refused] == ["blank_text"]


def test_a_try_that_cannot_be_is_refused() -> None:
    data = {"choice": "A", "tries_of": "q", "try": 2, "tries": 2}
    with pytest.raises(ValueError, match="try: 2 is no whole number from 0 to 1"):
        TASKS["circular_choice"].read_target(data)


def test_drawn_needles_are_in_the_pixels_alone() -> None:
    for seed in range(20):
        clip = draw(random.Random(seed))
        (row,) = clip.rows
        colour = RGB[COLOURS["ABCD".index(row["target"]["choice"])]]
        coloured = [(frame == colour).all(axis=2).any() for frame in clip.pixels]
        assert sum(coloured) == 2
        assert not any((frame == colour).all(axis=2).any() for frame in clip.blank)
        assert len(clip.pixels) == row["target"]["frames"]
