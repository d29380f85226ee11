"""Which row a request of lmms-eval is about, and that it is asked as `rft eval` asks it."""

import json
from pathlib import Path
from typing import Any

import pytest

from rft.data.dataset import read_rows, to_prompt
from rft.data.row import read_row
from rft.errors import DataError
from rft.evaluation.lmms_requests import Request, match, rows_asked
from rft.recipe.load import parse_recipe
from rft.tasks import TASKS
from rft.tasks.types import Row

SPAN = {"task": "temporal_grounding", "target": {"span": [1.0, 2.0]}}
CHOICE = {"task": "multiple_choice", "question": "Which cup?", "target": {"choice": "A"}}
TABLE: dict[str, dict[str, Any]] = {
    "door": SPAN | {"video": "v/AO8RW.mp4", "query": "person opens the door."},
    "front": SPAN | {"video": "v/AO8RW.mp4", "query": "A person opens the door of the house"},
    "again": SPAN | {"video": "v/AO8RW.mp4", "query": "person opens the door.", "target": {"span": [5.0, 6.0]}},
    "other": SPAN | {"video": "w/XYZ.mp4", "query": "person opens the door."},
    "cups": CHOICE | {"video": "4010069381.mp4", "options": ["red", "blue"]},
    "more": CHOICE | {"video": "4010069381.mp4", "options": ["green", "grey"]},
    "image": CHOICE | {"image": "i/7.png", "options": ["red", "blue"]},
}


def table(*names: str) -> list[Row]:
    rows = [read_row({"id": name, **TABLE[name]}, Path(), tuple(TASKS)) for name in names or TABLE]
    assert all(isinstance(row, Row) for row in rows)
    return rows


@pytest.mark.parametrize(
    ("text", "document", "found"),
    [
        ("Find the event: person opens the door. Give its time.", {"video": "AO8RW.mp4", "caption": "..."}, "again"),
        ("Find: a Person  opens\nthe door of the house.", {"video": "AO8RW.mp4"}, "front"),
        ("Find: person opens the door.", {"video": "XYZ.mp4", "timestamp": [1.0, 2.0]}, "other"),
        ("Which cup?\nA. red\nB. blue", {"video": 4010069381}, "cups"),
        ("Which cup?\n(A) Green.\n(B) Grey.", {"files": {"video": ["x/4010069381.mp4"]}}, "more"),
        ("Which cup? red, blue", {"image_path": "7.png"}, "image"),
    ],
)
def test_a_row_fits_by_its_file_and_its_words(text: str, document: dict[str, Any], found: str) -> None:
    (row,) = match([Request("t:0", text, document)], table())
    assert row.id == found


def test_all_requests_without_a_row_are_told_at_once() -> None:
    requests = [
        Request("charades:0", "Find: person opens the door", {"video": "AO8RW.mp4"}),
        Request("charades:1", "Find: person shuts the door", {"video": "AO8RW.mp4"}),
        Request("charades:2", "Find: person opens the door", {"video": "GONE.mp4"}),
        Request("cups:7", "Which cup?", {"video": "4010069381.mp4"}),
    ]
    with pytest.raises(DataError) as caught:
        match(requests, table())
    assert str(caught.value).splitlines() == [
        "charades:1: no row of its video or image asks this. Convert the same split to rows.",
        "charades:2: no row of its video or image asks this. Convert the same split to rows.",
        "cups:7: rows cups and more fit alike; leave one out.",
    ]
    # Rows that differ in nothing that is asked have one answer.
    assert [row.query for row in match(requests[:1], table("door", "again"))] == ["person opens the door."]


def test_the_prompt_is_that_of_rft_eval(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"id": name, **TABLE[name]}) + "\n" for name in ("door", "cups")))
    data = {"train": [], "eval": [str(rows)]}
    text = "{tasks: {temporal_grounding: {think: true}, multiple_choice: {}}, model: m, steps: 1, video: {fps: 1.0}}"
    recipe = parse_recipe(text, "test", [f"data={json.dumps(data)}"])
    asked = [
        Request("cups:0", "Which cup? red blue", {"video": "4010069381.mp4"}),
        Request("tg:3", "When: person opens the door?", {"video": "AO8RW.mp4"}),
    ]
    found = rows_asked(asked, recipe)
    expected = {row.id: to_prompt(row, recipe) for row in read_rows([rows], None, recipe.tasks)}
    assert [one.prompt for one in found] == [expected["cups"], expected["door"]]
    assert all(request.text not in one.prompt.text for request, one in zip(asked, found, strict=True))
    assert "<think>" in found[1].prompt.text
    assert found[1].prompt.media.path == tmp_path / "v/AO8RW.mp4"
    assert found[1].prompt.media.sampling == recipe.video.sampling()
