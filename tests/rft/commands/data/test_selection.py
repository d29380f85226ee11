"""Rows chosen by how they were answered."""

import json
from collections import Counter
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from rewards.targets.choice import ChoiceTarget
from rewards.types import Score
from rft.__main__ import main
from rft.commands.data.selection import SelectOptions, chosen, select, write_selection
from rft.errors import DataError
from rft.files import write_records
from rft.runs.rollout_files import write_rollouts
from rft.runs.run_dir import RunDir
from rft.types import Completion, Group, Prompt, Rollout, Video, VideoSampling

VIDEO = Video(Path("v.mp4"), VideoSampling(2.0, 4, 8, 784, 784, 7840))
OUTCOMES = {"right": "AA", "mixed": "AB", "wrong": "BC", "failed": "", "unasked": None}


def line(row_id: str, **changes: Any) -> str:
    row = {"id": row_id, "task": "multiple_choice", "video": "v.mp4", "question": "which?", "target": {"choice": "A"}}
    return json.dumps({**row, "options": ["red", "green", "blue"], **changes})


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n\n".join(line(row_id) for row_id in OUTCOMES) + "\n")
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose rollouts answer as OUTCOMES say."""
    folder = RunDir(tmp_path / "run")
    for step, (row_id, letters) in enumerate(OUTCOMES.items(), start=1):
        if letters is None:
            continue
        prompt = Prompt(row_id, "multiple_choice", "which?", VIDEO, ChoiceTarget("A"))
        drawn = [Completion(f"<answer>{letter}</answer>", (1,), (0.0,), 5, "stop", 0) for letter in letters]
        drawn = drawn or [Completion("", (), (), 0, "error", 0)]
        # What the run rewarded has no say.
        rollouts = tuple(Rollout(one, {"odd": Score(1.0, None, "")}, 1.0) for one in drawn)
        write_rollouts(folder.rollouts_file(step), step, [Group(prompt, rollouts)])
    return folder.path


def test_rows_are_kept_by_the_rollouts_of_a_run(rows: Path, run: Path) -> None:
    selection = select(rows, [run], SelectOptions(least_difference=0.5))
    assert selection.values == {"right": (1.0, 1.0), "mixed": (1.0, 0.0), "wrong": (0.0, 0.0)}
    assert selection.kept == {"mixed"}
    assert (selection.num_failed, selection.num_other) == (1, 0)
    (of_task,) = selection.table().rows
    assert of_task == ("multiple_choice (accuracy)", "5", "2", "2", "1", "0.500", "0.500")


def test_answers_of_several_sources_add_up(rows: Path, run: Path, tmp_path: Path) -> None:
    more = tmp_path / "eval.jsonl.zst"
    answers = [("right", "<answer>C</answer>"), ("wrong", "<answer>C</answer>"), ("elsewhere", "<answer>A</answer>")]
    write_records(more, ({"id": row_id, "completion": text, "mode": "sampled"} for row_id, text in answers))
    selection = select(rows, [run, more], SelectOptions(least_difference=0.5))
    assert selection.kept == {"right", "mixed"}
    assert selection.num_other == 1


def test_kept_rows_stand_as_they_were(rows: Path, run: Path, tmp_path: Path) -> None:
    text = rows.read_text().split("\n\n")
    out = tmp_path / "new" / "kept.jsonl"
    packed = tmp_path / "rows.jsonl.zst"
    write_records(packed, map(json.loads, text))
    for file in (rows, packed):
        write_selection(select(file, [run], SelectOptions()), file, out)
        assert out.read_text() == "".join(f"{kept}\n" for kept in text[:3])


def test_every_line_that_cannot_be_read_is_named(rows: Path, tmp_path: Path) -> None:
    odd = tmp_path / "odd.jsonl"
    odd.write_text('{"id": "right"}\n{"id": \n{"prompt_id": "mixed", "completion": 3}\n')
    with pytest.raises(DataError) as caught:
        select(rows, [odd], SelectOptions())
    problems = str(caught.value).replace(f"{tmp_path}/", "").splitlines()
    assert [problem.split(" ")[0] for problem in problems] == ["odd.jsonl:1:", "odd.jsonl:2:", "odd.jsonl:3:"]
    odd.write_text('{"id": "other", "completion": ""}\n')
    with pytest.raises(DataError, match="no answer to a row of"):
        select(rows, [odd], SelectOptions())


def test_rows_around_a_mean_are_drawn_as_often_as_the_gaussian_says() -> None:
    """Of two rows one is drawn; over many seeds as often as its share of the weights."""
    values = {"near": (0.2, 0.4), "far": (0.5, 0.7)}
    wanted = [SelectOptions(number=1, around=0.3, width=0.3, seed=seed) for seed in range(2000)]
    drawn = Counter(row_id for one in wanted for row_id in chosen(values, one))
    share = 1 / (1 + 2.718281828 ** (-0.5))  # weights 1 and exp(-1/2)
    assert drawn["near"] / 2000 == pytest.approx(share, abs=0.03)


def test_a_draw_is_seeded_and_does_not_depend_on_the_order_of_rows() -> None:
    values = {str(i): (i / 100,) for i in range(100)}
    wanted = SelectOptions(number=20, around=0.3, width=0.05)
    drawn = chosen(values, wanted)
    assert len(drawn) == 20
    assert fmean(fmean(values[row_id]) for row_id in drawn) == pytest.approx(0.3, abs=0.05)
    assert chosen(dict(reversed(values.items())), wanted) == drawn
    assert chosen(values, SelectOptions(number=20, around=0.3, width=0.05, seed=1)) != drawn
    assert len(chosen(values, SelectOptions(number=200, around=0.3))) == 100
    assert chosen({"a": (0.3, 0.2), "b": (0.3, 0.21)}, SelectOptions(least_difference=0.1)) == ["a"]


def test_the_command_prints_what_it_kept(rows: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = rows.with_name("kept.jsonl")
    command = ["data", "select", str(rows), "--rollouts", str(run), "-o", str(out)]
    assert main([*command, "--differ", "0.5"]) == 0
    assert "kept.jsonl: 1 of 5 rows" in capsys.readouterr().out
    assert json.loads(out.read_text())["id"] == "mixed"
    assert main([*command, "--around", "0.3", "--width", "0"]) == 2
    printed = capsys.readouterr().err
    assert "--around needs --num" in printed
    assert "--width is not above 0" in printed


def test_rows_that_are_answered_without_the_picture_are_dropped(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = [("right", "A"), ("right (blank)", "A"), ("mixed", "A"), ("mixed (blank)", "B"), ("wrong", "B"),
               ("wrong (shuffled)", "A")]  # fmt: skip
    stored = tmp_path / "answers.jsonl"
    stored.write_text(
        "".join(f"{json.dumps({'id': name, 'completion': f'<answer>{letter}</answer>'})}\n" for name, letter in answers)
    )
    command = ["data", "select", str(rows), "--rollouts", str(stored), "-o", str(tmp_path / "kept.jsonl")]
    assert main([*command, "--blind"]) == 0
    page = " ".join(capsys.readouterr().out.split())
    assert "Answered without the picture, and dropped: multiple_choice 1 of 2 (50%)." in page
    kept = [json.loads(text)["id"] for text in (tmp_path / "kept.jsonl").read_text().splitlines()]
    assert kept == ["mixed", "wrong"]
    assert main(command) == 0
    assert len((tmp_path / "kept.jsonl").read_text().splitlines()) == 3
