"""Figures of tried rewards: distribution, signal within groups, agreement, cost, and completions worth a look."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from rewards.types import Score
from rft.algorithm.advantage import has_signal
from rft.commands.reward.trial import Groups, Trial, metric_of
from rft.evaluation.agreement import Values, kendall_tau, ranks, spearman
from rft.tasks import TASKS

NUM_BINS = 10
NUM_SLOWEST = 3

NUM_NOTABLE = {"disagrees": 4, "highest": 2, "lowest": 2, "fault": 2}
"""Kind of notable completion -> most of them; together ten."""


class Line(NamedTuple):
    """Figures of one reward over N completions; None where there is nothing to compute them from."""

    name: str
    mean: float
    zero: float
    """Share of the values that are 0."""
    spread: float | None
    """Share of the groups of two or more whose values differ: those that an update learns from."""
    best: float | None
    """Mean of the task's main metric over the completions that it values most in their group."""
    agrees: float | None
    """Kendall's tau with the yardstick within a group, mean over the groups in which both differ."""
    metric: float | None
    """Spearman's correlation with the task's main metric over all completions."""
    length: float | None
    """Spearman's correlation with the number of tokens."""
    ms: float | None
    """Mean milliseconds of a completion."""


class Notable(NamedTuple):
    why: str
    value: float
    yardstick: float
    text: str
    note: str


@dataclass(frozen=True, slots=True)
class Side:
    """What the completions of a task have from elsewhere, [N] each: run, metric, length."""

    groups: Groups
    metric: Values
    tokens: Values
    """NaN where the line does not say."""
    of_run: Mapping[str, Values]
    """The run's reward and scores by name, those that every line has; {} for completions of no run."""

    @property
    def yardstick(self) -> Values:
        """The run's reward; the metric for completions of no run."""
        return self.of_run.get("reward", self.metric)

    def yardstick_name(self, task: str) -> str:
        return "the run's reward" if "reward" in self.of_run else TASKS[task].main_metric


def side_of(task: str, groups: Groups) -> Side:
    rows = [row for group in groups for row in group]
    stored = [stored_values(row.line.value) for row in rows]
    names = [name for name in stored[0] if all(name in values for values in stored)] if stored else []
    return Side(
        groups,
        np.array([metric_of(task, row.stored.completion, row) for row in rows]),
        np.array([np.nan if row.stored.num_tokens is None else row.stored.num_tokens for row in rows], dtype=float),
        {name: np.array([values[name] for values in stored], dtype=float) for name in names},
    )


def stored_values(line: Mapping[str, Any]) -> dict[str, float]:
    """`reward` and the scores of a line, as runs and `rft score -o` write them."""
    scores = line.get("scores")
    values = {
        name: score.get("value") if isinstance(score, Mapping) else score
        for name, score in (scores.items() if isinstance(scores, Mapping) else ())
    }
    found = {"reward": line.get("reward"), **values}
    return {name: float(value) for name, value in found.items() if isinstance(value, int | float)}


def line_of(name: str, values: Values, side: Side, ms: float | None = None) -> Line:
    """`values`: [N], of the first completions of `side`; NaN where there is none."""
    judged = ~np.isnan(values)
    if not judged.any():
        return Line(name, np.nan, np.nan, None, None, None, None, None, ms)
    known, number = values[judged], len(values)
    spreads, bests, taus = [], [], []
    for indices in _indices(side.groups, number):
        kept = indices[judged[indices]]
        if len(kept) > 1:
            spreads.append(has_signal(values[kept].tolist()))
            bests.append(side.metric[kept][values[kept] >= values[kept].max() - 1e-9].mean())
            taus.append(kendall_tau(values[kept].round(9), side.yardstick[kept].round(9)))
    both = [tau for tau in taus if tau is not None]
    tokens = side.tokens[:number][judged]
    long = ~np.isnan(tokens)
    return Line(
        name,
        float(known.mean()),
        float((known == 0).mean()),
        float(np.mean(spreads)) if spreads else None,
        float(np.mean(bests)) if bests else None,
        float(np.mean(both)) if both else None,
        spearman(known, side.metric[:number][judged]),
        spearman(known[long], tokens[long]),
        ms,
    )


