"""Statistics and pictures of rows."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rft.__main__ import main
from rft.commands.data.contact_sheet import SPAN, WIDTH, choose_rows, draw_row
from rft.commands.data.inspect import histogram, inspect
from rft.data.frames import Frames
from rft.tasks import TASKS
from rft.tasks.types import Row


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def grounding(row_id: str, video: str, span: tuple[float, float], **changes: Any) -> dict[str, Any]:
    fixed = {"task": "temporal_grounding", "query": "it moves", "duration_s": 10, "dataset": "mine/train"}
    return {"id": row_id, "video": video, "target": {"span": span}, **fixed, **changes}


@pytest.mark.parametrize(
    ("values", "edges", "counts"),
    [
        ([0.0, 4.9, 5.0, 99.0], (0, 5, 10), (2, 1)),
        ([0.1 * i for i in range(1, 11)], (0, 0.05, 0.1), (0, 0)),
        ([20.0], (0, 1, 2), (0, 0)),
        ([0.0], (0, 1e-6), (1,)),
    ],
)
def test_values_fall_into_bins_of_a_round_width(
    values: list[float], edges: tuple[float, ...], counts: tuple[int, ...]
) -> None:
    drawn_edges, drawn_counts = bins_of(histogram("x", values))
    assert drawn_edges[: len(edges)] == list(edges)
    assert drawn_counts[: len(counts)] == list(counts)
    assert sum(drawn_counts) == len(values)
    assert drawn_counts[-1] > 0


def bins_of(text: str) -> tuple[list[float], list[int]]:
    """(edges, counts) of a drawn histogram."""
    bins = [(*map(float, line.split()[0:3:2]), int(line.split()[-1])) for line in text.splitlines()[1:]]
    assert [high for _, high, _ in bins[:-1]] == [low for low, _, _ in bins[1:]]
    return [bins[0][0], *(high for _, high, _ in bins)], [count for _, _, count in bins]


def test_a_value_on_an_edge_counts_above_it_whatever_its_rounding() -> None:
    edges, counts = bins_of(histogram("x", [0.15, 0.95]))
    assert counts[edges.index(0.15)] == 1


def test_a_histogram_is_drawn_in_ascii() -> None:
    lines = histogram("lengths", [1.0, 1.5, 9.0]).splitlines()
    assert lines[0] == "lengths"
    assert lines[1] == f"  0 - 0.5  {'':40} 0"
    assert lines[3] == f"  1 - 1.5  {'#' * 40} 1"
    assert lines[-1].endswith(" 1")


def test_rows_are_counted_by_data_set(tmp_path: Path) -> None:
    choice = {"id": "c", "task": "multiple_choice", "video": "b.mp4", "question": "?", "options": ["x", "y"]}
    path = write(
        tmp_path / "rows.jsonl",
        grounding("1", "a.mp4", (1, 3)),
        grounding("2", "a.mp4", (0, 10)),
        choice | {"target": {"choice": "B"}},
    )
    text, rows = inspect([path], None)
    assert len(rows) == 3
    table = text.split("\n\n")[0].splitlines()
    assert table[0] == "3 rows"
    assert table[3].split() == ["mine/train", "temporal_grounding", "2", "1", "2.00", "10.0", "0"]
    assert table[4].split() == ["-", "multiple_choice", "1", "1", "1.00", "-", "1"]
    assert "2 of 2 videos not found" in text
    assert "mine/train: target span (s), 2" in text
    assert "multiple_choice: targets\nB 1" in text


def test_videos_in_two_files_are_reported(tmp_path: Path) -> None:
    one = write(tmp_path / "train.jsonl", grounding("1", "a.mp4", (1, 3)), grounding("2", "b.mp4", (1, 3)))
    two = write(tmp_path / "test.jsonl", grounding("3", "a.mp4", (1, 3)))
    assert f"warning: {one} and {two} share 1 videos" in inspect([one, two], None)[0]
    three = write(tmp_path / "other.jsonl", grounding("4", "c.mp4", (1, 3)))
    assert "share" not in inspect([one, three], None)[0]


def frames(times_s: tuple[float, ...]) -> Frames:
    pixels = np.zeros((len(times_s), 56, 84, 3), dtype=np.uint8)
    return Frames(pixels, times_s, tuple(range(len(times_s))), 1.0, 10, 10.0, "key")


def test_the_target_span_is_drawn_on_the_time_bar_and_around_its_frames() -> None:
    row = TASKS["temporal_grounding"].row_type.model_validate(grounding("1", "a.mp4", (2.5, 5)))
    panel = np.asarray(draw_row(row, TASKS[row.task].target(row), frames((0.0, 3.0, 6.0, 9.0))))
    green = (panel == SPAN).all(axis=2)
    bar = np.flatnonzero(green[-20])
    assert (bar.min() / WIDTH, bar.max() / WIDTH) == pytest.approx((0.25, 0.5), abs=0.01)
    framed = np.flatnonzero(green[:-30].any(axis=0))
    # The second of four frames, each a quarter of the width.
    assert (framed.min(), framed.max()) == (WIDTH // 4, WIDTH // 2 - 5)


def test_each_box_is_drawn_on_its_own_frame() -> None:
    fields = {"id": "1", "task": "tracking", "video": "f", "source_fps": 1, "object": "cat"}
    boxes = [[0.5, 0.0, 1.0, 1.0], [0.0, 0.0, 0.5, 0.5]]
    row = TASKS["tracking"].row_type.model_validate({**fields, "target": {"boxes": boxes}})
    panel = np.asarray(draw_row(row, TASKS[row.task].target(row), frames((0.0, 9.0))))
    red = np.flatnonzero((panel == (220, 40, 40)).all(axis=2).any(axis=0))
    width = WIDTH // 4
    first, second = red[red < width], red[red >= width] - width
    assert (first.min() / width, second.max() / width) == pytest.approx((0.5, 0.5), abs=0.02)


def test_rows_of_every_task_are_chosen_evenly() -> None:
    rows: list[Row] = [TASKS["temporal_grounding"].example.model_copy(update={"id": str(i)}) for i in range(100)]
    rows += [TASKS["multiple_choice"].example] * 2
    assert [row.id for row in choose_rows(rows, 6)] == ["0", "33", "66", "example", "example"]
    assert choose_rows(rows[:2], 6) == rows[:2]


def test_a_sheet_shows_frames_and_says_what_it_cannot_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "clip").mkdir()
    for i in range(4):
        Image.new("RGB", (84, 56), (60 * i, 0, 200)).save(tmp_path / "clip" / f"{i}.png")
    rows = write(
        tmp_path / "rows.jsonl",
        grounding("1", "clip", (1, 3), source_fps=1.0, duration_s=4),
        grounding("2", "gone.mp4", (1, 3)),
    )
    assert main(["data", "inspect", str(rows), "--sheet", str(tmp_path / "sheet.png")]) == 0
    out = capsys.readouterr().out
    assert "sheet.png: 2 rows, 1 of them without a picture" in out
    assert main(["data", "inspect", str(rows), "--sheet", str(tmp_path / "none.png"), "--rows", "0"]) == 2
    assert "row 2: " in out
    with Image.open(tmp_path / "sheet.png") as sheet:
        colours = {colour for _, colour in sheet.convert("RGB").getcolors(1 << 20)}
    assert {(0, 0, 200), (180, 0, 200), SPAN} <= colours
