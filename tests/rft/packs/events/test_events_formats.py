"""Published annotations of events: counts of the real files, blind figures on them, and E.T. Bench's forms."""

import json
from collections import Counter
from pathlib import Path

import pytest
from annotation_files import annotations

from rft.data.convert.conversion import Conversion, ConvertOptions, convert
from rft.evaluation.baselines import Baselines, measure_baselines
from rft.evaluation.evaluate import RowSet
from rft.evaluation.published_results import published_results
from rft.packs.events.coco_scores import dense_scores
from rft.packs.events.rewards import event_captions
from rft.tasks import TASKS
from rft.types import Prompt

HIGHLIGHTS = "QVHighlights/highlight_val_release.jsonl"


def baselines_of(conversion: Conversion) -> Baselines:
    tasks = [TASKS[fields["task"]] for fields in conversion.rows]
    rows = [task.row_type.model_validate(fields) for task, fields in zip(tasks, conversion.rows, strict=True)]
    prompts = [Prompt(row.id, row.task, "", None, TASKS[row.task].target(row), row.dataset) for row in rows]
    return measure_baselines(prompts, {}, 0)


@pytest.mark.slow  # intervals of all figures take seconds
def test_highlights() -> None:
    converted = convert("qvhighlights", annotations(HIGHLIGHTS))
    assert (len(converted.rows), converted.anomalies) == (1550, {})
    assert ("queries without a part of score 4", "35") in converted.facts
    found = baselines_of(converted).estimates["qvhighlights/val"]
    percent = {
        name: [round(100 * found[name][f"{what}_{level}"].value, 1)
               for level in ("Fair", "Good", "VeryGood") for what in ("mAP", "Hit@1")]
        for name in ("all equal", "earlier is better")
    }  # fmt: skip
    # By the released metric code: moment_detr, standalone_eval, at b7e553a.
    assert percent["all equal"] == [24.8, 21.1, 19.5, 19.7, 11.0, 15.0]
    assert percent["earlier is better"] == [44.9, 21.1, 36.6, 19.7, 21.6, 15.0]


def test_windows_of_highlights_are_spans() -> None:
    converted = convert("qvhighlights", annotations(HIGHLIGHTS), ConvertOptions(task="event_spans"))
    assert len(converted.rows) == 1550
    assert sum(len(row["target"]["spans"]) > 1 for row in converted.rows) == 530


def test_timechat_s_copy_of_highlights_names_the_same_queries_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "val.caption_coco_format.json"
    one = {"id": 7, "caption": "a goal", "image_id": "v_ab_60.0_66.0.mp4", "timestamp": [[2, 4]], "duration": 6}
    path.write_text(json.dumps({"annotations": [{**one, "relevant_clip_ids": [1], "saliency_scores": [[4, 3, 2]]}]}))
    (row,) = convert("qvhighlights", path).rows
    assert (row["dataset"], row["query"], row["video"]) == ("qvhighlights/timechat_val", "a goal", one["image_id"])
    assert row["target"] == {"part_s": 2.0, "saliency": [[0.0] * 3, [4.0, 3.0, 2.0], [0.0] * 3]}


@pytest.mark.slow  # as above
def test_dense_captions() -> None:
    converted = convert("youcook2", annotations("YouCook2/yc2_val.json"))
    assert (len(converted.rows), converted.anomalies) == (457, {})
    assert ("events", "3,492") in converted.facts
    of_task = TASKS["timed_captions"]
    targets = [of_task.read_target(row["target"]) for row in converted.rows]
    assert {event_captions(target.written(), target).value for target in targets} == {1.0}
    found = baselines_of(converted).estimates["youcook2/val"]
    measured = {n: (round(found[f"{n} equal parts"]["F1"].value, 3),
                    round(found[f"{n} equal parts"]["SODA_d"].value, 3)) for n in (1, 3, 5, 8, 10)}  # fmt: skip
    # By the released metric code of VidChapters and of SODA.
    assert measured == {1: (0.004, 0.041), 3: (0.076, 0.161), 5: (0.149, 0.237), 8: (0.218, 0.298), 10: (0.237, 0.309)}


