"""Did it learn: the figures of each set of held-out rows, and their course over the steps."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from rft.evaluation.comparison import cell
from rft.evaluation.evaluate import MODES, RowSet, by_number
from rft.evaluation.intervals import Estimate, bootstrap
from rft.evaluation.published_results import published_results
from rft.evaluation.suites import Figures, best_baselines, measured_suites
from rft.runs.learning_curves import shared_rows
from rft.runs.run_dir import RunDir
from rft.tasks import TASKS

BEFORE = ("cold_start", "base")
"""Names of the evaluation that a run is compared with."""


def learned(run: RunDir, summary: Mapping[str, Any], last_step: int) -> list[dict[str, Any]]:
    """Per set of rows {"name", "task", "metric", "num_rows", "blind", "modes", "course"}.

    "blind": the best baseline as {"name", "estimate"}, or None. "modes": greedy and sampled answers, each {"before",
    "after", "change"}. "course": [step, value, low, high] of greedy answers over the rows that all evaluations share.
    An estimate is [value, low, high], or None.
    """
    evals = summary.get("eval", {})
    course = held_out_course(run, last_step)
    sets = []
    for name in {name for result in evals.values() for name in result} | set(course):
        of_set: dict[str, Any] = next((result[name] for result in evals.values() if name in result), {})
        metric = main_metric(of_set)
        before: dict[str, Any] = next((evals[key].get(name, {}) for key in BEFORE if key in evals), {})
        after = evals.get("final", {}).get(name, {})
        change = summary.get("change", {}).get(name, {})
        modes = {}
        for mode in MODES:
            moved = change.get(mode, {}).get(metric)
            modes[mode] = {
                "before": estimate(before, mode, metric),
                "after": estimate(after, mode, metric),
                "change": moved and [moved["change"], moved["low"], moved["high"]],
            }
        sets.append(
            {
                "name": name,
                "task": of_set.get("task", name),
                "metric": metric,
                "num_rows": of_set.get("rows"),
                "blind": blind(summary, name, metric),
                "modes": modes,
                "course": course.get(name, []),
            }
        )
    # The tasks themselves before the data sets that their rows name.
    return sorted(sets, key=lambda one: (one["name"] != one["task"], one["name"]))


def main_metric(of_set: Mapping[str, Any]) -> str:
    """The task's main metric; of a task that is not installed here the first one measured."""
    task = TASKS.get(of_set.get("task", ""))
    measured: dict[str, float] = next((of_set[mode] for mode in MODES if of_set.get(mode)), {})
    return task.main_metric if task else next(iter(measured), "")


def estimate(of_set: Mapping[str, Any], mode: str, metric: str) -> list[float] | None:
    """[value, low, high] of a set in summary.json; without interval [value, value, value]."""
    value = of_set.get(mode, {}).get(metric)
    if value is None:
        return None
    bounds = of_set.get("intervals", {}).get(mode, {}).get(metric, (value, value))
    return [value, *bounds]


def blind(summary: Mapping[str, Any], name: str, metric: str) -> dict[str, Any] | None:
    """The best answer made without the video."""
    values = {
        baseline: values[metric]
        for baseline, values in summary.get("baselines", {}).get(name, {}).items()
        if metric in values
    }
    if not values:
        return None
    best = max(values, key=lambda baseline: values[baseline])
    bounds = summary.get("baseline_intervals", {}).get(name, {}).get(best, {}).get(metric, (values[best],) * 2)
    return {"name": best, "estimate": [values[best], *bounds]}


def held_out_course(run: RunDir, last_step: int) -> dict[str, list[list[float]]]:
    """Set of rows -> [step, value, low, high] of its greedy answers at each evaluation."""
    course = {}
    for name, shared in shared_rows(run, last_step).items():
        metric = shared.metric
        estimates = {
            step: bootstrap([{metric: values[metric]} for values in rows], shared.seed, shared.units)[metric]
            for step, rows in shared.rows.items()
        }
        course[name] = [[step, e.value, e.low, e.high] for step, e in estimates.items()]
    return course


