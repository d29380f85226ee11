"""Instruction files with times in their answers: every published form of answer, and the real files."""

import json
from pathlib import Path
from typing import Any

import pytest
from annotation_files import annotations

from rft.data.convert.conversion import Conversion, ConvertOptions, convert
from rft.packs.events.instructions import quoted_event, timed_fields

LISTS = "Find the steps, with start and end."
ASKS = "When does the woman's hat appear in the man's hand?"


def captions(*events: tuple[float, float, str]) -> dict[str, Any]:
    return {"captions": [{"span": [start, end], "text": text} for start, end, text in events]}


@pytest.mark.parametrize(
    ("question", "answer", "task", "target"),
    [
        (LISTS, "The given query happens in 35.0 - 79.0 seconds.", "temporal_grounding", {"span": [35.0, 79.0]}),
        (LISTS, "The given query happens in 12.3 seconds.", "temporal_grounding", {"span": [12.3, 12.3]}),
        (LISTS, "From 37.8 to 59.9 seconds.", "temporal_grounding", {"span": [37.8, 59.9]}),
        (LISTS, "10.0 - 15.0 seconds", "temporal_grounding", {"span": [10.0, 15.0]}),
        (ASKS, "From 3 to 5 seconds. He holds it while she laughs.", "temporal_grounding", {"span": [3.0, 5.0]}),
        (ASKS, "She hands it over from 3.5 - 5.0 seconds, so then.", "temporal_grounding", {"span": [3.5, 5.0]}),
        (LISTS, "0.0 - 3.0 seconds, cut.", "timed_captions", captions((0, 3, "cut"))),
        # A range in the words is no event.
        (
            LISTS,
            "0.0 - 3.0 seconds, fry for 1-2 minutes.  3.0 - 9.0 seconds, serve it .",
            "timed_captions",
            captions((0, 3, "fry for 1-2 minutes"), (3, 9, "serve it")),
        ),
        (
            LISTS,
            "From 0 to 9.4, a man waves. From 49.4 to 53.2 seconds, two people meet.",
            "timed_captions",
            captions((0, 9.4, "a man waves"), (49.4, 53.2, "two people meet")),
        ),
        (
            LISTS,
            "A man waves from 0 to 3.5. Two people meet, from 3.5 to 7.7.",
            "timed_captions",
            captions((0, 3.5, "A man waves"), (3.5, 7.7, "Two people meet")),
        ),
        # Starts alone: a chapter ends where the next one starts.
        (
            LISTS,
            "2.7 seconds, Intro.  8.5 seconds, Cutting.  38.4 seconds, Closure.",
            "timed_captions",
            captions((2.7, 8.5, "Intro"), (8.5, 38.4, "Cutting")),
        ),
    ],
)
def test_answers_with_times(question: str, answer: str, task: str, target: dict[str, Any]) -> None:
    fields = timed_fields(question, answer, "a.mp4")
    assert isinstance(fields, dict)
    assert (fields["task"], fields["target"]) == (task, target)


@pytest.mark.parametrize(
    ("question", "answer", "why"),
    [
        ("Transcribe the speech.", "0.0 - 3.0 seconds, hello there.", "speech"),
        (LISTS, "The highlight timestamps are in the 1.0, 2.5 seconds. Their saliency scores are 2.1, 1.8.", "key"),
        (LISTS, "There are 2 highlight moments in the 2, 4 second. Their saliency scores are 1.3.", "as many"),
        (LISTS, "There are 1 highlight moments in the 3.0 second. Their saliency scores are 1.3.", "of 2 s"),
        (LISTS, "There are 1 highlight moments in the 2 second. Their saliency scores are 1.3.", "length"),
        (LISTS, "8.5 seconds, Intro.  2.7 seconds, Cutting.", "out of order"),
        (LISTS, "2.7 seconds, Intro.", "one event"),
        (LISTS, "2.7 seconds, Intro.  3.0 - 5.0 seconds, Cutting.", "no span alone"),
        (LISTS, "First 3 - 5 seconds, then 7 - 9 seconds.", "no span alone"),
        (LISTS, "A man waves.", "no span alone"),
        (LISTS, "", "no span alone"),
    ],
)  # fmt: skip
def test_answers_that_no_task_can_check(question: str, answer: str, why: str) -> None:
    fields = timed_fields(question, answer, "a.mp4")
    assert isinstance(fields, str)
    assert why in fields


def test_highlights_are_scores_of_all_parts_of_the_clip() -> None:
    prompt = "... like: 'The highlight timestamps are in the 82 seconds'. Here is the sentence query: 'a goal'. Go on."
    answer = "There are 2 highlight moments in the 2.0, 6.0 second. Their saliency scores are 1.3, 3.7."
    assert timed_fields(prompt, answer, "train/v_ab_60.0_70.0.mp4") == {
        "task": "saliency",
        "query": "a goal",
        "target": {"part_s": 2.0, "saliency": [[0.0], [1.3], [0.0], [3.7], [0.0]]},
    }


@pytest.mark.parametrize(
    ("prompt", "event"),
    [
        ("Find 'the man's hat' in it.", "the man's hat"),
        ('Find "a goal".', "a goal"),
        ("When does the woman's hat appear in the man's hand?", None),
        ("When?", None),
    ],
)
def test_the_event_of_a_prompt(prompt: str, event: str | None) -> None:
    assert quoted_event(prompt) == (event or prompt)


