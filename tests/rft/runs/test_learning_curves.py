"""Learning curves: which points they hold, and how a terminal and a log show them."""

import io
import json
import re
from pathlib import Path

import pytest

from rewards.targets.span import SpanTarget
from rft.evaluation.evaluate import EvalResult, Mode, ParsedAnswer, Sample
from rft.evaluation.predictions import write_result
from rft.runs.learning_curves import learning_curves, moving_mean
from rft.runs.rich_view import TerminalView
from rft.runs.run_dir import RunDir
from rft.runs.terminal_chart import draw_chart
from rft.runs.views import PlainView
from rft.tables import LineChart, chart_table, plain

TASK = "temporal_grounding"


def evaluation(scores: dict[str, float]) -> EvalResult:
    """One greedy answer of each row, and a sampled one that earned nothing."""

    def sample(row: str, value: float, mode: Mode) -> Sample:
        reading = ParsedAnswer({"mIoU": value}, None)
        return Sample(
            row, TASK, None, SpanTarget(0.0, 1.0, duration_s=8.0), mode, 0, "x", "stop", 1, 0, {"lenient": reading}
        )

    pairs = ((row, value, mode) for row, value in scores.items() for mode in ("greedy", "sampled"))
    return EvalResult(tuple(sample(row, value if mode == "greedy" else 0.0, mode) for row, value, mode in pairs), 0)


def run_of(path: Path, num_steps: int) -> RunDir:
    run = RunDir(path)
    lines = [
        {"stage": "train", "step": step, "time": 0.0, "reward": 9.0, f"reward/{TASK}": float(step)}
        | ({"reward/tracking": None} if step == 1 else {"reward/tracking": 1.0})
        for step in range(1, num_steps + 1)
    ]
    run.metrics.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    run.evals.mkdir()
    return run


def test_moving_mean_by_hand() -> None:
    points = [(1, 1.0), (2, 3.0), (3, 5.0), (7, 1.0)]
    assert moving_mean(points, 1) == points
    assert moving_mean(points, 2) == [(1, 1.0), (2, 2.0), (3, 4.0), (7, 3.0)]


def test_training_rewards_are_smoothed_by_task(tmp_path: Path) -> None:
    (chart,) = learning_curves(run_of(tmp_path, 60))
    assert chart.title == "Training reward, mean of 3 steps"
    assert list(chart.lines) == [TASK, "tracking"]
    assert chart.lines[TASK][-1] == (60, 59.0)
    assert chart.lines["tracking"][0] == (2, 1.0)  # the first is no finite number


def test_evaluations_are_drawn_over_the_rows_they_share(tmp_path: Path) -> None:
    run = run_of(tmp_path, 4)
    write_result(run.eval_file("cold_start"), evaluation({"a": 0.2, "b": 0.4, "c": 1.0}))
    write_result(run.eval_file("final"), evaluation({"a": 0.6, "b": 0.8, "c": 0.0}))
    assert len(learning_curves(run)) == 1  # two evaluations are told in the tables
    write_result(run.eval_file(2), evaluation({"a": 0.4, "b": 0.4}))
    _, held_out = learning_curves(run)
    assert held_out.title == "Held-out rows, greedy main metric"
    assert list(held_out.lines) == [TASK]
    assert held_out.lines[TASK] == [(0, pytest.approx(0.3)), (2, pytest.approx(0.4)), (4, pytest.approx(0.7))]


def test_a_run_that_has_just_begun_has_no_curves(tmp_path: Path) -> None:
    assert learning_curves(RunDir(tmp_path)) == ()


CHART = LineChart(
    "Reward",
    {"rises": [(step, step / 100) for step in range(1, 101)], "falls": [(step, 1 - step / 100) for step in (50, 100)]},
)


def test_a_log_shows_the_figures_of_a_chart() -> None:
    out = io.StringIO()
    PlainView("run", out).chart(CHART)
    assert out.getvalue().splitlines()[2:7] == [
        "Reward",
        "step   1      21     41     60     80     100",
        "-----  -----  -----  -----  -----  -----  -----",
        "rises  0.010  0.210  0.410  0.600  0.800  1.000",
        "falls  -      -      -      0.500  0.500  0.000",
    ]


def test_figures_of_short_and_empty_charts() -> None:
    assert plain(chart_table(LineChart("One", {"a": [(3, 0.5)]}))).splitlines()[1:] == [
        "step  3",
        "----  -----",
        "a     0.500",
    ]
    assert chart_table(LineChart("None", {})).rows == ()


def test_a_terminal_shows_a_picture_whose_lines_rise_and_fall() -> None:
    drawn = re.sub(r"\x1b\[[0-9;]*m", "", draw_chart(CHART, 60, 12))
    lines = drawn.splitlines()
    assert "Reward" in lines[0]
    assert lines[-1].split() == ["\u25a0", "rises", "\u25a0", "falls", "over", "steps"]
    canvas = [line.partition("\u2524")[2] or line.partition("\u2502")[2] for line in lines if line[-1:] == "\u2502"]
    filled = [[i for i, letter in enumerate(row[:-1]) if letter != " "] for row in canvas]
    assert max(filled[0]) > 45  # top right: the end of the line that rises
    assert min(filled[-1]) < 3  # bottom left: its beginning
    assert max(map(len, lines)) <= 60


class Terminal(io.StringIO):
    def __init__(self, encoding: str) -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("encoding", "shown"), [("utf-8", "\u25a0 rises"), ("ascii", "rises")])
def test_the_live_view_draws_where_the_terminal_knows_the_characters(encoding: str, shown: str) -> None:
    out = Terminal(encoding)
    view = TerminalView("run", out, width=80)
    view.chart(CHART)
    view.close()
    assert shown in out.getvalue()
    assert ("0.210" in out.getvalue()) == (encoding == "ascii")
