"""Sums over data sets: hand-worked means, what is missing, published figures beside them, and files with mistakes."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from rewards.targets.choice import ChoiceTarget
from rft.commands.report.learned import suite_figures
from rft.errors import DataError
from rft.evaluation.baselines import measure_baselines
from rft.evaluation.comparison import figures, result_tables
from rft.evaluation.evaluate import EvalResult, ParsedAnswer, Sample
from rft.evaluation.suites import Suite, all_suites, best_baselines, read_suites
from rft.types import Prompt

BENCH = """
bench:
  paper: A Bench, arXiv:0000.00000
  remark: judged by rule
  means:
    overall:
      seeing:
        colour: {metric: accuracy, sets: [bench/colour/a, bench/colour/b]}
        shape: {metric: accuracy, sets: [bench/shape]}
      timing: {metric: accuracy, sets: [bench/timing]}
  reported: [colour, shape, timing]
  results:
    - {model: Large, source: table 1, rows: 12, percent: [80, 60, 50]}
    - {model: Small, source: table 1, rows: 12, percent: [40, 20, null]}
    - {model: Other, source: table 2, rows: 300, percent: [10, 10, 10]}
"""

RIGHT = {"bench/colour/a": 1.0, "bench/colour/b": 0.5, "bench/shape": 0.25, "bench/timing": 0.0}
"""Set -> accuracy: colour has 0.75, seeing 0.5, overall 0.25."""


def suite_of(tmp_path: Path, text: str = BENCH) -> Suite:
    file = tmp_path / "suites.yaml"
    file.write_text(text)
    (suite,) = read_suites(file)
    return suite


def accuracies(values: Mapping[str, float]) -> dict[str, dict[str, float]]:
    return {name: {"accuracy": value} for name, value in values.items()}


def evaluation(strict: bool) -> EvalResult:
    """The sets of RIGHT, the first with 4 rows, the second with 2, the others with 3; strict answers earn half."""
    samples = []
    for (name, value), count in zip(RIGHT.items(), (4, 2, 3, 3), strict=True):
        parsed = {"lenient": ParsedAnswer({"accuracy": value}, None)}
        if strict:
            parsed["strict"] = ParsedAnswer({"accuracy": value / 2}, None)
        samples += [
            Sample(f"{name}/{i}", "multiple_choice", name, ChoiceTarget("A"), "greedy", 0, "x", "stop", 1, 0, parsed)
            for i in range(count)
        ]
    return EvalResult(tuple(samples), 0)


def test_parts_and_sets_count_alike_however_many_rows_they_have(tmp_path: Path) -> None:
    suite = suite_of(tmp_path)
    means = {node.name: node.value(accuracies(RIGHT)) for _, node in suite.nodes}
    assert means == {"overall": 0.25, "seeing": 0.5, "colour": 0.75, "shape": 0.25, "timing": 0.0}
    assert [depth for depth, _ in suite.nodes] == [0, 1, 2, 2, 1]
    assert suite.sets == tuple(RIGHT)


@pytest.mark.parametrize(
    ("gone", "unknown"),
    [
        ("bench/colour/b", {"colour", "seeing", "overall"}),
        ("bench/shape", {"shape", "seeing", "overall"}),
        ("bench/timing", {"timing", "overall"}),
    ],
)
def test_no_mean_of_what_happens_to_be_there(tmp_path: Path, gone: str, unknown: set[str]) -> None:
    suite = suite_of(tmp_path)
    known = {name: value for name, value in RIGHT.items() if name != gone}
    assert {node.name for _, node in suite.nodes if node.value(accuracies(known)) is None} == unknown
    measured = suite.of(dict.fromkeys(known, 3))
    assert measured is not None
    assert measured.missing == (gone,)
    table = measured.table({"greedy": accuracies(known)})
    assert {row[0].strip() for row in table.rows if row[2] == "-"} == unknown
    assert f"Not measured: {gone}; a mean that needs them is -." in table.caption
    assert suite.of({"other/test": 3}) is None


def test_tables_and_json_have_the_model_and_the_best_baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite, result = suite_of(tmp_path), evaluation(strict=True)
    monkeypatch.setattr("rft.evaluation.suites.all_suites", lambda: (suite,))
    rows = [Prompt(s.prompt_id, s.task, "", None, s.target, s.dataset) for s in result.samples]
    baselines = measure_baselines(rows, {}, 0)
    table = result_tables(result, baselines)[-1]
    assert table.title == "bench, 4 of 4 sets, 12 rows"
    assert table.columns == ("", "metric", "best baseline", "greedy, lenient", "greedy, strict", "Large", "Small")
    assert table.rows == (
        # All answers of the baseline "majority" are right: every target is A.
        ("overall", "", "1.000", "0.250", "0.125", "0.600", "-"),
        ("  seeing", "", "1.000", "0.500", "0.250", "0.700", "0.300"),
        ("    colour", "accuracy", "1.000", "0.750", "0.375", "0.800", "0.400"),
        ("    shape", "accuracy", "1.000", "0.250", "0.125", "0.600", "0.200"),
        ("  timing", "accuracy", "1.000", "0.000", "0.000", "0.500", "-"),
    )
    assert "Published: A Bench, arXiv:0000.00000; table 1 (Large, Small); judged by rule." in table.caption
    of_suite = figures(result, baselines)["suites"]["bench"]
    assert of_suite["means"]["seeing"] == {"best baseline": 1.0, "greedy, lenient": 0.5, "greedy, strict": 0.25}
    assert of_suite["published"]["Small"] == {"colour": 0.4, "shape": 0.2}
    summary = {"eval": {"final": result.to_json()}, "baselines": baselines.to_json()}
    (shown,) = suite_figures(summary)
    assert shown["columns"][2:5] == ("best baseline", "final, greedy", "final, greedy, strict")
    assert [row[2:5] for row in shown["rows"]] == [row[2:5] for row in table.rows]


def test_a_parser_that_reads_no_task_of_a_suite_has_no_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rft.evaluation.suites.all_suites", lambda: (suite_of(tmp_path),))
    result = evaluation(strict=False)
    table = result_tables(result, measure_baselines([], {}, 0))[-1]
    assert table.columns[2:] == ("greedy, lenient", "Large", "Small")


def test_figures_over_other_rows_are_not_published_beside(tmp_path: Path) -> None:
    measured = suite_of(tmp_path).of(dict.fromkeys(RIGHT, 4))
    assert measured is not None
    assert measured.comparable == ()
    assert measured.remark == "the sources measured 12 or 300 rows, these are 16"


def test_the_best_baseline_is_taken_set_by_set() -> None:
    by_set = {"a": {"majority": {"accuracy": 0.4, "x": 0.1}, "uniform": {"accuracy": 0.25}}, "b": {}}
    assert best_baselines(by_set) == {"a": {"accuracy": 0.4, "x": 0.1}}


def test_every_mistake_of_a_file_is_named_at_once(tmp_path: Path) -> None:
    file = tmp_path / "suites.yaml"
    file.write_text("""
