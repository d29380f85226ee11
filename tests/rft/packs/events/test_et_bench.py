"""E.T. Bench: samples as rows, the released readings, and its sums by hand-worked numbers."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.targets.choice import ChoiceTarget
from rewards.types import Target
from rft.commands.eval.offline import evaluate_predictions
from rft.data.convert.conversion import Conversion, convert
from rft.evaluation.evaluate import parser_tables
from rft.evaluation.suites import all_suites
from rft.packs.events import published
from rft.packs.events.rewards import any_to_any_f1, option_iou, option_letter, span_precision, span_recall
from rft.packs.events.targets import AnyOfTarget, LetterAndSpanTarget, SpansTarget, TimedCaptionsTarget
from rft.tasks import TASKS

TWO = SpansTarget(((0.0, 4.0), (6.0, 8.0)))
ANY = AnyOfTarget(((0.0, 4.0), (6.0, 8.0)))
ASKED = LetterAndSpanTarget("B", ((0.0, 4.0),))
LETTER = ChoiceTarget("B")
STEPS = TimedCaptionsTarget((((0.0, 4.0), "cut the onion"), ((4.0, 8.0), "fry it")))

ALL: list[tuple[Any, Target]] = [
    (any_to_any_f1, TWO), (option_letter, ASKED), (option_iou, ASKED), (span_precision, STEPS), (span_recall, STEPS),
    (published.seconds_overlap_f1, TWO), (published.choice_accuracy, LETTER), (published.option_letter, ASKED),
    (published.option_iou, ASKED), (published.event_times, STEPS), (published.event_captions, STEPS),
    (published.span_precision, STEPS), (published.span_recall, STEPS),
]  # fmt: skip


def said(text: str) -> str:
    return f"<answer>{text}</answer>"


def sample(task: str, source: str, q: str, **fields: object) -> dict[str, object]:
    video = {"video": f"{source}/{task}.mp4", "duration": 60.0}
    return {"version": 1.0, "idx": 0, "task": task, "source": source, **video, "q": q, **fields}


FORM = "The format of your response should be: 'It happens in <start time> - <end time>'."
CAPTIONS = {"tgt": [[0.0, 4.0], [4.0, 8.0]], "g": ["cut", "fry"]}
OPTIONS = {"o": ["run", "jump"], "p": 1}

ANSWERED: list[tuple[dict[str, object], str]] = [
    (sample("rar", "perception_test", "What is he doing?\n(A) run\n(B) jump", **OPTIONS), "(B)"),
    (sample("eca", "charades_sta", "When?\n(A) 1 - 2\n(B) 3 - 9", o=[[1.0, 2.0], [3, 9.5]], p=0), "B. 3 - 9"),
    (sample("rvq", "star", "Why?\n(A) run\n(B) jump", **OPTIONS), "Best Option: (B) jump"),
    (sample("tvg", "charades_sta", f"Find 'a man's hand'. {FORM}", tgt=[3.0, 9.0]), "It happens in 3 - 9 seconds"),
    (sample("tvg", "qvhighlights", f"Find 'a man waves'. {FORM}", tgt=[0, 10]), "0 - 4"),
    (sample("epm", "ego4d_nlq", f"Find what answers 'Where was I?'. {FORM}", tgt=[0, 10]), "I cannot tell."),
    (sample("tal", "thumos14", f"Find 'throw'. {FORM}", tgt=[[0, 4], [6, 8]]), "0 - 4, 0 - 4"),
    (sample("tal", "thumos15", f"Find 'throw'. {FORM}", tgt=[[0, 4], [6, 8]]), "0 - 4, 6 - 8"),
    (sample("tal", "perception_test", f"Find 'throw'. {FORM}", tgt=[[0, 4]]), "10 - 14"),
    (sample("evs", "tvsum", f"A video about cars. Sum it up. {FORM}", tgt=[[0, 10]]), "0 - 5"),
    (sample("vhd", "qvhighlights", f"Find 'a goal'. {FORM}", tgt=[[[3, 9]], [[20, 22]]]), "at 21 seconds"),
    (sample("vhd", "youtube_highlights", f"Find 'a goal'. {FORM}", tgt=[[3, 9]]), "21"),
    (sample("dvc", "youcook2", f"Describe 'salad'. {FORM}", **CAPTIONS), "0 - 4 seconds, cut it."),
    (sample("dvc", "hirest", f"Describe it. {FORM}", **CAPTIONS), "First I see nothing."),
    (sample("slc", "ht_step", f"Find the steps. {FORM}", **CAPTIONS), "0 - 4, cut it. 4 - 8, fry it."),
    (sample("slc", "cross_task", f"Find the steps. {FORM}", **CAPTIONS), "0 - 8, cut and fry it."),
    (sample("tem", "qvhighlights", "Find one like 1 - 2.", src=[1, 2.0], tgt=[[0, 4], [6, 8]]), "6 - 8, 0 - 1"),
    (sample("tem", "perception_test", "Find one like 1 - 2.", src=[1, 2.0], tgt=[[0, 4], [6, 8]]), "0 - 10"),
    (sample("gvq", "qa_ego4d", "Where?\n(A) run\n(B) jump", **OPTIONS, tgt=[0, 4]), "(B) It happens in 0 - 8"),
]
"""A sample of every task and source, and an answer to it."""


def convert_samples(folder: Path, samples: list[dict[str, object]]) -> Conversion:
    path = folder / "etbench.json"
    path.write_text(json.dumps(samples))
    return convert("et_bench", path)


def measured(folder: Path, without: str = "") -> dict[str, Any]:
    """The suite as `rft eval --json` prints it. `without`: data set that is not measured."""
    rows = convert_samples(folder, [one for one, _ in ANSWERED]).rows
    kept = [(row, answer) for row, (_, answer) in zip(rows, ANSWERED, strict=True) if row["dataset"] != without]
    data, answers = folder / "rows.jsonl", folder / "answers.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row, _ in kept))
    lines = [{"id": row["id"], "completion": said(answer)} for row, answer in kept]
    answers.write_text("".join(json.dumps(line) + "\n" for line in lines))
    suite: dict[str, Any] = json.loads(evaluate_predictions([answers], None, [data], True))["suites"]["et_bench"]
    return suite


def test_samples_become_rows_of_their_tasks(tmp_path: Path) -> None:
    converted = convert_samples(tmp_path, [*(one for one, _ in ANSWERED), sample("new", "s", "What?")])
    (unknown,) = converted.anomalies["no_annotation"]
    assert (unknown.row_id, unknown.detail) == ("et_bench/new/s/0", "unknown task 'new'")
    by_set = {row["dataset"].removeprefix("et_bench/"): row for row in converted.rows}
    assert {
        name: (row["task"], row["target"]) for name, row in by_set.items() if name.endswith(("qvhighlights", "4d"))
    } == {
        "tvg/qvhighlights": ("event_matching", {"any_of": [[0, 10]]}),
        "vhd/qvhighlights": ("event_moment", {"moments": [[3, 9], [20, 22]]}),
        "tem/qvhighlights": ("event_matching", {"any_of": [[0, 4], [6, 8]]}),
        "gvq/qa_ego4d": ("event_question", {"choice": "B", "any_of": [[0, 4]]}),
    }
    assert by_set["dvc/youcook2"]["target"]["captions"][1] == {"span": [4.0, 8.0], "text": "fry"}
    assert by_set["eca/charades_sta"]["options"] == ["1 - 2", "3 - 9.5"]
    assert by_set["rar/perception_test"]["question"] == "What is he doing?"
    # The form of the answer is not part of what is asked.
    assert {name.partition("/")[0]: row["query"] for name, row in by_set.items() if "query" in row} == {
        "tvg": "a man waves",
        "epm": 'the answer to "Where was I?"',
        "tal": "throw",
        "evs": "what sums the video up, in about 15 % of its length",
        "vhd": "a goal",
        "dvc": "Describe it.",
        "slc": "Find the steps.",
        "tem": "an event like that from 1 to 2 seconds, at another time",
    }
    assert by_set["tvg/charades_sta"]["query"] == "a man's hand"
    (suite,) = (suite for suite in all_suites() if suite.name == "et_bench")
    assert {row["dataset"] for row in converted.rows} == set(suite.sets)


def test_sums(tmp_path: Path) -> None:
    suite = measured(tmp_path)
    strict = {
        # Letters: right, wrong, right.
        "rar": 1, "eca": 0, "rvq": 1, "referring": 2 / 3,
        # IoU 1, and 0.4: two of four thresholds. epm is unreadable.
        "tvg": (1 + 0.5) / 2, "epm": 0,
        # Precision 1 and recall 1/2, as repeats cost nothing; right; wrong.
        "tal": (2 / 3 + 1 + 0) / 3,
        # 5 seconds of 10.
        "evs": 2 * 5 / 15,
        "vhd": (1 + 0) / 2, "grounding": (0.75 + 0 + 5 / 9 + 2 / 3 + 0.5) / 5,
        # Precision 1, recall 1/2; no span.
        "dvc": (2 / 3 + 0) / 2,
        # Right; IoU 1/2 with both steps, which is above .1 and .3 only.
        "slc": (1 + 0.5) / 2, "dense_captioning": (1 / 3 + 0.75) / 2,
        # The first span of two, IoU 1; IoU 0.4.
        "tem": (1 + 0.5) / 2,
        # The right letter, IoU 1/2.
        "gvq": 0.75, "complex": 0.75,
    }  # fmt: skip
    assert {name: of["greedy, strict"] for name, of in suite["means"].items()} == pytest.approx(strict)
    lenient = {name: of["greedy, lenient"] for name, of in suite["means"].items()}
    # Two spans are no answer where one was asked for.
    assert lenient == pytest.approx({**strict, "tem": 0.25, "complex": 0.5})
    assert (suite["missing"], suite["published"]) == ([], {})
    assert suite["remark"] == "the sources measured 470 or 7,289 rows, these are 19"


def test_a_source_that_was_not_measured(tmp_path: Path) -> None:
    suite = measured(tmp_path, without="et_bench/tal/thumos15")
    assert suite["missing"] == ["et_bench/tal/thumos15"]
    unknown = {name for name, of in suite["means"].items() if of["greedy, strict"] is None}
    assert unknown == {"tal", "grounding"}


@pytest.mark.parametrize(
    ("text", "letter", "released", "leading"),
    [
        ("B", 1, 1, 1),
        ("b. jump", 1, 1, 1),
        ("Best Option: (B)", 1, 1, 1),
        ("I think it is (B)", 1, 1, 0),
        # A wrong letter in brackets does not stop the second rule.
        ("B, not (A)", 0, 1, 1),
        ("(A) or (B)", 0, 0, 0),
        ("A man jumps", 0, 0, 0),
        ("The answer is B", 1, 0, 0),
        ("", 0, 0, 0),
    ],
)
def test_letters(text: str, letter: float, released: float, leading: float) -> None:
    assert option_letter(said(text), ASKED).value == letter
    assert published.choice_accuracy(said(text), LETTER).value == released
    assert published.option_letter(said(text), ASKED).value == leading


@pytest.mark.parametrize(
    ("text", "value", "released"),
    [
        ("(B) 0 - 4", 1, 1),
        ("(B) 0 - 2", 0.5, 0.5),
        ("(A) 0 - 4", 0, 0),
        ("(B) 0 - 2, 0 - 4", 0, 0.5),
        ("(B) at 2", 0, 0),
        ("0 - 4", 0, 0),
    ],
)
def test_letter_and_span(text: str, value: float, released: float) -> None:
    assert option_iou(said(text), ASKED).value == value
    assert published.option_iou(said(text), ASKED).value == released


def test_recall_follows_the_reading_of_the_parser() -> None:
    task, answer = TASKS["event_matching"], said("1 - 3, 6 - 8")
    ours, theirs = (task.measure(answer, ANY, table) for table in parser_tables(task).values())
    # IoU 1/2 of the first span, two of four thresholds below it and one at it.
    hits = {"R@0.1": 1, "R@0.3": 1, "R@0.5": 1, "R@0.7": 0}
    assert {key: theirs[key] for key in ("mIoU", "R@0.1:0.7", *hits)} == {"mIoU": 0.5, "R@0.1:0.7": 0.75, **hits}
    assert ours["mIoU"] == ours["R@0.1:0.7"] == 0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0 - 4, 6 - 8", 1),
        # Rounded half to even: 0 to 2, of 6 true seconds.
        ("0.5 - 2.5", 2 * 2 / (2 + 6)),
        ("2 - 2.4", 0),
        # Nothing counts after 1,000 seconds.
        ("6 - 8, 990 - 2000", 2 * 2 / (12 + 6)),
        ("between 0 and 4", 0),
    ],
)
def test_bins_of_seconds(text: str, value: float) -> None:
    assert published.seconds_overlap_f1(said(text), TWO).value == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "events"),
    [
        ("0 - 4 seconds, Cut it. 4 - 8 seconds, Fry it.", [((0, 4), "cut it."), ((4, 8), "fry it.")]),
        ("9 - 3: cut it now", [((3, 9), ": cut it now")]),
        # Text before the first span is taken for its caption.
        ("In a pan: 0 - 4, cut it.", [((0, 4), "in a pan:")]),
        ("In a pan: 0 - 4, cut it. 4 - 8, fry it.", [((0, 4), "in a pan:"), ((4, 8), "cut it.")]),
        # Pieces of five characters are no captions.
        ("0 - 4 ab 4 - 8, fry.", [((0, 4), "fry.")]),
        ("1..2.. - 4, cut it", []),
        # Start and end apart; the shorter list of times and descriptions decides.
        ("Start time: 9.5, end time: 3s, description: cut it.\nStart time: 10, end time: 12", [((3, 9.5), "cut it.")]),
        ("start time 3, end time 9: cut it", []),
        # Nothing else is found: one event, with 20 seconds to each side of a lone time.
        ("0 to 4, cut it", [((0, 4), "0 to 4, cut it.")]),
        ("0 - 4; 6 - 8.5", [((0, 4), "0 - 4; 6 - 8.")]),
        ("At 50 seconds, he cuts it.\nAt 60 he fries it.", [((30, 70), "he cuts it.")]),
        ("He cuts it.\nAt 0:12 he fries it.", [((12, 52), "At 0:12 he fries it.")]),
        ("From 1:05 to 1:20 he cuts it", [((65, 80), "From 1:05 to 1:20 he cuts it.")]),
        ("From 1 to 2 to 3 he cuts it", []),
        ("He cuts it", []),
    ],
)
def test_events_that_the_released_code_reads(text: str, events: list[tuple[tuple[float, float], str]]) -> None:
    assert published.released_events(text) == events


def test_f1_of_means_at_both_sets_of_thresholds() -> None:
    task = TASKS["timed_captions"]
    # IoU 1 with one of two events: precision 1, recall 1/2. IoU 0.25 with both: above .1 only.
    judged = [(STEPS, task.measure(said(text), STEPS)) for text in ("0 - 4, cut it", "3 - 5, stir it")]
    first, others = 2 * 1 * 0.75 / 1.75, 2 * 0.5 * 0.25 / 0.75
    figures = task.corpus_metrics(judged)
    assert figures == pytest.approx({"F1": others, "F1@0.1:0.7": (first + 3 * others) / 4})


@given(st.text(max_size=60) | st.text("ABab0123456789.:- ,toends()\n", max_size=60))
def test_no_text_raises_or_leaves_the_range(text: str) -> None:
    for reward, target in ALL:
        assert 0.0 <= reward(said(text), target).value <= 1.0


@pytest.mark.parametrize("piece", ["1 - 2, ", "1", "1 - 2, cut it now. ", "(A) ", "- "])
def test_long_texts_take_no_time(piece: str) -> None:
    spent_s = time.process_time()
    for reward, target in ALL:
        reward(said(piece * (50_000 // len(piece))), target)
    assert time.process_time() - spent_s < 2