def all_figures(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Per set of rows {"name", "num_rows", "metrics", "rows": lines of cells}.

    Baselines come first, then each evaluation by each parser, then published figures where they can be compared.
    """
    evals: dict[str, Any] = summary.get("eval", {})
    baselines: dict[str, Any] = summary.get("baselines", {})
    tables = []
    for name in sorted({name for result in evals.values() for name in result} | set(baselines)):
        lines: list[tuple[str, dict[str, Any]]] = [
            (f"baseline: {baseline}", metrics) for baseline, metrics in baselines.get(name, {}).items()
        ]
        published: dict[str, dict[str, Any]] = {}
        for result_name, result in evals.items():
            of_set = result.get(name, {})
            lines += evaluation_lines(result_name, of_set)
            count = of_set.get("rows", 0)
            rows_of = RowSet(of_set.get("task", name), of_set.get("dataset"), count, of_set.get("units", count))
            published |= {f"{one.model} ({one.source})": one.values for one in published_results(rows_of).comparable}
        lines += published.items()
        metrics = list(dict.fromkeys(metric for _, values in lines for metric in values))
        # A task names its main metric first; that one is shown with its interval, all are in summary.json.
        rows = [[who, *(cell(values.get(metric), metric == metrics[0]) for metric in metrics)] for who, values in lines]
        num_rows = " and ".join(sorted({str(result[name].get("rows")) for result in evals.values() if name in result}))
        tables.append({"name": name, "num_rows": num_rows or "unknown", "metrics": metrics, "rows": rows})
    return tables


def suite_figures(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Per suite of which a set was measured {"title", "columns", "rows": lines of cells, "caption"}."""
    evals: dict[str, Any] = summary.get("eval", {})
    by_column: dict[str, dict[str, dict[str, float]]] = defaultdict(dict)
    for result_name, result in evals.items():
        for name, of_set in result.items():
            for column, values, _ in _by_parser(result_name, of_set):
                by_column[column][name] = values
    columns: dict[str, Figures] = {"best baseline": best_baselines(summary.get("baselines", {})), **by_column}
    rows = {name: of_set["rows"] for result in evals.values() for name, of_set in result.items() if "rows" in of_set}
    return [asdict(suite.table(columns)) for suite in measured_suites(rows)]


def grids(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of the last evaluation, per set whose parts cross two others: {"name", "mode", "rows", "columns", "values"}.

    The part "1,000 frames, depth 0.50" is a cell where "1,000 frames" and "depth 0.50" are parts too. In values[row]
    [column] is the main metric there; None: no row of the set.
    """
    found = []
    evals = summary.get("eval", {})
    last: dict[str, Any] = evals.get("final") or next(reversed(evals.values()), {})
    for name, of_set in last.items():
        for mode, parts in of_set.get("subsets", {}).items():
            sides = {part: part.rpartition(", ")[::2] for part in parts}
            cells = {sides[part]: value for part, value in parts.items() if parts.keys() >= set(sides[part])}
            rows, columns = (sorted({pair[i] for pair in cells}, key=by_number) for i in (0, 1))
            values = [[cells.get((row, column)) for column in columns] for row in rows]
            if cells:
                found.append({"name": name, "mode": mode, "rows": rows, "columns": columns, "values": values})
    return found


def evaluation_lines(result_name: str, of_set: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """(name, metrics) of a set's answers by mode and parser."""
    return [
        (name, values | {metric: Estimate(values[metric], *bounds[metric]) for metric in bounds})
        for name, values, bounds in _by_parser(result_name, of_set)
    ]


def _by_parser(
    result_name: str, of_set: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, float], dict[str, list[float]]]]:
    """(name, means, intervals) of a set's answers by mode and parser, where there are any."""
    for mode in MODES:
        for parser, figures in (("", of_set), (", strict", of_set.get("strict", {}))):
            if values := figures.get(mode, {}):
                yield f"{result_name}, {mode}{parser}", values, figures.get("intervals", {}).get(mode, {})
