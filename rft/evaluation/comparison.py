"""Comparison of evaluations: paired differences, and their tables."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from rft.evaluation.baselines import Baselines
from rft.evaluation.evaluate import MODES, PARSERS, EvalResult, Mode, RowSet
from rft.evaluation.intervals import Estimate, bootstrap
from rft.evaluation.published_results import published_results
from rft.evaluation.suites import Figures, MeasuredSuite, best_baselines, measured_suites
from rft.evaluation.views import split_view
from rft.tables import TextTable
from rft.tasks import TASKS


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two evaluations of the same rows, with the baselines of these rows."""

    before: EvalResult
    after: EvalResult
    baselines: Baselines
    before_name: str = "cold start"
    after_name: str = "GRPO"

    def change(self, name: str, mode: Mode) -> dict[str, Estimate]:
        """Metric -> mean of after minus before over paired rows; {} where the mode is missing.

        Raises ValueError where the two evaluations hold different rows of the set.
        """
        changes, units = paired_changes(self.before, self.after, name, mode), self.after.units
        return bootstrap(list(changes.values()), self.after.seed, [units[row] for row in changes])

    def to_json(self) -> dict[str, Any]:
        """{set: {mode: {metric: {"change": value, "low": value, "high": value}}}}."""
        return {
            name: {
                mode: {
                    metric: {"change": e.value, "low": e.low, "high": e.high}
                    for metric, e in self.change(name, mode).items()
                }
                for mode in MODES
            }
            for name in self.after.sets
        }

    def overview(self) -> TextTable:
        """Table of one line per set of rows: best baseline, greedy and sampled answers, before and after."""
        rows = []
        for name, metric in self._main_metrics().items():
            best = self.baselines.best(name, metric)
            course = (self._course(name, mode, metric) for mode in MODES)
            rows.append((name, metric, f"{best[1].value:.3f}" if best else "-", *course))
        arrow = f"{self.before_name} -> {self.after_name}"
        columns = (self._unit, "metric", "baseline", *(f"{mode}: {arrow}" for mode in MODES))
        return TextTable("Held-out rows", columns, tuple(rows), self.verdict())

    def _main_metrics(self) -> dict[str, str]:
        """Set of rows -> main metric of its task; without those whose clips are seen otherwise."""
        return {name: TASKS[of_set.task].main_metric for name, of_set in self._filmed_sets.items()}

    @property
    def _filmed_sets(self) -> dict[str, RowSet]:
        return {name: of_set for name, of_set in self.after.sets.items() if split_view(of_set.dataset or "")[1] is None}

    @property
    def _unit(self) -> str:
        """Word for a set of rows: task, unless rows name their data set."""
        return "task" if all(of_set.dataset is None for of_set in self._filmed_sets.values()) else "set"

    def _course(self, name: str, mode: Mode, metric: str) -> str:
        """The figure before and after, as "0.590 -> 0.665 *"; "-" where the mode is missing."""
        change = self.change(name, mode)
        if metric not in change:
            return "-"
        before, after = (result.estimates(name, mode)[metric].value for result in (self.before, self.after))
        return f"{before:.3f} -> {after:.3f}{' *' if change[metric].excludes_zero else ''}"

    def verdict(self) -> str:
        """Whether the policy learned beyond sharpening, in one sentence.

        Sharpening makes the likeliest answer likelier still: sampled answers gain, greedy ones do not.
        """
        changes: dict[Mode, dict[str, Estimate]] = {mode: {} for mode in MODES}
        for name, metric in self._main_metrics().items():
            for mode in MODES:
                if change := self.change(name, mode):
                    changes[mode][name] = change[metric]
        improved = {mode: sum(change.low > 0 for change in of_mode.values()) for mode, of_mode in changes.items()}
        share = {mode: f"{improved[mode]} of {len(changes[mode])} {self._unit}s" for mode in MODES}
        over, bounds = f"over the {self.before_name}", "outside the paired 95 % interval"
        if improved["greedy"]:
            text = f"Greedy answers improved {over} in {share['greedy']} ({bounds})"
            if self.after_name == "GRPO":
                everywhere = improved["greedy"] == len(changes["greedy"])
                text += ": learned beyond sharpening" + ("" if everywhere else " there")
        elif improved["sampled"]:
            text = f"Only sampled answers improved {over}, in {share['sampled']} ({bounds}): sharpening"
        else:
            text = f"No answers improved {over} {bounds}"
        for mode, of_mode in changes.items():
            fell = [name for name, change in of_mode.items() if change.high < 0]
            text += f"; {mode} answers fell in {', '.join(fell)}" if fell else ""
        return f"{text}."

    def table(self) -> TextTable:
        """One line per set of rows and mode, in its task's main metric."""
        rows: list[tuple[str, ...]] = []
        for name, metric in self._main_metrics().items():
            of_set, best = self.after.sets[name], self.baselines.best(name, metric)
            baseline = f"{best[1].value:.3f} {best[0]}" if best else "-"
            for mode in MODES:
                change = self.change(name, mode)
                if metric in change:
                    results = (result.estimates(name, mode)[metric] for result in (self.before, self.after))
                    values = (*(f"{result.value:.3f}" for result in results), signed(change[metric]))
                    rows.append(
                        (name, metric, mode, str(of_set.num_rows), baseline, *values, _best_published(of_set, metric))
                    )
        columns: tuple[str, ...] = ("set", "metric", "mode", "rows", "best baseline")
        columns += (self.before_name, self.after_name, "change", "published")
        if not any(row[-1] for row in rows):
            columns, rows = columns[:-1], [row[:-1] for row in rows]
        caption = "Change: mean over the same rows, with its 95 % bootstrap interval; * where that excludes 0."
        return TextTable("Held-out rows, with intervals", columns, tuple(rows), caption)


