"""Questions along a stream: readings, the converters' counts, and that nothing after the question is seen."""

import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotation_files import annotations
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rewards.types import Target
from rft.data.convert.conversion import ConvertOptions, convert
from rft.data.video import decode
from rft.errors import DataError
from rft.evaluation.baselines import measure_baselines
from rft.evaluation.comparison import result_tables
from rft.evaluation.evaluate import EvalResult, judge
from rft.evaluation.suites import all_suites
from rft.packs.streams.drawn import COLOURS, QUESTIONS, draw
from rft.packs.streams.published import released_choice, released_count, released_reply, released_yes_no
from rft.packs.streams.rewards import count_match, reply_in_time, yes_no_match
from rft.packs.streams.targets import (
    CountTarget,
    ReplyTarget,
    StreamChoiceTarget,
    YesNoTarget,
    answered_count,
    answered_reply,
    answered_yes_no,
)
from rft.synthetic.clips import RGB
from rft.tasks import TASKS
from rft.types import Prompt, Video, VideoSampling

DUE = ReplyTarget(8.0, "a goal is shown")
EARLY = ReplyTarget(None, "a goal is shown")

JUDGED: list[tuple[Any, Target]] = [
    (reply_in_time, DUE),
    (released_reply, DUE),
    (count_match, CountTarget(3)),
    (released_count, CountTarget(3)),
    (yes_no_match, YesNoTarget(True)),
    (released_yes_no, YesNoTarget(True)),
    (released_choice, StreamChoiceTarget("A", "now")),
    (released_choice, StreamChoiceTarget("A", "ovo EPM")),
]
"""Every reward with a target."""


def said(text: str) -> str:
    return f"<answer>{text}</answer>"


@pytest.mark.parametrize(
    ("text", "due", "early"),
    [
        ("8: a goal is shown", 1.0, 0.0),
        ("at 8.0 s, A goal is shown!", 1.0, 0.0),
        ("9: a goal is shown", 0.75, 0.0),
        ("12: a goal is shown", 0.0, 0.0),
        ("7.9: a goal is shown", 0.0, 0.0),
        ("8: a goal", 2 * 2 / 6, 0.0),
        ("wait", 0.0, 1.0),
        ("Wait.", 0.0, 1.0),
        ("a goal is shown", 0.0, 0.0),
        ("8:", 0.0, 0.0),
    ],
)
def test_a_reply_in_time(text: str, due: float, early: float) -> None:
    assert reply_in_time(said(text), DUE).value == pytest.approx(due)
    assert reply_in_time(said(text), EARLY).value == early


@pytest.mark.parametrize(
    ("text", "count", "released"),
    [
        ("3", 3, 1.0),
        ("3 times.", 3, 1.0),
        ("it is 3", 3, 1.0),
        ("They long jumped three times.", 3, 0.0),
        ("two men did it 3 times", 3, 1.0),
        ("once", 1, 0.0),
        ("one or two", None, 0.0),
        ("3 or 4", None, 0.0),
        ("-3", None, 1.0),
        ("many", None, 0.0),
    ],
)
def test_a_count(text: str, count: int | None, released: float) -> None:
    assert answered_count(text) == count
    assert count_match(said(text), CountTarget(3)).value == float(count == 3)
    assert released_count(said(text), CountTarget(3)).value == released


@pytest.mark.parametrize(
    ("text", "yes", "released_as_yes", "released_as_no"),
    [
        ("Yes", True, 1.0, 0.0),
        ("No.", False, 0.0, 1.0),
        ("yes", True, 0.0, 0.0),
        ("Y", True, 1.0, 0.0),
        ("No, there is none", False, 0.0, 1.0),
        ("Yes and No", None, 1.0, 1.0),
        ("None", None, 0.0, 1.0),
    ],
)
def test_yes_or_no(text: str, yes: bool | None, released_as_yes: float, released_as_no: float) -> None:
    assert answered_yes_no(text) is yes
    for true, released in ((True, released_as_yes), (False, released_as_no)):
        assert yes_no_match(said(text), YesNoTarget(true)).value == float(yes is true)
        assert released_yes_no(said(text), YesNoTarget(true)).value == released


@pytest.mark.parametrize(
    ("text", "due", "early"),
    [
        ("8: so a goal is shown", 1.0, 0.0),
        ("6: a goal is shown", 1.0, 0.0),
        ("10.5: a goal is shown", 0.0, 0.0),
        ("8: A goal is shown", 0.0, 0.0),
        ("wait", 0.0, 1.0),
        ("a goal is shown", 0.0, 0.0),
    ],
)
def test_the_released_measure_of_a_reply(text: str, due: float, early: float) -> None:
    assert (released_reply(said(text), DUE).value, released_reply(said(text), EARLY).value) == (due, early)


