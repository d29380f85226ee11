"""Sample logs of lmms-eval as stored completions: in `rft eval --predictions`, in `rft score`, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from rft.__main__ import main

SAMPLE = {
    "doc_id": 7,
    "target": "[24.3, 30.4]",
    "filtered_resps": ["The event happens in 24.3 - 27.35 seconds."],
    "doc_hash": "74234e98",
    "submission": {"AO8RW.mp4>>>a person sits>>>[24.3, 30.4]": "The event happens in 24.3 - 27.35 seconds."},
    "input": "Please find ...",
}


def log(tmp_path: Path, *samples: dict[str, Any]) -> str:
    path = tmp_path / "20260101_samples_temporal_grounding_charades.jsonl"
    path.write_text("".join(f"{json.dumps(sample)}\n" for sample in samples))
    return str(path)


def test_spans_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The reply of one sample is the answer; of the other, which loses its thought there, the whole text is read."""
    thought = SAMPLE | {
        "doc_id": 8,
        "target": "(0.0, 10.0)",
        "filtered_resps": ["0 to 10"],
        "resps": [["<think>2 to 3?</think><answer>0 to 10</answer>"]],
    }
    path = log(tmp_path, SAMPLE, thought)
    assert main(["eval", "--predictions", path, "--task", "temporal_grounding", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)["eval"]["temporal_grounding"]
    assert (figures["rows"], figures["units"]) == (2, 1)  # both of AO8RW.mp4
    assert figures["greedy"]["mIoU"] == pytest.approx((0.5 + 1.0) / 2)
    assert main(["score", path, "--task", "temporal_grounding", "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)["tasks"]["temporal_grounding"]["scores"]
    (iou,) = (score for score in scores.values() if score["reward"] == "temporal_iou")
    assert iou["mean"] == pytest.approx((0.5 + 1.0) / 2)


@pytest.mark.parametrize(("target", "reply", "value"), [("B", "B", 1.0), ("(B)", "B. a hat", 1.0), ("A.", "B", 0.0)])
def test_letters_are_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], target: str, reply: str, value: float
) -> None:
    path = log(tmp_path, {"doc_id": 0, "target": target, "filtered_resps": [reply]})
    assert main(["eval", "--predictions", path, "--task", "multiple_choice", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["eval"]["multiple_choice"]["greedy"]["accuracy"] == value


def test_what_cannot_be_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = log(
        tmp_path,
        SAMPLE | {"target": "a red hat"},
        SAMPLE | {"target": "[1.0, x]"},
        SAMPLE | {"filtered_resps": ["a", "b"]},
        SAMPLE | {"filtered_resps": None},
        SAMPLE | {"doc_id": [1]},
    )
    assert main(["eval", "--predictions", path, "--task", "temporal_grounding"]) == 2
    errors = capsys.readouterr().err
    assert "1: target: 'a red hat' is neither a letter nor a time span [start, end]" in errors
    assert "2: target: '[1.0, x]' is neither" in errors
    assert "3: 2 replies; only logs with one for each sample can be read" in errors
    assert "4: 0 replies" in errors
    assert "5: Expected" in errors