def paired_changes(before: EvalResult, after: EvalResult, name: str, mode: Mode) -> dict[str, dict[str, float]]:
    """Prompt id -> metric -> after minus before; {} where the mode is missing.

    Raises ValueError where the two evaluations hold different rows of the set.
    """
    first, last = before.rows(name, mode), after.rows(name, mode)
    if not first or not last:
        return {}
    if first.keys() != last.keys():
        raise ValueError(f"{name}: the two evaluations share {len(first.keys() & last.keys())} rows of {len(last)}")
    return {row: {metric: last[row][metric] - first[row][metric] for metric in last[row]} for row in last}


def result_tables(result: EvalResult | None, baselines: Baselines) -> tuple[TextTable, ...]:
    """Per set of rows a table of baselines, the model under every parser and published figures where comparable.

    Behind it one by part where the set has several, and at the end one per suite.
    """
    sets = baselines.sets | (result.sets if result else {})
    tables = []
    for name, rows in sets.items():
        main = TASKS[rows.task].main_metric
        tables.append(_set_table(name, rows, result, baselines, main))
        if result and name in result.sets and len((of_subsets := _subset_table(name, result, main)).rows) > 1:
            tables.append(of_subsets)
    suites, columns = _suites(result, baselines)
    return (*tables, *(suite.table(columns) for suite in suites))


def _suites(result: EvalResult | None, baselines: Baselines) -> tuple[list[MeasuredSuite], dict[str, Figures]]:
    """The measured suites, and the columns of their tables."""
    sets = baselines.sets | (result.sets if result else {})
    suites = measured_suites({name: rows.num_rows for name, rows in sets.items()})
    names = {name for suite in suites for name in suite.counts}
    columns: dict[str, Figures] = {"best baseline": best_baselines(baselines.to_json())}
    if result:
        for mode, parser in product(MODES, PARSERS):
            of_sets = {name: result.values(name, mode, parser) for name in names & result.sets.keys()}
            columns[f"{mode}, {parser}"] = of_sets
    return suites, columns


def _subset_table(name: str, result: EvalResult, main: str) -> TextTable:
    """The main metric on each part of a set, with intervals."""
    parts = {mode: result.subsets(name, mode) for mode in MODES}
    drawn = tuple(
        (part, f"{count:,}", *(cell(parts[mode][part][1], True) if part in parts[mode] else "-" for mode in MODES))
        for part, (count, _) in (parts["greedy"] or parts["sampled"]).items()
    )
    return TextTable(f"{name} by part: {main}", ("part", "rows", *MODES), drawn)