def _indices(groups: Groups, number: int) -> Iterator[np.ndarray[Any, np.dtype[np.intp]]]:
    """Indices of the completions of each group, of the first `number` completions."""
    start = 0
    for group in groups:
        if start >= number:
            return
        yield np.arange(start, start + len(group))
        start += len(group)


def lines_of(task: str, trials: Sequence[Trial], side: Side) -> list[Line]:
    """The tried rewards, the run's reward and scores, the metric."""
    tried = [line_of(t.name, t.values, side, 1000 * float(np.mean([one.seconds for one in t.judged]))) for t in trials]
    of_run = [line_of(f"run: {name}", values, side) for name, values in side.of_run.items()]
    return [*tried, *of_run, line_of(f"metric: {TASKS[task].main_metric}", side.metric, side)]


def histogram(values: Values) -> list[int]:
    """Number of values in each of ten equal parts of [0, 1], upper ends excluded but the last."""
    return [int(count) for count in np.histogram(values[~np.isnan(values)], NUM_BINS, (0.0, 1.0))[0]]


def faults_of(trial: Trial) -> dict[str, int]:
    """Fault -> number of completions; "not judged": the reward raised, hung or returned no Score."""
    kinds = (one.outcome.fault if isinstance(one.outcome, Score) else "not judged" for one in trial.judged)
    return dict(Counter(kind for kind in kinds if kind).most_common())


def slowest(trial: Trial) -> list[tuple[float, str]]:
    """(milliseconds, completion), the slowest first."""
    timed = sorted(zip(trial.judged, trial.rows, strict=True), key=lambda pair: -pair[0].seconds)
    return [(1000 * one.seconds, row.stored.completion) for one, row in timed[:NUM_SLOWEST]]


def notable(trial: Trial, side: Side) -> list[Notable]:
    """Ten completions to read, each once: not judged or at fault, far from the yardstick, highest, lowest."""
    values, rows = trial.values, trial.rows
    yardstick = side.yardstick[: len(values)]
    judged = np.flatnonzero(~np.isnan(values))
    apart = np.abs(ranks(values[judged]) - ranks(yardstick[judged]))
    is_fault = [not isinstance(one.outcome, Score) or one.outcome.fault is not None for one in trial.judged]
    # What could not be judged comes before what was judged to be at fault.
    at_fault = sorted(np.flatnonzero(is_fault).tolist(), key=lambda i: not np.isnan(values[i]))
    order: dict[str, Sequence[int]] = {
        "disagrees": [int(judged[i]) for i in np.argsort(-apart, kind="stable") if apart[i] > 0],
        "highest": judged[np.argsort(-values[judged], kind="stable")].tolist(),
        "lowest": judged[np.argsort(values[judged], kind="stable")].tolist(),
        "fault": at_fault,
    }
    taken: set[int] = set()
    found = []
    for why, most in NUM_NOTABLE.items():
        for i in [i for i in order[why] if i not in taken][:most]:
            taken.add(i)
            text, note = rows[i].stored.completion, trial.judged[i].note
            found.append(Notable(why, float(values[i]), float(yardstick[i]), text, note))
    return found


def to_json(task: str, trials: Sequence[Trial], side: Side, num_groups: int) -> dict[str, Any]:
    """All figures of a task, for machines."""
    return {
        "groups": len(side.groups),
        "groups_stored": num_groups,
        "completions": len(side.metric),
        "yardstick": side.yardstick_name(task),
        "rewards": {line.name: _plain(line._asdict()) for line in lines_of(task, trials, side)},
        "tried": {
            trial.name: {
                "judged": len(trial.judged),
                "stopped": trial.stopped,
                "histogram": histogram(trial.values),
                "faults": faults_of(trial),
                "without_the_clip": {
                    name: _plain({"value": value, "metric": metric}) for name, (value, metric) in trial.blind.items()
                },
                "slowest": [{"ms": ms, "text": text} for ms, text in slowest(trial)],
                "notable": [_plain(one._asdict()) for one in notable(trial, side)],
            }
            for trial in trials
        },
    }


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """NaN as null, which JSON has."""
    return {name: None if value != value else value for name, value in values.items()}