@pytest.mark.parametrize(
    ("text", "ovo", "streamingbench"),
    [
        ("B", "B", "B"),
        ("(B) Sofa", "B", ""),
        ("b", "", ""),
        ("ABCD", "ABCD", "A"),
        ("B. A Cat", "ABC", "B"),
    ],
)
def test_a_choice_is_read_as_its_benchmark_does(text: str, ovo: str, streamingbench: str) -> None:
    for kind, letters in (("ovo EPM", ovo), ("streamingbench Counting", streamingbench)):
        hits = [x for x in "ABCDE" if released_choice(said(text), StreamChoiceTarget(x, kind)).value]
        assert "".join(hits) == letters


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B. he waved", "B"),
        ("b", "B"),
        ("(C)", "C"),
        ("a person waves, so B", "A"),
        ("he waved", None),
        ("ABCD", None),
        ("B.he waved", "B"),
        ("x.b", None),
        ("2b", None),
        ("B-roll", "B"),
        ("a-b - c", "C"),
        ("in 1,000 (b)s", None),
    ],
)
def test_what_the_released_scorer_reads(text: str, letter: str | None) -> None:
    values = {x: released_choice(said(text), StreamChoiceTarget(x, "now")).value for x in "ABCDE"}
    assert values == {x: float(x == letter) for x in "ABCDE"}


@given(st.text(max_size=50) | st.text("0123456789.: ,wait()abc-\n", max_size=50))
def test_no_text_raises_or_leaves_the_range(text: str) -> None:
    answered_count(text), answered_reply(text), answered_yes_no(text)
    for reward, target in JUDGED:
        assert 0.0 <= reward(said(text), target).value <= 1.0


