"""Corpora for reinforcement learning, in small: what becomes a row, and what is counted and left out."""

import json
from pathlib import Path
from typing import Any

import pytest
from pyarrow import Table
from pyarrow.parquet import write_table

from rft.data.convert.conversion import Conversion, ConvertOptions, convert, write_rows
from rft.data.convert.lettered import split_options
from rft.data.dataset import read_rows
from rft.errors import DataError
from rft.tasks import TASKS
from rft.tasks.types import Row

PROBLEM = {
    "problem_id": 2,
    "problem": "What is on the table?",
    "data_type": "video",
    "problem_type": "multiple choice",
    "options": ["A. a cup", "B. a hat", "C. a shoe"],
    "solution": "<answer>B</answer>",
    "path": "./LLaVA-Video-178K/a/clip.mp4",
    "data_source": "LLaVA-Video-178K/30_60_s_youtube_v0_1",
}
TRAINED = {
    "video": "./dataset/timer1/videos/timerft_data/xYz.mp4",
    "duration": 45.7,
    "timestamp": [34.9, 41.9],
    "sentence": "A man opens a box.",
    "qid": "my|cosmo|xYz|A man opens a box.",
    "video_start": 39.0,
    "video_end": 84.7,
    "difficulty": 24.0,
    "pred": [1.0, 2.0],
}
MEASURED = {
    "path": "./dataset/timer1/videos/tvgbench_data/KWZ.mp4",
    "question": "a person sits.",
    "answer": "13.4-28.1",
    "start": None,
    "end": None,
    "duration": 30.12,
    "question_type": "video temporal grounding",
    "qsemtype": "Human Pose",
}


def source(tmp_path: Path, name: str, data: Any) -> Path:
    path = tmp_path / name
    lines = "".join(f"{json.dumps(line)}\n" for line in data) if path.suffix == ".jsonl" else json.dumps(data)
    path.write_text(lines)
    return path


def read_back(conversion: Conversion, folder: Path) -> tuple[Row, ...]:
    write_rows(conversion, folder / "out" / "rows.jsonl")
    return read_rows([folder / "out" / "rows.jsonl"], None, tuple(TASKS))


def left_out(conversion: Conversion) -> list[tuple[str, str]]:
    return [(anomaly.row_id, anomaly.detail) for anomaly in conversion.published.anomalies]


def test_video_r1_has_choices_over_videos_and_images(tmp_path: Path) -> None:
    picture = PROBLEM | {"data_type": "image", "path": "./Chart/1.png", "solution": "<answer> (c) </answer>"}
    number = PROBLEM | {"problem_type": "numerical", "options": [], "solution": "<answer>3</answer>"}
    unread = PROBLEM | {"solution": "<answer>a hat</answer>"}
    path = source(tmp_path, "Video-R1-260k.json", [PROBLEM, picture, number, unread])
    conversion = convert("video_r1", path)
    assert conversion.rows[0] == {
        "id": "video_r1/260k/0",
        "task": "multiple_choice",
        "video": "LLaVA-Video-178K/a/clip.mp4",
        "question": "What is on the table?",
        "options": ["a cup", "a hat", "a shoe"],
        "target": {"choice": "B"},
        "dataset": "video_r1/260k",
    }
    assert (conversion.rows[1]["image"], conversion.rows[1]["target"]) == ("Chart/1.png", {"choice": "C"})
    assert left_out(conversion) == [("video_r1/260k/3", "<answer>a hat</answer>")]
    assert dict(conversion.facts)["problems by kind"] == (
        "image multiple choice 1, video multiple choice 2, video numerical 1"
    )
    assert dict(conversion.facts)["left out: no multiple choice"] == "1"
    assert len(read_back(conversion, tmp_path)) == 2


def test_video_r1_shows_how_to_think_before(tmp_path: Path) -> None:
    thought = PROBLEM | {"process": "<think>It is a hat.</think>"}
    conversion = convert("video_r1", source(tmp_path, "Video-R1-COT-165k.json", [thought]))
    (row,) = read_back(conversion, tmp_path)
    assert row.demonstration == "<think>It is a hat.</think>\n<answer>B</answer>"
    assert row.dataset == "video_r1/cot_165k"