bench:
  means:
    a: {metric: accuracy, sets: []}
two:
  paper: B
  means:
    a: {metric: accuracy, sets: [x], parser: strict}
    b:
      a: {metric: accuracy, sets: [x, x]}
      c: 3
  reported: [a, d]
  results:
    - {model: M, source: table 1, rows: 3, percent: [1]}
""")
    with pytest.raises(DataError) as error:
        read_suites(file)
    said = str(error.value).splitlines()
    assert [line.removeprefix(f"{file}: ") for line in said] == [
        "bench.paper: Field required",
        "two.means.a: has metric, sets, parser. Write {metric: one name, sets: [names, each once]}.",
        "two.means.b.a: has metric, sets. Write {metric: one name, sets: [names, each once]}.",
        "two.means.b.c: give its parts, or {metric: .., sets: [..]}",
        "two.means: a is there twice; names tell the nodes apart",
        "two.reported: d is no node. Name one of a, b, a, c.",
        "two.results.0.percent: 1 figures for 2 nodes of two.reported",
    ]


@pytest.mark.parametrize("text", ["", "a: {paper: A, means: {}}", "a: 3", "a: [", "a: {paper: A}\na: {paper: A}"])
def test_files_without_a_suite(tmp_path: Path, text: str) -> None:
    file = tmp_path / "suites.yaml"
    file.write_text(text)
    with pytest.raises(DataError, match=r"suites\.yaml: "):
        read_suites(file)


def test_suites_of_the_packs_have_names_of_their_own() -> None:
    names = [suite.name for suite in all_suites()]
    assert sorted(names) == sorted(set(names))
