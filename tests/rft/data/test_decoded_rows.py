"""Rows whose clips can be decoded, and what is said of the others."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rft.data.dataset import usable_rows
from rft.data.frames import ClipError, Frames
from rft.errors import DataError
from rft.recipe import Recipe
from rft.types import Video

ROW = {"task": "temporal_grounding", "query": "it moves", "target": {"span": [1.0, 2.5]}}


class Clips:
    def load(self, video: Video) -> Frames:
        if "damaged" in video.path.name:
            raise ClipError(f"{video.path}: no frames")
        pixels = np.zeros((2, 28, 28, 3), np.uint8)
        return Frames(pixels, (0.0, 1.0), (0, 1), 1.0, 4, duration_s=4.0, key=video.path.name)


@pytest.fixture
def rows(tmp_path: Path) -> Callable[..., Path]:
    def write(*rows: dict[str, object]) -> Path:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps({**ROW, "id": f"r{i}", **row}) + "\n" for i, row in enumerate(rows)))
        return path

    return write


def recipe(max_bad_share: float, think: bool = False) -> Recipe:
    return Recipe.model_validate(
        {
            "model": "policy",
            "tasks": {"temporal_grounding": {"think": think}},
            "data": {"train": [], "max_bad_share": max_bad_share},
            "steps": 1,
        }
    )


def test_damaged_clips_are_reported_and_left_out(rows: Callable[..., Path]) -> None:
    path = rows({"video": "a.mp4"}, {"video": "damaged.mp4"}, {"video": "b.mp4"})
    reported: list[str] = []
    usable = usable_rows([path], recipe(0.5), Clips(), on_bad=reported.append)
    assert [row.prompt.prompt_id for row in usable] == ["r0", "r2"]
    assert [row.prompt.target.duration_s for row in usable] == [4.0, 4.0]
    assert len(reported) == 1
    assert "r1" in reported[0]
    assert "damaged.mp4: no frames" in reported[0]


def test_more_damage_than_allowed_stops(rows: Callable[..., Path]) -> None:
    path = rows({"video": "a.mp4"}, {"video": "damaged.mp4"}, {"video": "b.mp4"})
    with pytest.raises(DataError, match=r"(?s)1 of 3 rows.*max_bad_share 0.3.*damaged.mp4"):
        usable_rows([path], recipe(0.3), Clips())


def test_shards_are_all_rows_once(rows: Callable[..., Path]) -> None:
    path = rows(*({"video": f"{i}.mp4"} for i in range(7)))
    shards = [usable_rows([path], recipe(0.0), Clips(), shard=(i, 3)) for i in range(3)]
    assert [[row.row.id for row in shard] for shard in shards] == [["r0", "r3", "r6"], ["r1", "r4"], ["r2", "r5"]]
    assert usable_rows([path], recipe(0.0), Clips(), shard=(7, 8)) == ()


def test_rows_of_one_task_alone(rows: Callable[..., Path]) -> None:
    path = rows({"video": "a.mp4"})
    assert usable_rows([path], recipe(0), Clips(), "tracking") == ()


@pytest.mark.parametrize(
    ("think", "own", "expected"),
    [
        (False, None, "<answer>1.0 to 2.5</answer>"),
        (True, None, "<think>I look at the clip.</think><answer>1.0 to 2.5</answer>"),
        (True, "<answer>own words</answer>", "<answer>own words</answer>"),
    ],
)
def test_demonstration(rows: Callable[..., Path], think: bool, own: str | None, expected: str) -> None:
    path = rows({"video": "a.mp4"} | ({"demonstration": own} if own else {}))
    (row,) = usable_rows([path], recipe(0, think), Clips())
    assert row.demonstration(recipe(0, think)).completion == expected