def test_onethinker_has_choices_over_one_file(tmp_path: Path) -> None:
    problem = {
        "problem_id": 5,
        "problem": "<video>\nWhat does he do?",
        "data_type": "video",
        "problem_type": "multiple choice",
        "options": ["A. sits", "B. runs"],
        "answer": "<answer>B</answer>",
        "videos": ["./QA/Holmes/1.mp4"],
        "images": [],
        "data_source": "Holmes-train",
    }
    picture = problem | {"problem": "<image>Who?", "data_type": "image", "videos": None, "images": ["QA/1.png"]}
    several = picture | {"images": ["QA/1.png", "QA/2.png"]}
    span = problem | {"problem_type": "temporal grounding", "options": [], "answer": '{"time": [1, 2]}'}
    path = source(tmp_path, "onethinker_rl_train.json", [problem, picture, several, span])
    conversion = convert("onethinker", path)
    of_video, of_image = read_back(conversion, tmp_path)
    assert (of_video.id, of_video.target, of_image.image) == (
        *("onethinker/rl/0", {"choice": "B"}),
        str(tmp_path / "out" / "QA" / "1.png"),
    )
    assert conversion.rows[0]["question"] == "What does he do?"
    assert conversion.rows[0]["options"] == ["sits", "runs"]
    assert conversion.rows[0]["video"] == "QA/Holmes/1.mp4"
    assert left_out(conversion) == [("onethinker/rl/2", "2 files")]
    assert dict(conversion.facts)["left out: no multiple choice"] == "1"


def test_time_r1_counts_times_from_the_cut(tmp_path: Path) -> None:
    whole = TRAINED | {"video_start": None, "video_end": None, "qid": "my|didemo|b"}
    conversion = convert("time_r1", source(tmp_path, "train_2k5.json", [TRAINED, whole]))
    cut, uncut = read_back(conversion, tmp_path)
    assert (cut.start_s, cut.end_s, cut.clip_s, cut.target) == (39.0, 84.7, 84.7 - 39.0, {"span": [34.9, 41.9]})
    assert (uncut.start_s, uncut.duration_s, uncut.dataset) == (None, 45.7, "time_r1/train")
    assert dict(conversion.rows[0])["video"] == "timerft_data/xYz.mp4"
    assert dict(conversion.facts)["rows by source"] == "cosmo 1, didemo 1"
    assert dict(conversion.facts)["rows that cut a clip out of their video"] == "1"


def test_tvgbench_answers_are_texts(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "KWZ.mp4").write_bytes(b"")
    path = source(tmp_path, "tvgbench.json", [MEASURED, MEASURED | {"answer": "from 3 to 4"}])
    conversion = convert("time_r1", path, ConvertOptions(video_root=tmp_path / "videos"))
    (row,) = read_back(conversion, tmp_path)
    assert (row.id, row.target, row.video) == (
        *("tvgbench/test/0", {"span": [13.4, 28.1]}),
        str(tmp_path / "videos" / "KWZ.mp4"),
    )
    assert left_out(conversion) == [("tvgbench/test/1", "from 3 to 4")]
    with pytest.raises(DataError, match=r"other\.json: is neither train_2k5\.json nor tvgbench\.json"):
        convert("time_r1", source(tmp_path, "other.json", []))


def test_timelens_trains_on_events_and_tests_on_queries(tmp_path: Path) -> None:
    events = [
        {"query": "a man sings", "span": [[3.0, 9.5]]},
        {"query": "a dog barks", "span": [10.0, 12.0]},
        {"query": "they clap", "span": [[1.0, 2.0], [5.0, 6.0]]},
    ]
    video = {"source": "cosmo_cap", "video_path": "cosmo_cap/a.mp4", "duration": 31.0, "events": events}
    conversion = convert("timelens", source(tmp_path, "timelens-100k.jsonl", [video]))
    assert [row.target for row in read_back(conversion, tmp_path)] == [{"span": [3.0, 9.5]}, {"span": [10.0, 12.0]}]
    assert left_out(conversion) == [("timelens/train/0/2", "2 spans")]
    test_set = {"AAA": {"duration": 30.0, "spans": [[0.0, 6.9], [3.0, 4.0]], "queries": ["he sits", "he eats"]}}
    conversion = convert("timelens", source(tmp_path, "charades-timelens.json", test_set))
    first, second = read_back(conversion, tmp_path)
    assert (first.id, second.dataset) == ("charades_timelens/test/AAA/0", "charades_timelens/test")
    assert (first.clip_s, second.target) == (30.0, {"span": [3.0, 4.0]})
    test_set["AAA"]["queries"] = ["he sits"]
    with pytest.raises(DataError, match="2 spans but 1 queries"):
        convert("timelens", source(tmp_path, "charades-timelens.json", test_set))


