"""Blind answers: what can be had on the same rows without looking at a single clip."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rewards.types import Target
from rft.evaluation.evaluate import RowSet, TargetRow, row_sets
from rft.evaluation.intervals import Estimate, bootstrap
from rft.tasks import TASKS

UNIFORM = "uniform"
"""The baseline that picks any option; its expected accuracy is computed, not drawn."""


@dataclass(frozen=True, slots=True)
class Baselines:
    """Blind answers under the metrics of their task."""

    estimates: dict[str, dict[str, dict[str, Estimate]]]
    """Set of rows -> baseline -> metric -> mean over the same rows as the evaluation's."""
    sets: dict[str, RowSet]

    def to_json(self) -> dict[str, Any]:
        """{set: {baseline: {metric: value}}}."""
        return {
            name: {baseline: {m: e.value for m, e in metrics.items()} for baseline, metrics in found.items()}
            for name, found in self.estimates.items()
        }

    def intervals_json(self) -> dict[str, Any]:
        """{set: {baseline: {metric: [low, high]}}}."""
        return {
            name: {baseline: {m: [e.low, e.high] for m, e in metrics.items()} for baseline, metrics in found.items()}
            for name, found in self.estimates.items()
        }

    def best(self, name: str, metric: str) -> tuple[str, Estimate] | None:
        """The strongest blind answer to a set of rows; None where there is none."""
        found = {b: metrics[metric] for b, metrics in self.estimates.get(name, {}).items() if metric in metrics}
        return max(found.items(), key=lambda item: item[1].value) if found else None

    def only(self, baseline: str) -> "Baselines":
        """The figures of one baseline."""
        kept = {
            name: {b: metrics for b, metrics in found.items() if b == baseline}
            for name, found in self.estimates.items()
        }
        return Baselines(kept, self.sets)


def baselines(
    asked: Sequence[TargetRow],
    durations: Sequence[float | None],
    train_targets: Mapping[str, Collection[Target]],
    seed: int,
) -> Baselines:
    """What answers that never look at the clip would score; `train_targets`: by task, to fit them on.

    Scored with our parser only: the answers are well formed, so both parsers agree.
    """
    rows = sorted(zip(asked, durations, strict=True), key=lambda row: row[0].prompt_id)
    sets = row_sets(asked)
    by_kind: dict[tuple[str, str | None], list[tuple[Target, float | None]]] = defaultdict(list)
    for one, duration_s in rows:
        by_kind[one.task, one.dataset].append((one.target, duration_s))
    estimates = {}
    for name, kind in sets.items():
        found, task = by_kind[kind.task, kind.dataset], TASKS[kind.task]
        answers = task.baselines(tuple(train_targets.get(kind.task, ())), found)
        judged = {
            baseline: [dict(task.measure(text, target)) for text, (target, _) in zip(texts, found, strict=True)]
            for baseline, texts in answers.items()
        }
        judged |= uniform([target for target, _ in found])
        estimates[name] = {baseline: bootstrap(values, seed) for baseline, values in judged.items()}
    return Baselines(estimates, sets)


def uniform(targets: Sequence[Target]) -> dict[str, list[dict[str, float]]]:
    """The accuracy to expect of any option, row by row; {} where rows offer no options or do not tell how many."""
    counts = [target.row_facts().num_options for target in targets]
    known = [count for count in counts if count is not None]
    return {UNIFORM: [{"accuracy": 1 / count} for count in known]} if known and len(known) == len(targets) else {}
