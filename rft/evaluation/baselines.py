"""Baselines: answers made without the video, under the metrics of the same rows."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rewards.types import Target
from rft.evaluation.evaluate import RowSet, Sample, corpus_estimates, row_sets, unit_of
from rft.evaluation.intervals import Estimate, bootstrap, intervals, means
from rft.tasks import TASKS
from rft.types import Prompt

UNIFORM = "uniform"
"""The baseline that picks any option; its expected accuracy is computed, not drawn."""


@dataclass(frozen=True, slots=True)
class Baselines:
    """Metrics of the baselines, by set of rows."""

    estimates: dict[str, dict[str, dict[str, Estimate]]]
    """Set of rows -> baseline -> metric -> mean over the same rows as the evaluation's."""
    sets: dict[str, RowSet]

    def to_json(self) -> dict[str, Any]:
        """{set: {baseline: {metric: value}}}."""
        return {name: {b: means(metrics) for b, metrics in of_set.items()} for name, of_set in self.estimates.items()}

    def intervals_json(self) -> dict[str, Any]:
        """{set: {baseline: {metric: [low, high]}}}."""
        return {
            name: {b: intervals(metrics) for b, metrics in of_set.items()} for name, of_set in self.estimates.items()
        }

    def best(self, name: str, metric: str) -> tuple[str, Estimate] | None:
        """(name, estimate) of the best baseline on a set of rows; None where there is none."""
        by_name = {b: metrics[metric] for b, metrics in self.estimates.get(name, {}).items() if metric in metrics}
        return max(by_name.items(), key=lambda item: item[1].value) if by_name else None

    def only(self, baseline: str) -> "Baselines":
        """The metrics of one baseline."""
        kept = {name: {b: of_set[b] for b in of_set if b == baseline} for name, of_set in self.estimates.items()}
        return Baselines(kept, self.sets)


def measure_baselines(
    target_rows: Sequence[Prompt | Sample], train_targets: Mapping[str, Collection[Target]], seed: int
) -> Baselines:
    """Metrics of answers made without the video; `train_targets`: by task, to fit them on.

    Scored with our parser only: the answers are well formed, so both parsers agree.
    """
    by_kind: dict[tuple[str, str | None], list[Prompt | Sample]] = defaultdict(list)
    for row in sorted(target_rows, key=lambda row: row.prompt_id):
        by_kind[row.task, row.dataset].append(row)
    estimates, sets = {}, row_sets(target_rows)
    for name, kind in sets.items():
        rows_of_kind, task = by_kind[kind.task, kind.dataset], TASKS[kind.task]
        targets, units = [row.target for row in rows_of_kind], [unit_of(row) for row in rows_of_kind]
        rows = [(target, target.duration_s) for target in targets]
        judged = {
            baseline: [dict(task.measure(text, target)) for text, target in zip(texts, targets, strict=True)]
            for baseline, texts in task.baselines(tuple(train_targets.get(kind.task, ())), rows).items()
        }
        estimates[name] = {
            baseline: bootstrap(values, seed, units)
            | corpus_estimates(task, list(zip(targets, values, strict=True)), units, seed)
            for baseline, values in judged.items()
        }
        estimates[name] |= {baseline: bootstrap(values, seed, units) for baseline, values in uniform(targets).items()}
    return Baselines(estimates, sets)


def uniform(targets: Sequence[Target]) -> dict[str, list[dict[str, float]]]:
    """Expected accuracy of a random option, row by row; {} where the number of options is not known for every row."""
    counts = [target.num_options for target in targets]
    expected = [{"accuracy": 1 / count} for count in counts if count is not None]
    return {UNIFORM: expected} if expected and len(expected) == len(targets) else {}