def _set_table(name: str, rows: RowSet, result: EvalResult | None, baselines: Baselines, main: str) -> TextTable:
    lines: list[tuple[str, Mapping[str, Estimate | float]]] = [
        (f"baseline: {baseline}", metrics) for baseline, metrics in baselines.estimates.get(name, {}).items()
    ]
    if result:
        lines += [(f"{mode}, {parser}", result.estimates(name, mode, parser)) for mode in MODES for parser in PARSERS]
    published = published_results(rows)
    lines += [(f"{one.model} ({one.source})", one.values) for one in published.comparable]
    remark = published.obstacle or f"{published.paper}; {published.remark}"
    over = "rows" if rows.num_units == rows.num_rows else f"{rows.num_units:,} videos, whose rows are drawn together"
    caption = f"In brackets: 95 % bootstrap interval over {over}. *: the task's main metric. Published: {remark}."
    lines = [(who, values) for who, values in lines if values]
    metrics = tuple(dict.fromkeys(metric for _, values in lines for metric in values))
    drawn = tuple((who, *(cell(values.get(metric), metric == main) for metric in metrics)) for who, values in lines)
    columns = ("", *(f"{metric}*" if metric == main else metric for metric in metrics))
    of_task = "" if name == rows.task else f" ({rows.task})"
    problem = problems(result, name) if result else ""
    return TextTable(f"{name}{of_task}, {rows.num_rows:,} rows", columns, drawn, caption + problem)


def _best_published(rows: RowSet, metric: str) -> str:
    """The highest published figure that is comparable, as "0.608 VideoChat-R1"; "" where there is none."""
    results = [(one.values[metric], one.model) for one in published_results(rows).comparable if metric in one.values]
    return "{:.3f} {}".format(*max(results)) if results else ""


def cell(value: Estimate | float | None, is_main: bool) -> str:
    """The main metric with its interval, which published figures do not have."""
    if value is None:
        return "-"
    if not isinstance(value, Estimate):
        return f"{value:.3f}"
    interval = f" [{value.low:.3f}, {value.high:.3f}]" if is_main else ""
    return f"{value.value:.3f}{interval}"


def figures(result: EvalResult | None, baselines: Baselines) -> dict[str, Any]:
    """Contents of the tables as JSON: {"eval", "baselines", "baseline_intervals", "published"} by set, and "suites"."""
    sets = baselines.sets | (result.sets if result else {})
    suites, columns = _suites(result, baselines)
    return {
        **({"eval": result.to_json()} if result else {}),
        "baselines": baselines.to_json(),
        "baseline_intervals": baselines.intervals_json(),
        "published": {name: _published(rows) for name, rows in sets.items()},
        "suites": {one.suite.name: one.to_json(columns) for one in suites},
    }


def _published(rows: RowSet) -> dict[str, Any]:
    published = published_results(rows)
    return {
        "comparable": published.obstacle is None,
        "remark": published.obstacle or published.remark,
        "results": [{"model": one.model, "source": one.source, **one.values} for one in published.results],
    }


def problems(result: EvalResult, name: str) -> str:
    """A sentence on completions that failed, were cut or are at fault; all stay in every mean. "" without any."""
    total, faults = Counter[str](), {parser: Counter[str]() for parser in PARSERS}
    for mode in MODES:
        counts = result.counts(name, mode)
        total.update({kind: counts[kind] for kind in ("completions", "failed", "truncated", "malformed")})
        for parser, kinds in counts["faults"].items():
            faults[parser].update(kinds)
    named = [f"{total[kind]} {kind}" for kind in ("failed", "truncated", "malformed") if total[kind]]
    for parser, kinds in faults.items():
        named_kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
        named += [f"at fault, {parser}: {named_kinds}"] if kinds else []
    return f" Of {total['completions']} completions: {'; '.join(named)} (all counted in the means)." if named else ""


def signed(estimate: Estimate) -> str:
    mark = " *" if estimate.excludes_zero else ""
    return f"{estimate.value:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}]{mark}"