@pytest.mark.parametrize("piece", ["1", "at ", "a ", " ", "-"])
def test_long_texts_take_no_time(piece: str) -> None:
    text = said(piece * (1_000_000 // len(piece)))
    spent_s = time.process_time()
    for reward, target in JUDGED:
        reward(text, target)
    assert time.process_time() - spent_s < 2


def test_the_mean_over_kinds_is_not_the_mean_over_rows() -> None:
    judged = [(StreamChoiceTarget("A", "now"), {"accuracy": 1.0})] * 3
    judged += [(StreamChoiceTarget("A", "past"), {"accuracy": 0.0})]
    assert TASKS["stream_choice"].corpus_metrics(judged) == {"mean_over_kinds": 0.5}


@pytest.mark.parametrize(("kinds", "tables"), [(("ovo EPM", "ovo EPM"), 1), (("ovo EPM", "ovo ASI"), 2)])
def test_a_set_of_one_kind_has_no_table_by_part(kinds: tuple[str, ...], tables: int) -> None:
    targets = [StreamChoiceTarget("A", kind) for kind in kinds]
    prompts = [Prompt(str(i), "stream_choice", "", None, target) for i, target in enumerate(targets)]
    result = EvalResult(tuple(judge(one, "greedy", 0, said("A"), "stop", 1, 0) for one in prompts), 0)
    assert len(result_tables(result, measure_baselines(prompts, {}, 0))) == tables


def test_a_question_without_its_time_is_refused() -> None:
    task = TASKS["stream_count"]
    row = task.row_type.model_validate(task.example.model_dump() | {"end_s": None})
    with pytest.raises(ValueError, match="end_s: missing; it is the time of the question"):
        task.target(row)


@pytest.mark.parametrize(
    ("name", "rows", "kinds", "at_start"),
    [("ava", 1396, 6, 0), ("coin", 1948, 4, 0), ("hirest", 1714, 4, 0), ("tao", 1947, 6, 31)],
)
def test_ovbench(name: str, rows: int, kinds: int, at_start: int) -> None:
    converted = convert("ovbench", annotations(f"OVBench/{name}.json"))
    assert (len(converted.rows), converted.refused) == (rows, [])
    assert len({row["target"]["kind"] for row in converted.rows}) == kinds
    assert {row["dataset"] for row in converted.rows} == {"ovbench"}
    assert ("asked at 0 s, taken as at 0.1 s", str(at_start)) in converted.facts


def test_ovbench_has_four_sources(tmp_path: Path) -> None:
    file = tmp_path / "questions.json"
    file.write_text("[]")
    with pytest.raises(DataError, match=r"'lvis' is no source of OVBench\. Give one of ava, coin, hirest, tao"):
        convert("ovbench", file, ConvertOptions(split="lvis"))


def test_ovo_bench_and_proactive_outputs() -> None:
    converted = convert("ovo_bench", annotations("OVOBench/ovo_bench_new.json"), ConvertOptions())
    tasks = [row["task"] for row in converted.rows]
    counts = {"stream_choice": 1468, "stream_yes_no": 629 + 240, "stream_count": 698}
    assert {task: tasks.count(task) for task in set(tasks)} == counts
    (suite,) = (suite for suite in all_suites() if suite.name == "ovo_bench")
    assert {row["dataset"] for row in converted.rows} == set(suite.sets)
    proactive = convert("streamingbench_proactive", annotations("StreamingBench/questions_proactive_50.json"))
    assert len(proactive.rows) == 102
    assert sum(row["target"]["due_s"] is None for row in proactive.rows) == 51


STREAMINGBENCH = """[
  {"video_path": "./videos/a.mp4", "questions": [
    {"task_type": "Counting", "question": "How many?", "time_stamp": "0:01:02", "answer": "B",
     "options": ["A. A. one", "B. two", "dogs", "C. three", "D. four", "E. Translated"]},
    {"task_type": "Counting", "question": "And now?", "time_stamp": "00:12450", "answer": "A",
     "options": ["1", "2", "3", "4"]}]},
  [{"video_path": "./videos/b.mp4", "questions": [
    {"task_type": "Sequential Question Answering", "question": "Who?", "time_stamp": "00:24", "answer": "D",
     "options": ["Ann", "B. Bo", "Cy", "Di"]}]},
   {"video_path": "./videos/b.mp4", "questions": [
    {"task_type": "Sequential Question Answering", "question": "Where is she?", "time_stamp": "00:01:00",
     "answer": "A", "options": ["A. here", "C. up", "B. there", "D. gone"]}]}]
]"""


def test_streamingbench(tmp_path: Path) -> None:
    file = tmp_path / "questions.json"
    file.write_text(STREAMINGBENCH)
    converted = convert("streamingbench", file)
    now, who, where = converted.rows
    assert (now["id"], now["video"], now["end_s"]) == ("streamingbench/real/0/0", "videos/a.mp4", 62)
    assert (now["options"], now["target"]["kind"]) == (["one", "two dogs", "three", "four"], "streamingbench Counting")
    assert (who["dataset"], who["options"]) == ("streamingbench/sequential", ["Ann", "Bo", "Cy", "Di"])
    assert where["question"] == "Asked at 24 seconds: Who? Answer: Di\nWhere is she?"
    assert where["options"] == ["here", "there", "up", "gone"]
    assert [one.row_id for one in converted.anomalies["no_annotation"]] == ["streamingbench/real/0/1"]


def test_frames_after_the_question_change_nothing(tmp_path: Path) -> None:
    # At 4 frames per second frame 12 is that of the question's time.
    noise = np.random.default_rng(0).integers(0, 255, (24, 56, 56, 3), np.uint8)
    for name in ("seen", "other"):
        (tmp_path / name).mkdir()
        for number, frame in enumerate(noise):
            pixels = frame if number <= 12 or name == "seen" else 255 - frame
            Image.fromarray(pixels).save(tmp_path / name / f"{number:03d}.png")
    sampling = VideoSampling(2.0, 4, 16, 3136, 3136, 3136 * 16)
    seen, other = (decode(Video(tmp_path / name, sampling, end_s=3.0, source_fps=4.0)) for name in ("seen", "other"))
    assert (seen.pixels == other.pixels).all()
    whole = [decode(Video(tmp_path / name, sampling, source_fps=4.0)) for name in ("seen", "other")]
    assert not (whole[0].pixels == whole[1].pixels).all()


def test_drawn_questions_have_the_colours_of_the_pixels() -> None:
    for seed in range(30):
        clip = draw(random.Random(seed))
        for row, kind in zip(clip.rows, QUESTIONS, strict=True):
            frame = {"now": int(row["end_s"] * 4), "first": 0}.get(kind)
            if frame is not None:
                colour = COLOURS["ABCD".index(row["target"]["choice"])]
                assert tuple(clip.pixels[frame, 28, 28]) == RGB[colour]
        letters = [row["target"]["choice"] for row in clip.rows]
        assert clip.blank.std(axis=0).max() == 0
        assert set(letters) <= set("ABCD")