def converted(name: str, tmp_path: Path, content: object) -> Conversion:
    path = tmp_path / "train.json"
    path.write_text(json.dumps(content))
    return convert(name, path)


def test_turns_and_cut_videos_of_timeit(tmp_path: Path) -> None:
    speech = (
        "Transcribed speech: 0.0 - 2.0 seconds, I can't. Based on the video content and possible transcribed speech, "
    )
    qa = [
        {"q": f"{speech}find 'a goal'.", "a": "The given query happens in 3.0 - 5.0 seconds."},
        {"i": "Describe the chapters.", "q": "", "a": "0.0 seconds, Intro.  4.5 seconds, End."},
    ]
    found = converted("timeit", tmp_path, [{"video": "set/a.mp4", "QA": qa, "start": 10.0, "end": 40.0}])
    common = {"video": "set/a.mp4", "start_s": 10.0, "dataset": "train"}
    assert list(found.rows) == [
        common
        | {"id": "train/0/0", "task": "temporal_grounding", "end_s": 40.0, "query": "a goal"}
        | {"target": {"span": [3.0, 5.0]}},
        common | {"id": "train/0/1", "task": "timed_captions", "end_s": 14.5, "target": captions((0, 4.5, "Intro"))},
    ]


def test_times_of_vtimellm_stand_beside_the_dialogue(tmp_path: Path) -> None:
    turns = ["<video>\nWhen is 'a goal' seen?", "From <s0> to <e0>.", "What happens from <s1> to <e1>?", "He falls."]
    meta = {"split": [129.8, 184.0], "duration": 54.2, "token": {"<s0>": 0, "<e0>": 9.4, "<s1>": 20, "<e1>": 30}}
    dialogues = [
        {"id": "3n3o", "conversations": [{"from": "x", "value": turn} for turn in turns], "meta": meta},
        {"id": "plain", "conversations": [{"from": "x", "value": "Hm?"}, {"from": "x", "value": "Yes."}]},
    ]
    found = converted("vtimellm", tmp_path, dialogues)
    (row,) = found.rows
    assert row["target"] == {"span": [0.0, 9.4]}
    assert (row["query"], row["video"], row["start_s"], row["end_s"]) == ("a goal", "3n3o.mp4", 129.8, 184.0)
    assert len(found.anomalies["no_annotation"]) == 2


TRAINED = {"v_ab": {"duration": 82.7, "QA": [{"q": "When does he rest?", "a": "<10.2> <15.5> He ran before."}]}}
ASKED = [
    {"question_id": "q", "vid": "ab", "duration": 82.7, "question": "When does he rest?", "answer": "<15.5> <10.2>"}
]


@pytest.mark.parametrize("content", [TRAINED, ASKED, [{**ASKED[0], "answer": "<3>"}]])
def test_reasoning_with_times(content: Any, tmp_path: Path) -> None:
    found = converted("activitynet_rtl", tmp_path, content)
    rows = [(row["query"], row["target"], row["video"], row["duration_s"]) for row in found.rows]
    unread = content != TRAINED and content != ASKED
    assert rows == ([] if unread else [("When does he rest", {"span": [10.2, 15.5]}, "v_ab.mp4", 82.7)])
    assert ("no_annotation" in found.anomalies) == unread


PROBLEMS = [
    {"problem": "Find all 'throw' in it.", "solution": [[3, 9], [20, 21.5]], "task": "tal", "duration": 30.0},
    {"problem": "Find 'a man waves'.", "solution": [[3.0, 9.0]], "task": "tvg"},
    {"question": "Now the textual sentence: he's done.", "groundtruth": [[3.0, 9.0]]},
    {"question": "all of the action category: 'throw'.", "groundtruth": [[3.0, 9.0]]},
]


def test_problems_of_museg(tmp_path: Path) -> None:
    found = converted("museg", tmp_path, [{"video": "videos/a.mp4", **problem} for problem in PROBLEMS])
    assert [(row["task"], row["query"], row["target"], row.get("duration_s")) for row in found.rows] == [
        ("event_spans", "throw", {"spans": [[3.0, 9.0], [20.0, 21.5]]}, 30.0),
        ("temporal_grounding", "a man waves", {"span": [3.0, 9.0]}, None),
        ("temporal_grounding", "he's done", {"span": [3.0, 9.0]}, None),
        ("event_spans", "throw", {"spans": [[3.0, 9.0]]}, None),
    ]
    assert {row["dataset"] for row in found.rows} == {"museg/train"}


@pytest.mark.parametrize(
    ("name", "rows", "kinds"),
    [
        ("instruct_tvg_0.5k_hirest", {"temporal_grounding": 459}, {}),
        # Steps that end where they start.
        ("instruct_action_0.5k_hirest", {"timed_captions": 448}, {"zero_length": 11}),
        # Key frames with scores.
        ("instruct_vhd_50_tvsum", {}, {"no_annotation": 50}),
        ("instruct_vhd_25_summe", {}, {"no_annotation": 25}),
    ],
)
def test_files_of_timeit(name: str, rows: dict[str, int], kinds: dict[str, int]) -> None:
    found = convert("timeit", annotations(f"TimeIT/{name}.json"), ConvertOptions(drop_invalid=True))
    tasks = [row["task"] for row in found.rows]
    assert {task: tasks.count(task) for task in tasks} == rows
    assert {kind: len(of_kind) for kind, of_kind in found.anomalies.items()} == kinds
