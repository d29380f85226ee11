"""One's own tables become rows by a mapping of columns."""

import json
from pathlib import Path

import pytest

from rft.__main__ import main
from rft.data.convert.conversion import ConvertOptions, convert, write_rows
from rft.data.dataset import read_rows
from rft.errors import DataError
from rft.tasks import TASKS


def test_a_table_with_ends_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.csv"
    path.write_text('clip,sentence,from,to,len,who\na.mp4,"he sits, then eats",1.5,4,9.5,ann\nb.mp4,he runs,7,3,,bob\n')
    maps = ["video=clip", "query=sentence", "span_start=from", "span_end=to", "duration_s=len"]
    arguments = ["data", "convert", "generic", str(path), "-o", str(tmp_path / "rows.jsonl")]
    arguments += ["--task", "temporal_grounding", *(part for one in maps for part in ("--map", one))]
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert "columns not used" in captured.out
    assert "who" in captured.out
    assert "mine/1: reversed [7, 3]" in captured.err
    assert main([*arguments, "--drop-invalid"]) == 0
    assert [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()] == [
        {
            "id": "mine/0",
            "task": "temporal_grounding",
            "dataset": "mine",
            "video": "a.mp4",
            "duration_s": 9.5,
            "query": "he sits, then eats",
            "target": {"span": [1.5, 4.0]},
        }
    ]


@pytest.mark.parametrize("choice", ["B", "(B)", "b", "runs"])
def test_options_in_one_cell_and_the_right_one_as_letter_or_text(tmp_path: Path, choice: str) -> None:
    path = tmp_path / "mine.tsv"
    path.write_text(f"video\tquestion\toptions\tchoice\na.mp4\twhat?\tsits | runs\t{choice}\n")
    (row,) = convert("generic", path, ConvertOptions(task="multiple_choice")).rows
    assert (row["options"], row["target"]) == (["sits", "runs"], {"choice": "B"})


def test_lines_with_a_task_each(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    records = [
        {"task": "tracking", "video": "f", "source_fps": 5, "object": "cat", "boxes": [[0, 0, 0.5, 0.5]] * 2},
        {"task": "quality", "video": "a", "question": "good?", "labels": ["yes", "no"], "label": "no"},
        {
            "task": "grounded_qa",
            "video": "a",
            "question": "w?",
            "options": ["x", "y"],
            "choice": "x",
            "spans": [[1, 2]],
        },
        {"task": "caption", "video": "a", "target": {"text": "a cat sits"}, "dataset": "cats/dev"},
    ]
    path.write_text("\n".join(map(json.dumps, records)))
    conversion = convert("generic", path, ConvertOptions(split="dev"))
    write_rows(conversion, tmp_path / "rows.jsonl")
    rows = read_rows([tmp_path / "rows.jsonl"], None, tuple(TASKS))
    assert [row.dataset for row in rows] == ["mine/dev"] * 3 + ["cats/dev"]
    assert [row.target for row in rows[1:3]] == [{"label": "no"}, {"choice": "A", "spans": [[1, 2]]}]


def test_cells_that_cannot_be_read_are_reported_at_once(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text('video,query,span,duration_s\na,x,1-2,3\nb,y,"[1, 2]",long\nc,z,"[1, 2",3\n')
    with pytest.raises(DataError) as caught:
        convert("generic", path, ConvertOptions(task="temporal_grounding"))
    first, second, third = str(caught.value).splitlines()
    assert first.startswith(f"{path}:2: span: '1-2' is not JSON")
    assert second.startswith(f"{path}:3: duration_s: could not convert")
    assert third.startswith(f"{path}:4: span: '[1, 2' is not JSON")


def test_a_mapping_that_does_not_fit_is_reported_at_once(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("clip,query\na,x\n")
    with pytest.raises(DataError) as caught:
        convert("generic", path, ConvertOptions(columns={"vidoe": "clip", "query": "querry"}))
    message = str(caught.value)
    assert "no row key 'vidoe'. Did you mean 'video'?" in message
    assert "no column 'querry'. Did you mean 'query'?" in message
    assert "no column names the task" in message


def test_a_row_without_what_its_task_needs_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("video,query,span_start\na,x,\n,y,3\n")
    with pytest.raises(DataError, match=r"mine.csv:3: one of span_start and span_end is missing"):
        convert("generic", path, ConvertOptions(task="temporal_grounding"))
    path.write_text("video,query\n,x\n")
    (anomaly,) = convert("generic", path, ConvertOptions(task="temporal_grounding")).refused
    assert "has no keys, but temporal_grounding needs" in anomaly.detail
    path.write_text("video,query\na,x,9\n")
    with pytest.raises(DataError, match=r"mine.csv:2: more or fewer cells"):
        convert("generic", path, ConvertOptions(task="temporal_grounding"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"options": 3}, "options: "),
        ({"target": [1], "choice": None}, "target: "),
        ({"choice": 2}, "choice: '2' is not one letter"),
        ({"task": "x"}, "unknown task 'x'"),
    ],
)
def test_odd_values_are_refused_row_by_row(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "mine.json"
    record = {"task": "multiple_choice", "video": "a", "question": "w?", "options": ["x", "y"], "choice": "x"}
    path.write_text(json.dumps([record, {**record, **change}]))
    conversion = convert("generic", path)
    assert len(conversion.rows) == 1
    assert message in conversion.refused[0].detail
    path.write_text(json.dumps([{**record, "duration_s": [1]}]))
    with pytest.raises(DataError, match=r"record 0: duration_s: '\[1\]' is no number"):
        convert("generic", path)


def test_a_map_is_written_key_equals_column(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "convert", "generic", "x.csv", "-o", "y", "--map", "query"]) == 2
    assert capsys.readouterr().err == "--map query: write KEY=COLUMN, such as query=sentence\n"