@pytest.mark.parametrize(
    ("problem", "question", "options"),
    [
        ("Why?\nA. a cup\nB. a hat", "Why?", ["a cup", "a hat"]),
        ("Why?  \n(A) a cup\n (B) a hat,\nand a shoe\n", "Why?", ["a cup", "a hat,\nand a shoe"]),
        ("Who?\nMr. X asks.\nA) he\nB) she\nC) both", "Who?\nMr. X asks.", ["he", "she", "both"]),
        ("Why?\nA. a cup", "Why?\nA. a cup", []),
        ("Why?\nB. a hat\nA. a cup", "Why?\nB. a hat\nA. a cup", []),
        ("Why? A. a cup B. a hat", "Why? A. a cup B. a hat", []),
    ],
)
def test_options_in_the_text_of_a_question(problem: str, question: str, options: list[str]) -> None:
    assert split_options(problem) == (question, options)


def test_longvideo_reason_has_its_options_in_the_text(tmp_path: Path) -> None:
    lettered = {
        "problem": "Why does he run?\nA. He is late\nB. He is chased",
        "reasoning": "A dog comes.",
        "videos": "longvila_videos/a.mp4",
        "answer": "<answer>B</answer>",
    }
    free = lettered | {"problem": "Why does he run?", "answer": "<answer>A dog chases him.</answer>", "reasoning": ""}
    path = source(tmp_path, "train.jsonl", [lettered, free])
    conversion = convert("longvideo_reason", path)
    assert conversion.rows == (
        {
            "id": "longvideo_reason/train/0",
            "task": "multiple_choice",
            "video": "longvila_videos/a.mp4",
            "question": "Why does he run?",
            "options": ["He is late", "He is chased"],
            "target": {"choice": "B"},
            "demonstration": "<think>A dog comes.</think>\n<answer>B</answer>",
            "dataset": "longvideo_reason/train",
        },
    )
    assert left_out(conversion) == [("longvideo_reason/train/1", "<answer>A dog chases him.</answer>")]
    assert dict(conversion.facts)["questions by right letter"] == "B 1, none 1"
    opened = convert("longvideo_reason", path, ConvertOptions(task="caption", split="openended"))
    (row,) = read_back(opened, tmp_path)
    assert (row.target, opened.rows[0]["query"]) == ({"text": "A dog chases him."}, "Why does he run?")
    assert left_out(opened) == [("longvideo_reason/openended/0", "<answer>B</answer>")]


def test_mtvr_rows_name_their_source(tmp_path: Path) -> None:
    asked = "Find the event. Now I will give you the textual sentence: {} Please return its start time and end time.\n"
    event = {
        "id": "000003",
        "text": asked.format("a dog barks."),
        "solution": [35.5, 40.0],
        "video": "x.mp4",
        "duration": 189.0,
        "data_source": "vidchapter_cutreward",
        "video_kwargs": {"max_frames": 256},
    }
    written = event | {"solution": "[1.0, 2.5]", "data_source": "charades"}
    lettered = event | {
        "text": "What is it?\nA. a cup\nB. a hat",
        "solution": "B",
        "data_source": "video_r1/multiple_choice",
    }
    picture = {key: value for key, value in lettered.items() if key not in ("video", "duration")} | {"image": "x.png"}
    free = event | {"solution": "From 1 to 2, he sits.", "data_source": "rextime"}
    unread = event | {"solution": "soon"}
    path = tmp_path / "MTVR_Tool_RL"
    path.mkdir()
    rows = [event, written, lettered, picture, free, unread, event | {"text": "When?"}]
    conversion = convert("mtvr", source(path, "vidchapters.json", rows))
    found = read_back(conversion, tmp_path)
    assert [(row.task, row.target) for row in found] == [
        ("temporal_grounding", {"span": [35.5, 40.0]}),
        ("temporal_grounding", {"span": [1.0, 2.5]}),
        ("multiple_choice", {"choice": "B"}),
        ("multiple_choice", {"choice": "B"}),
    ]
    assert conversion.rows[0]["query"] == "a dog barks."
    assert (conversion.rows[0]["id"], conversion.rows[0]["duration_s"]) == ("mtvr/tool_rl_vidchapters/0", 189.0)
    assert (conversion.rows[3]["image"], conversion.rows[3]["options"]) == ("x.png", ["a cup", "a hat"])
    assert left_out(conversion) == [
        ("mtvr/tool_rl_vidchapters/5", "soon"),
        ("mtvr/tool_rl_vidchapters/6", "[35.5, 40.0]"),
    ]
    assert dict(conversion.facts)["left out: free answers"] == "1"
    for_imitation = {key: value for key, value in event.items() if key != "data_source"}
    with pytest.raises(DataError, match=r"0\.data_source: Field required"):
        convert("mtvr", source(path, "actnet.json", [for_imitation]))


