"""Comparison of evaluations: paired differences, and their tables."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rft.evaluation.baselines import Baselines
from rft.evaluation.evaluate import MODES, PARSERS, EvalResult, Mode, RowSet
from rft.evaluation.intervals import Estimate, bootstrap
from rft.evaluation.published_results import comparable_results, published_set, why_not_comparable
from rft.tables import TextTable
from rft.tasks import TASKS


@dataclass(frozen=True, slots=True)
class Changed:
    """Sets of rows whose main metric changed by more than the paired interval allows for chance."""

    improved: tuple[str, ...]
    fell: tuple[str, ...]
    num_sets: int
    """All sets that were compared."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two evaluations of the same rows, with the baselines of these rows."""

    before: EvalResult
    after: EvalResult
    blind: Baselines
    before_name: str = "cold start"
    after_name: str = "GRPO"

    def change(self, name: str, mode: Mode) -> dict[str, Estimate]:
        """Metric -> mean of after minus before over paired rows; {} where the mode is missing.

        Raises ValueError where the two evaluations hold different rows of the set.
        """
        before, after = self.before.rows(name, mode), self.after.rows(name, mode)
        if not before or not after:
            return {}
        if before.keys() != after.keys():
            shared = len(before.keys() & after.keys())
            raise ValueError(f"{name}: the two evaluations share {shared} rows of {len(after)}")
        paired = [{metric: after[row][metric] - before[row][metric] for metric in after[row]} for row in after]
        return bootstrap(paired, self.after.seed)

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
        for name, of_set in self.after.sets.items():
            metric = TASKS[of_set.task].main_metric
            best = self.blind.best(name, metric)
            blind = f"{best[1].value:.3f}" if best else "-"
            rows.append((name, metric, blind, *(self._course(name, mode, metric) for mode in MODES)))
        arrow = f"{self.before_name} -> {self.after_name}"
        columns = (self._unit, "metric", "blind", *(f"{mode}: {arrow}" for mode in MODES))
        return TextTable("Held-out rows", columns, tuple(rows), self.verdict())

    @property
    def _unit(self) -> str:
        """Word for a set of rows: task, unless rows name their data set."""
        return "task" if all(of_set.dataset is None for of_set in self.after.sets.values()) else "set"

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
        greedy, sampled = (self._changed(mode) for mode in MODES)
        over, bounds = f"over the {self.before_name}", "outside the paired 95 % interval"
        if greedy.improved:
            learned = ": learned beyond sharpening" if self.after_name == "GRPO" else ""
            text = f"Greedy answers improved {over} in {len(greedy.improved)} of {greedy.num_sets} {self._unit}s "
            text += f"({bounds}){learned}" + (" there" if learned and len(greedy.improved) < greedy.num_sets else "")
        elif sampled.improved:
            text = (
                f"Only sampled answers improved {over}, in {len(sampled.improved)} of {sampled.num_sets} {self._unit}s "
            )
            text += f"({bounds}): sharpening"
        else:
            text = f"No answers improved {over} {bounds}"
        fell = [
            f"{mode} answers fell in {', '.join(changed.fell)}"
            for mode, changed in zip(MODES, (greedy, sampled), strict=True)
            if changed.fell
        ]
        return "; ".join((text, *fell)) + "."

    def _changed(self, mode: Mode) -> "Changed":
        changes = {name: self.change(name, mode) for name in self.after.sets}
        by_set = {
            name: change[TASKS[self.after.sets[name].task].main_metric] for name, change in changes.items() if change
        }
        return Changed(
            tuple(name for name, change in by_set.items() if change.low > 0),
            tuple(name for name, change in by_set.items() if change.high < 0),
            len(by_set),
        )

    def table(self) -> TextTable:
        """One line per set of rows and mode, in its task's main metric."""
        rows: list[tuple[str, ...]] = []
        for name, of_set in self.after.sets.items():
            metric = TASKS[of_set.task].main_metric
            best = self.blind.best(name, metric)
            for mode in MODES:
                before, after = self.before.estimates(name, mode), self.after.estimates(name, mode)
                if metric in before and metric in after:
                    rows.append(
                        (
                            name,
                            metric,
                            mode,
                            str(of_set.num_rows),
                            f"{best[1].value:.3f} {best[0]}" if best else "-",
                            f"{before[metric].value:.3f}",
                            f"{after[metric].value:.3f}",
                            signed(self.change(name, mode)[metric]),
                            _best_published(of_set, metric),
                        )
                    )
        columns: tuple[str, ...] = ("set", "metric", "mode", "rows", "best blind answer")
        columns += (self.before_name, self.after_name, "change", "published")
        if not any(row[-1] for row in rows):
            columns, rows = columns[:-1], [row[:-1] for row in rows]
        caption = "Change: mean over the same rows, with its 95 % bootstrap interval; * where that excludes 0."
        return TextTable("Held-out rows, with intervals", columns, tuple(rows), caption)