def test_chapters_past_the_end_leave_out_their_video(tmp_path: Path) -> None:
    cut = {"duration": 60.0, "timestamps": [[0, 30], [30, 60]], "sentences": ["Intro", "Cut", "Outro"], "path": "b.npy"}
    whole = {"duration": 90.0, "timestamps": [[0, 20], [20, 90]], "sentences": ["Intro", "Sharpening a knife"]}
    (tmp_path / "chapters_dvc_val.json").write_text(json.dumps({"a": whole, "b": cut}))
    converted = convert("vidchapters", tmp_path / "chapters_dvc_val.json")
    (row,) = converted.rows
    assert (row["id"], row["dataset"], row["video"]) == ("vidchapters/val/a", "vidchapters/val", "a.mp4")
    assert row["target"]["captions"][1] == {"span": [20, 90], "text": "Sharpening a knife"}
    assert [anomaly.detail for anomaly in converted.anomalies["no_annotation"]] == ["2 timestamps but 3 sentences"]


@pytest.mark.parametrize(
    ("name", "source", "rows", "left_out"),
    [
        ("youcook2", "YouCook2/yc2_train.json", 1292, (7, 34, 0)),
        ("youcook2", "YouCook2/yc2_val.json", 444, (4, 9, 0)),
        ("activitynet_dense", "ActivityNet/activitynet_annotation/train.json", 3555, (2, 4516, 1936)),
        ("activitynet_dense", "ActivityNet/activitynet_annotation/val.json", 1683, (1, 2215, 1018)),
        ("activitynet_dense", "ActivityNet/activitynet_annotation/val_2.json", 2119, (0, 2766, 0)),
    ],
)
def test_events_to_put_in_order(name: str, source: str, rows: int, left_out: tuple[int, ...]) -> None:
    converted = convert(name, annotations(source), ConvertOptions(task="event_order"))
    reasons = Counter(anomaly.detail for anomaly in converted.anomalies["no_annotation"])
    why = ("captions are alike or empty", "events overlap, or end before they start", "fewer than 3 events")
    assert (len(converted.rows), tuple(reasons[reason] for reason in why)) == (rows, left_out)
    assert reasons.total() == sum(left_out)


def test_events_are_shown_in_any_order_and_asked_in_that_of_time(tmp_path: Path) -> None:
    told = {number: f"step {number}" for number in range(8)}
    video = {"duration": 80.0, "timestamps": [[10 * n, 10 * n + 10] for n in told], "sentences": list(told.values())}
    (tmp_path / "yc2_val.json").write_text(json.dumps({f"v_{i}": video for i in range(40)}))
    rows = convert("youcook2", tmp_path / "yc2_val.json", ConvertOptions(task="event_order")).rows
    shown = [dict(zip(row["names"], row["captions"], strict=True)) for row in rows]
    for row, captions in zip(rows, shown, strict=True):
        in_order = [captions[letter] for letter in row["target"]["order"]]
        assert in_order == sorted(captions.values())
    assert {len(captions) for captions in shown} == {3, 4, 5}
    assert len({tuple(captions.values()) for captions in shown}) > 30


@pytest.mark.parametrize(
    ("name", "source", "tasks"),
    [
        ("qvhighlights", HIGHLIGHTS, ("saliency", "event_spans")),
        ("youcook2", "YouCook2/yc2_val.json", ("timed_captions", "event_order")),
    ],
)
def test_one_run_can_have_both_kinds_of_rows(name: str, source: str, tasks: tuple[str, str]) -> None:
    rows = [row for task in tasks for row in convert(name, annotations(source), ConvertOptions(task=task)).rows]
    assert len({row["id"] for row in rows}) == len(rows)


@pytest.mark.parametrize(
    ("task", "dataset", "rows"),
    [
        ("saliency", "qvhighlights/val", 1550),
        ("saliency", "qvhighlights/timechat_val", 1463),
        ("timed_captions", "youcook2/val", 457),
    ],
)
def test_figures_of_papers_are_of_metrics_that_the_task_has(task: str, dataset: str, rows: int) -> None:
    of_task = TASKS[task]
    ours = of_task.metrics("", of_task.target(of_task.example), of_task.own_rewards)
    if of_task.more_metrics:
        ours |= dense_scores([], [((0.0, 1.0), "cut")], lambda pairs: (0.0, ()), lambda pairs: 0.0)
    results = published_results(RowSet(task, dataset, rows, rows)).comparable
    assert results
    assert all(ours.keys() > result.values.keys() for result in results)