def test_videosiah_answers_are_texts(tmp_path: Path) -> None:
    trained = {
        "data_source": "hacs",
        "prompt": [{"role": "user", "content": "<video>Who waves?"}],
        "videos": [{"type": "video", "video": "file:///data/selfqa/a.mp4"}],
        "extra_info": {"question": "Who waves?", "video_segment": [3.0, 9.0]},
        "reward_model": {"style": "rule", "ground_truth": "The man in red waves."},
    }
    path = tmp_path / "rl_selfqa_1.7k_cleaned.parquet"
    write_table(Table.from_pylist([trained]), path)
    conversion = convert("videosiah", path)
    assert conversion.rows == (
        {
            "id": "videosiah/rl/0",
            "task": "caption",
            "video": "a.mp4",
            "query": "Who waves?",
            "target": {"text": "The man in red waves."},
            "dataset": "videosiah/rl",
        },
    )
    assert dict(conversion.facts)["questions by source"] == "hacs 1"
    measured = {"video_path": "b/c.mp4", "question": "Who sits?", "answer": "Nobody sits."}
    conversion = convert("videosiah", source(tmp_path, "test.json", [measured]), ConvertOptions(split="eval"))
    (row,) = read_back(conversion, tmp_path)
    assert (row.dataset, row.target) == ("videosiah/eval", {"text": "Nobody sits."})
    assert conversion.rows[0]["video"] == "b/c.mp4"


def test_videochat_r1_5_lists_its_sets(tmp_path: Path) -> None:
    lettered = {
        "question": "Who?",
        "video": "1.mp4",
        "options": ["(A) he", "(B) she"],
        "answer": "(B)",
        "duration": 9.0,
    }
    picture = {"question": "What?", "image": "1.png", "options": ["a cup", "a hat"], "answer": "A"}
    event = {"question": "he sits", "video": "2.mp4", "glue": [1.0, 4.5], "duration": 9.0}
    files = {
        "grounded": ("video", "gqa", [lettered | {"glue": [[1.0, 2.0], [3.0, 4.0]]}]),
        "choices": ("image", "mc", [picture, picture | {"answer": "a hat"}]),
        "events": ("video", "tg", [event, event | {"glue": [[1.0, 2.0], [3.0, 4.0]]}]),
    }
    sets = {"boxes": {"media_type": "image", "task_type": "detection", "json_path": "gone.json", "visual_base": "/d"}}
    for name, (media, task, annotations) in files.items():
        source(tmp_path, f"{name}.json", annotations)
        path = f"/mnt/annotations/{name}.json"
        sets[name] = {"media_type": media, "task_type": task, "json_path": path, "visual_base": "/d"}
    conversion = convert("videochat_r1_5", source(tmp_path, "cotraining.json", sets))
    assert [(row.task, row.target) for row in read_back(conversion, tmp_path)] == [
        ("grounded_qa", {"choice": "B", "spans": [[1.0, 2.0], [3.0, 4.0]]}),
        ("multiple_choice", {"choice": "A"}),
        ("temporal_grounding", {"span": [1.0, 4.5]}),
    ]
    assert [conversion.rows[i]["dataset"] for i in range(3)] == [f"videochat_r1_5/{name}" for name in files]
    assert (conversion.rows[0]["options"], conversion.rows[1]["image"]) == (["he", "she"], "1.png")
    assert left_out(conversion) == [("videochat_r1_5/choices/1", "a hat"), ("videochat_r1_5/events/1", "")]
    assert dict(conversion.facts)["annotations by kind"] == "detection set left out 1, gqa 1, mc 2, tg 2"
    (tmp_path / "events.json").unlink()
    with pytest.raises(DataError, match=r"events\.json: cannot be read"):
        convert("videochat_r1_5", tmp_path / "cotraining.json")