def result_tables(result: EvalResult | None, blind: Baselines) -> tuple[TextTable, ...]:
    """One table per set of rows: blind answers, the model under every parser, published figures where comparable."""
    sets = blind.sets | (result.sets if result else {})
    return tuple(_set_table(name, rows, result, blind, TASKS[rows.task].main_metric) for name, rows in sets.items())


def _set_table(name: str, rows: RowSet, result: EvalResult | None, blind: Baselines, main: str) -> TextTable:
    lines: list[tuple[str, Mapping[str, Estimate | float]]] = [
        (f"blind: {baseline}", metrics) for baseline, metrics in blind.estimates.get(name, {}).items()
    ]
    if result:
        lines += [(f"{mode}, {parser}", result.estimates(name, mode, parser)) for mode in MODES for parser in PARSERS]
    reason, published = why_not_comparable(rows), published_set(rows)
    caption = f"In brackets: 95 % bootstrap interval over rows. *: the task's main metric. Published: {reason}."
    if published and not reason:
        lines += [(f"{one.model} ({one.source})", one.values) for one in comparable_results(rows)]
        caption = caption.replace(f"{reason}.", f"VideoChat-R1, arXiv:2504.06958v5; {published.remark}.")
    lines = [(who, values) for who, values in lines if values]
    metrics = tuple(dict.fromkeys(metric for _, values in lines for metric in values))
    drawn = tuple((who, *(_cell(values.get(metric), metric == main) for metric in metrics)) for who, values in lines)
    columns = ("", *(f"{metric}*" if metric == main else metric for metric in metrics))
    of_task = "" if name == rows.task else f" ({rows.task})"
    problem = problems(result, name) if result else ""
    return TextTable(f"{name}{of_task}, {rows.num_rows:,} rows", columns, drawn, caption + problem)


def _best_published(rows: RowSet, metric: str) -> str:
    """The highest published figure that is comparable, as "0.608 VideoChat-R1"; "" where there is none."""
    results = [(one.values[metric], one.model) for one in comparable_results(rows) if metric in one.values]
    return "{:.3f} {}".format(*max(results)) if results else ""


def _cell(value: Estimate | float | None, is_main: bool) -> str:
    """The main metric with its interval, which published figures do not have."""
    if value is None:
        return "-"
    if not isinstance(value, Estimate):
        return f"{value:.3f}"
    interval = f" [{value.low:.3f}, {value.high:.3f}]" if is_main else ""
    return f"{value.value:.3f}{interval}"


def figures(result: EvalResult | None, blind: Baselines) -> dict[str, Any]:
    """Contents of the tables as JSON: {"eval", "baselines", "baseline_intervals", "published"} by set."""
    sets = blind.sets | (result.sets if result else {})
    return {
        **({"eval": result.to_json()} if result else {}),
        "baselines": blind.to_json(),
        "baseline_intervals": blind.intervals_json(),
        "published": {name: _published(rows) for name, rows in sets.items()},
    }


def _published(rows: RowSet) -> dict[str, Any]:
    reported, reason = published_set(rows), why_not_comparable(rows)
    return {
        "comparable": reason is None,
        "remark": reason or (reported.remark if reported else ""),
        "results": [{"model": r.model, "source": r.source, **r.values} for r in (reported.results if reported else ())],
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
