"""Rows from parquet, folders and data sets give the prompts that the same JSON lines give."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rft.data.dataset import read_rows, to_prompt
from rft.data.row_files import row_file_problem
from rft.errors import DataError
from rft.recipe import Recipe, TaskRecipe
from rft.recipe.load import parse_recipe
from rft.tasks import TASKS

NAMES = ("temporal_grounding", "multiple_choice", "grounded_qa", "tracking", "quality", "caption")


@pytest.fixture
def recipe() -> Recipe:
    empty = parse_recipe("{model: none, tasks: {}, data: {train: []}, steps: 1}", "test")
    return empty.model_copy(update={"tasks": {name: TaskRecipe() for name in NAMES}})


@pytest.fixture
def lines(tmp_path: Path, example_rows: Callable[..., Path]) -> Path:
    return example_rows(tmp_path / "rows.jsonl", NAMES, copies=2)


def values_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A table has each column in each row."""
    columns = dict.fromkeys(key for row in rows for key in row)
    pq.write_table(pa.Table.from_pylist([{key: row.get(key) for key in columns} for row in rows]), path)
    return path


def test_tables_give_the_prompts_of_json_lines(tmp_path: Path, lines: Path, recipe: Recipe) -> None:
    rows = values_of(lines)
    as_text = [row | {"target": json.dumps(row["target"])} for row in rows]
    folder = tmp_path / "folder"
    folder.mkdir()
    write_parquet(folder / "a.parquet", rows[:5])
    (folder / "b.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows[5:]))
    expected = [to_prompt(row, recipe) for row in read_rows([lines], Path("/videos"), NAMES)]
    assert len(expected) == 2 * len(NAMES)
    for source in (
        write_parquet(tmp_path / "rows.parquet", rows),
        write_parquet(tmp_path / "text.parquet", as_text),
        folder,
    ):
        read = read_rows([source], Path("/videos"), NAMES)
        prompts = [to_prompt(row, recipe) for row in read]
        assert prompts == expected
        assert [prompt.row for prompt in prompts] == [prompt.row for prompt in expected]


def test_relative_paths_start_at_the_file_of_the_folder(tmp_path: Path) -> None:
    row = TASKS["quality"].example.model_dump(mode="json", exclude_none=True) | {"video": "v.mp4"}
    (tmp_path / "parts").mkdir()
    write_parquet(tmp_path / "parts" / "0.parquet", [row])
    (read,) = read_rows([tmp_path], None, NAMES)
    assert read.video == str(tmp_path / "parts" / "v.mp4")


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1 and no more")
    pq.write_table(pa.table({"id": ["a"], "clip": [b"\x00"]}), tmp_path / "bytes.parquet")
    wrong = {"id": "a", "task": "quality", "qestion": "?"}
    write_parquet(tmp_path / "wrong.parquet", [wrong | {"target": "{"}, wrong | {"target": '{"label": "low"}'}])
    with pytest.raises(DataError) as caught:
        read_rows([tmp_path / name for name in ("damaged.parquet", "bytes.parquet", "wrong.parquet")], None, NAMES)
    text = str(caught.value)
    assert f"{tmp_path}/damaged.parquet: " in text
    assert "bytes.parquet: column clip holds files." in text
    assert "wrong.parquet:1: target: not JSON (" in text
    assert "wrong.parquet:2: qestion: unknown key. Did you mean 'question'?" in text


def test_names_are_checked_without_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    names = ("hf://owner/name/train", "hf://owner/name/config/train", "hf://owner/name", "gone.jsonl", "empty")
    assert [row_file_problem(Path(name)) for name in names] == [
        *(None, None, "hf:/owner/name: write hf://OWNER/NAME/SPLIT, or /CONFIG/SPLIT."),
        f"gone.jsonl not found in {tmp_path}.",
        "empty: the folder holds no .jsonl, .jsonl.zst, .parquet.",
    ]


@pytest.mark.slow  # loads pandas
def test_a_data_set_is_streamed(tmp_path: Path, lines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library takes a folder of that name for the data set on the hub."""
    monkeypatch.chdir(tmp_path)
    rows = [row for row in values_of(lines) if row["task"] == "quality"]
    (tmp_path / "owner" / "name").mkdir(parents=True)
    write_parquet(tmp_path / "owner" / "name" / "train.parquet", rows)
    streamed = read_rows([Path("hf://owner/name/train")], Path("/videos"), NAMES)
    assert streamed == tuple(row for row in read_rows([lines], Path("/videos"), NAMES) if row.task == "quality")
    with pytest.raises(DataError, match="hf:/owner/name/gone: "):
        read_rows([Path("hf://owner/name/gone")], None, NAMES)
