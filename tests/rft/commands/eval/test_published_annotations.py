"""Baselines on the published test splits, against figures worked out from the annotation files by other code."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from annotation_files import annotations

from rft.__main__ import main

pytestmark = pytest.mark.slow  # thousands of rows are measured

CHARADES = "Charades/charades_annotation/charades_test.json"
GOT = "Got/got_val.json"
NEXTGQA = "NextGQA/nextgqa_test.json"

Measure = Callable[[str, str], dict[str, Any]]


@pytest.fixture
def baselines_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Measure:
    """Baselines of the one set of rows that a published file converts to."""

    def measured(form: str, name: str) -> dict[str, Any]:
        source = annotations(name)
        rows = tmp_path / "rows.jsonl"
        assert main(["data", "convert", form, str(source), "-o", str(rows)]) == 0
        capsys.readouterr()
        assert main(["eval", "--baseline", "all", "--data", str(rows), "--json"]) == 0
        figures = json.loads(capsys.readouterr().out)
        (name,) = figures["baselines"]
        assert figures["published"][name]["comparable"]
        values: dict[str, Any] = figures["baselines"][name]
        return values

    return measured


def iou(a: tuple[float, float], b: tuple[float, float]) -> float:
    common = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    return common / (a[1] - a[0] + b[1] - b[0] - common)


def test_parts_of_charades_clips(baselines_of: Measure) -> None:
    metrics = baselines_of("charades_sta", CHARADES)
    clips = json.loads(annotations(CHARADES).read_text()).values()
    for name, (start, end) in {"whole_video": (0, 1), "first_half": (0, 0.5), "first_30": (0, 0.3)}.items():
        ious = [iou((start * c["duration"], end * c["duration"]), span) for c in clips for span in c["timestamps"]]
        assert metrics[name]["mIoU"] == pytest.approx(sum(ious) / 3720, abs=2e-4)
        assert metrics[name]["R@0.5"] == pytest.approx(sum(one >= 0.5 for one in ious) / 3720, abs=2e-3)


def test_the_start_box_in_got10k(baselines_of: Measure) -> None:
    metrics = baselines_of("got10k", GOT)["start_box"]

    def area(box: list[float]) -> float:
        return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])

    def overlap(a: list[float], b: list[float]) -> float:
        common = area([max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])])
        return common / (area(a) + area(b) - common)

    ious = [[overlap(clip["gt"][0], box) for box in clip["gt"]] for clip in json.loads(annotations(GOT).read_text())]
    assert metrics["overlap_with_start"] == pytest.approx(sum(map(sum, ious)) / (8 * 180))
    assert metrics["overlap"] == pytest.approx(sum(sum(one[1:]) for one in ious) / (7 * 180))
    assert metrics["R@0.5_with_start"] == pytest.approx(sum(sum(one) / 8 >= 0.5 for one in ious) / 180)
    assert metrics["SR@0.5"] == pytest.approx(sum(v > 0.5 for one in ious for v in one[1:]) / (7 * 180))


def test_letters_and_whole_clips_in_nextgqa(baselines_of: Measure) -> None:
    metrics = baselines_of("nextgqa", NEXTGQA)
    rows = json.loads(annotations(NEXTGQA).read_text())
    letters = [row["answer"] for row in rows]
    assert metrics["majority"]["accuracy"] == pytest.approx(max(map(letters.count, set(letters))) / 5553)
    assert metrics["uniform"]["accuracy"] == pytest.approx(0.2)
    # With the whole clip answered, what is true of it is its IoP; its IoU too, but where the truth ends past the clip.
    assert metrics["whole_video"]["mIoP"] == pytest.approx(metrics["whole_video"]["mIoU"], abs=1e-3)
    assert 0.2 < metrics["whole_video"]["mIoP"] < 0.25
