"""Counterfactual pairs: the same question, two clips, two answers."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rft.__main__ import main
from rft.data.dataset import read_rows, to_prompt
from rft.recipe import Recipe
from rft.types import Several, Video

SIDES = ["left", "right", "up", "down"]


def choice(name: str, letter: str, **fields: Any) -> dict[str, Any]:
    row = {"id": name, "task": "multiple_choice", "question": "Which way?", "options": SIDES, "video": f"{name}.mp4"}
    return row | {"target": {"choice": letter}} | fields


def grounding(name: str, start_s: float, end_s: float) -> dict[str, Any]:
    row = {"id": name, "task": "temporal_grounding", "query": "it falls", "video": f"{name}.mp4", "duration_s": 10.0}
    return row | {"target": {"span": [start_s, end_s]}}


ROWS = [
    choice("a", "A", demonstration="<answer>A</answer>", dataset="drawn", start_s=1.0),
    choice("b", "C"),
    choice("c", "A", view="mirrored"),
    choice("d", "B", question="Who stands left?"),
    choice("e", "D", video=None, image="e.png"),
    choice("f", "A"),
    grounding("g", 1, 3),
    grounding("h", 4, 6),
]


def written(tmp_path: Path, *arguments: str, rows: Sequence[dict[str, Any]] = ROWS) -> list[dict[str, Any]]:
    source, output = tmp_path / "rows.jsonl", tmp_path / "pairs.jsonl"
    lines = [{name: value for name, value in row.items() if value is not None} for row in rows]
    source.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert main(["data", "pairs", str(source), *arguments, "-o", str(output)]) == 0
    return [json.loads(line) for line in output.read_text().splitlines()]


def test_a_row_is_followed_by_itself_in_the_mirror(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = written(tmp_path, "--by", "mirrored")
    # "up" stays "up", a row seen otherwise is not turned again, and a span is the same in the mirror.
    assert [row["id"] for row in rows] == ["a", "a/mirrored", "f", "f/mirrored"]
    assert rows[0] == ROWS[0]
    assert rows[1] == choice("a/mirrored", "B", video="a.mp4", view="mirrored", dataset="drawn", start_s=1.0)
    table = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["multiple_choice", "6", "2", "3", "1"] in table
    assert ["temporal_grounding", "2", "0", "2", "0"] in table


def test_reversed_spans_far_from_the_true_ones(tmp_path: Path) -> None:
    rows = written(tmp_path, "--by", "reversed")
    # 4 to 6 s of 10 s is the same backwards.
    assert [(row["id"], row["target"]) for row in rows] == [
        ("g", {"span": [1, 3]}),
        ("g/reversed", {"span": [7.0, 9.0]}),
    ]


def test_rows_of_one_question_and_two_answers_meet_once(tmp_path: Path) -> None:
    rows = written(tmp_path, "--by", "swapped")
    pairs = [{first["id"], second["id"]} for first, second in zip(rows[::2], rows[1::2], strict=True)]
    assert all(row in ROWS for row in rows)
    assert {"g", "h"} in pairs
    # Of the rows that ask "Which way?" a, c and f say "left", so one of them meets b.
    assert len(pairs) == 2
    assert "b" in pairs[0]


def test_which_of_two_clips_an_answer_is_right_of(tmp_path: Path) -> None:
    rows = written(tmp_path, "--by", "mirrored", "--which")
    assert [row["id"] for row in rows] == ["a or a/mirrored", "f or f/mirrored"]
    for row in rows:
        right = row["media"]["AB".index(row["target"]["choice"])]
        said = "right" if right.get("view") else "left"
        assert f'In which of the two is "{said}" the right answer to "Which way?"?' in row["question"]
    assert sorted(rows[0]["media"], key=len) == [
        {"video": "a.mp4", "start_s": 1.0},
        {"video": "a.mp4", "start_s": 1.0, "view": "mirrored"},
    ]
    recipe = Recipe.model_validate(
        {"model": "m", "tasks": {"multiple_choice": {}}, "data": {"train": ["pairs.jsonl"]}, "steps": 1}
    )
    media = to_prompt(read_rows([tmp_path / "pairs.jsonl"], None, recipe.tasks)[0], recipe).media
    assert isinstance(media, Several)
    assert {part.view for part in media.parts if isinstance(part, Video)} == {None, "mirrored"}


def test_neither_order_nor_answer_tells_the_letter(tmp_path: Path) -> None:
    asked = [choice(f"r{number}", "AB"[number % 2]) for number in range(400)]
    rows = written(tmp_path, "--by", "mirrored", "--which", rows=asked)
    seen = Counter((row["target"]["choice"], "view" in row["media"][0], '"left"' in row["question"]) for row in rows)
    assert len(seen) == 8
    assert min(seen.values()) >= 30  # of 400; 50 are expected
