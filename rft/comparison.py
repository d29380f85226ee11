"""Evaluations side by side: paired differences, and the tables a person reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rft.evaluate import MODES, Baselines, EvalResult, Mode
from rft.intervals import Estimate, bootstrap
from rft.tasks import TASKS
from rft.tasks.types import Task


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table before it is drawn."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two evaluations of the same rows, beside what blind answers score on them."""

    before: EvalResult
    after: EvalResult
    blind: Baselines
    before_name: str = "after cold start"
    after_name: str = "after GRPO"

    def change(self, task: str, mode: Mode) -> dict[str, Estimate]:
        """Metric -> mean of after minus before, with the interval of resampled rows; {} where the mode is missing."""
        return changes(self.before, self.after, task, mode)

    def to_json(self) -> dict[str, Any]:
        """{task: {mode: {metric: {"change": value, "low": value, "high": value}}}}."""
        return {
            task: {
                mode: {
                    metric: {"change": e.value, "low": e.low, "high": e.high}
                    for metric, e in self.change(task, mode).items()
                }
                for mode in MODES
            }
            for task in self.after.tasks
        }

    def table(self, tasks: Mapping[str, Task] = TASKS) -> TextTable:
        """One line per task and mode, in the task's main metric."""
        rows = []
        for task in self.after.tasks:
            metric = tasks[task].main_metric
            best = self.blind.best(task, metric)
            for mode in MODES:
                before, after = self.before.estimates(task, mode), self.after.estimates(task, mode)
                if metric in before and metric in after:
                    rows.append(
                        (
                            task,
                            metric,
                            mode,
                            str(len(self.after.rows(task, mode))),
                            f"{best[1].value:.3f} {best[0]}" if best else "-",
                            f"{before[metric].value:.3f}",
                            f"{after[metric].value:.3f}",
                            signed(self.change(task, mode)[metric]),
                        )
                    )
        columns = ("task", "metric", "mode", "rows", "best blind answer", self.before_name, self.after_name, "change")
        caption = "Change: mean over the same rows, with its 95 % bootstrap interval; * where that excludes 0."
        return TextTable("Held-out rows", columns, tuple(rows), caption)


def changes(before: EvalResult, after: EvalResult, task: str, mode: Mode) -> dict[str, Estimate]:
    """Paired over rows. Raises ValueError where the two evaluations hold different rows of the task."""
    first, last = before.rows(task, mode), after.rows(task, mode)
    if not first or not last:
        return {}
    if first.keys() != last.keys():
        raise ValueError(f"{task}: the two evaluations share {len(first.keys() & last.keys())} rows of {len(last)}")
    paired = [{name: last[row][name] - first[row][name] for name in last[row]} for row in last]
    return bootstrap(paired, after.seed)


def result_table(result: EvalResult, blind: Baselines, tasks: Mapping[str, Task] = TASKS) -> TextTable:
    """One evaluation alone: every metric of every task, the strongest blind answer beside it."""
    rows = []
    for task in result.tasks:
        greedy, sampled = (result.estimates(task, mode) for mode in MODES)
        for metric in greedy:
            best = blind.best(task, metric)
            main = "*" if metric == tasks[task].main_metric else ""
            rows.append(
                (
                    task,
                    metric + main,
                    str(len(result.rows(task, "greedy"))),
                    f"{best[1].value:.3f} {best[0]}" if best else "-",
                    bounded(greedy[metric]),
                    bounded(sampled[metric]) if metric in sampled else "-",
                )
            )
    columns = ("task", "metric", "rows", "best blind answer", "greedy", "sampled")
    caption = "In brackets: 95 % bootstrap interval over rows. *: the task's main metric."
    return TextTable("Evaluation", columns, tuple(rows), caption + problems(result))


def problems(result: EvalResult) -> str:
    """A sentence on completions that failed or were cut; they stay in every mean. "" where there are none."""
    total = {"completions": 0, "failed": 0, "truncated": 0, "malformed": 0}
    for task in result.tasks:
        for mode in MODES:
            for name, count in result.counts(task, mode).items():
                total[name] += count
    named = [f"{total[name]} {name}" for name in ("failed", "truncated", "malformed") if total[name]]
    return f" Of {total['completions']} completions: {', '.join(named)} (all counted in the means)." if named else ""


def signed(estimate: Estimate) -> str:
    mark = " *" if estimate.excludes_zero else ""
    return f"{estimate.value:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}]{mark}"


def bounded(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def plain(table: TextTable) -> str:
    """The table as lines of ASCII, columns aligned."""
    lines: Sequence[tuple[str, ...]] = (table.columns, *table.rows)
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.columns))]

    def drawn(line: tuple[str, ...]) -> str:
        return "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()

    rule = "  ".join("-" * width for width in widths)
    return "\n".join([table.title, drawn(table.columns), rule, *map(drawn, table.rows), *filter(None, [table.caption])])
