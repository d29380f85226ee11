"""The published rows, on the real files: 72 of the 240 questions of each demonstration."""

import json
from pathlib import Path
from typing import Any

import pytest
from annotation_files import annotations

from rft.data.convert.conversion import ConvertOptions, convert, format_named
from rft.data.convert.source import SourceRequest
from rft.errors import DataError
from rft.packs.video_reasoning.formats import FILES
from rft.packs.video_reasoning.rewards import verified_answer
from rft.packs.video_reasoning.targets import ReasoningTarget
from rft.tasks import TASKS

FAULTS = {
    "card": [
        "state2_op14_prediction_state_start: '3 of Hearts, 4 of Diamonds': not 3 of Hearts, 4 of Diamonds, 5 of Clubs"
    ],
    "chip": ["state1_op9_prediction_state_start: '1 chips: 5': not 5, 5"],
}
"""File -> annotated answers that contradict the published states and operations."""


@pytest.mark.parametrize("name", FILES)
def test_annotated_answers_pass_the_verifier_but_for_the_faults_that_are_named(name: str) -> None:
    conversion = convert("video_reason_bench", annotations(f"VideoReasonBench/{name}.json"), ConvertOptions())
    facts = dict(conversion.published.facts)
    faults = FAULTS.get(name, [])
    assert facts["annotated answers that the verifier passes"] == f"{60 - len(faults)} of 60"
    assert facts["questions without an annotated answer"] == "12"
    assert [value for what, value in conversion.published.facts if what == "annotation fault"] == faults
    assert conversion.refused == []
    assert len(conversion.rows) == 72
    task = TASKS["video_reasoning"]
    for fields in conversion.rows:
        row = task.row_type(**fields)
        target = task.target(row)
        assert "Final Answer" not in task.prompt_text(row, True)
        assert verified_answer(task.target_completion(target, True), target).value == 1.0
        assert verified_answer("<answer>none</answer>", target).value < 1 or target.right.items == ()


def published_states(name: str, row: dict[str, Any]) -> list[Any]:
    """The published states of a row in the form of ours."""
    if name == "hrd":
        return [state[::-1] for state in row["states"]]
    if name == "grid":
        return [{"board": board, "at": [y, x]} for board, (x, y) in zip(row["states"], row["coords"], strict=True)]
    if name == "cup":
        return row["states"]
    of_container = {
        key: [sorted(held) if name != "card" else held[::-1] for held in (s.values() if name == "file_sys" else s)]
        for key, s in row["states"].items()
    }
    return [dict(zip(of_container, held, strict=True)) for held in zip(*of_container.values(), strict=True)]


@pytest.mark.parametrize("name", FILES)
def test_the_simulation_gives_the_published_states(name: str) -> None:
    path = annotations(f"VideoReasonBench/{name}.json")
    published = json.loads(path.read_text(encoding="utf-8"))
    drafts = format_named("video_reason_bench").read(SourceRequest(path, "video_reasoning")).drafts
    for draft, row in zip(drafts, published.values(), strict=True):
        video = ReasoningTarget.read(draft.fields["target"]).video
        # Showing the files is a command without a published state.
        counted = [after for op, after in zip(video.operations, video.states[1:], strict=True) if op[:2] != "ls"]
        ours = [video.states[0], *counted]
        if name == "chip":
            ours = [{cup: sorted(chips) for cup, chips in state.items()} for state in ours]
        assert ours == published_states(name, row)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is none of hrd\.json, grid\.json"):
        convert("video_reason_bench", tmp_path / "dice.json")
    row = {"video": "a.mp4", "question": "How?", "answer": "1", "dim": "order_operation", "visible_time": "start"}
    (tmp_path / "cup.json").write_text(json.dumps({"state3_op5": {**row, "states": [[[1, 0]]], "moves": []}}))
    with pytest.raises(DataError, match="state3_op5: the question does not match"):
        convert("video_reason_bench", tmp_path / "cup.json")
