"""Means over rows, and other statistics of them, with bootstrap intervals.

What is drawn with replacement is a unit: all rows of one video. They are not independent of each other, because what
makes a video hard makes all its rows hard.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NUM_RESAMPLES = 2000
NUM_CORPUS_RESAMPLES = 500
"""Resamples of statistics that are computed anew, in Python, for each."""
DRAWS_AT_ONCE = 1 << 15
"""Of units, over several resamples: a quarter of a megabyte, which stays in the cache."""
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean or other statistic of rows, and the interval that holds 95 % of those of resampled units."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def means(estimates: Mapping[str, Estimate]) -> dict[str, float]:
    """Name -> value, for JSON."""
    return {name: estimate.value for name, estimate in estimates.items()}


def intervals(estimates: Mapping[str, Estimate]) -> dict[str, list[float]]:
    """Name -> [low, high], for JSON."""
    return {name: [estimate.low, estimate.high] for name, estimate in estimates.items()}


def bootstrap(
    rows: Sequence[Mapping[str, float]], seed: int, units: Sequence[Hashable] | None = None
) -> dict[str, Estimate]:
    """Name -> mean of that value over `rows` with its interval; all rows carry the same names. {} without rows.

    `units`: the unit of each row; None: each row is one. A drawn unit brings all its rows into the mean.
    """
    if not rows:
        return {}
    names = tuple(rows[0])
    for row in rows:
        if row.keys() != rows[0].keys():
            raise ValueError(f"rows with different values: {sorted(rows[0])} and {sorted(row)}")
    values = np.array([[row[name] for name in names] for row in rows], dtype=np.float64)
    numbers: dict[Hashable, int] = {}
    unit_of_row = [numbers.setdefault(unit, len(numbers)) for unit in units or range(len(rows))]
    num_rows = np.bincount(unit_of_row)
    sums = np.zeros((len(num_rows), len(names)))
    np.add.at(sums, unit_of_row, values)
    draw, n = np.random.default_rng(seed), len(num_rows)
    resampled = np.empty((NUM_RESAMPLES, len(names)))
    at_once = max(1, DRAWS_AT_ONCE // n)
    for start in range(0, NUM_RESAMPLES, at_once):
        resamples = np.arange(start, min(start + at_once, NUM_RESAMPLES))
        drawn = draw.integers(0, n, (len(resamples), n)) + n * np.arange(len(resamples))[:, None]
        # How often each unit is drawn, times the sums of its rows, is much faster than gathering the drawn rows.
        counts = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(np.float64)
        resampled[resamples] = counts @ sums / (counts @ num_rows)[:, None]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail], axis=0)
    mean = values.mean(axis=0)
    return {name: Estimate(float(mean[i]), float(low[i]), float(high[i])) for i, name in enumerate(names)}


def bootstrap_of(
    statistic: Callable[[NDArray[np.intp]], float | None], groups: Sequence[Sequence[int]], seed: int
) -> Estimate | None:
    """A statistic of samples with its interval; None where it has no value.

    `statistic`: of the samples with these indices; None where it has no value for them, which leaves a resample out.
    `groups`: indices of the samples of each unit.
    """

    def named(indices: NDArray[np.intp]) -> dict[str, float]:
        value = statistic(indices)
        return {} if value is None else {"value": value}

    return bootstrap_all(named, groups, seed, NUM_RESAMPLES).get("value")


def bootstrap_all(
    statistics: Callable[[NDArray[np.intp]], Mapping[str, float]],
    groups: Sequence[Sequence[int]],
    seed: int,
    num_resamples: int = NUM_CORPUS_RESAMPLES,
) -> dict[str, Estimate]:
    """Name -> statistic of samples with its interval, as `bootstrap_of` for several at once; {} without samples."""
    rows = [np.array(group, dtype=np.intp) for group in groups if len(group)]
    values = statistics(np.concatenate(rows)) if rows else {}
    if not values:
        return {}
    draw = np.random.default_rng(seed)
    drawn = (np.concatenate([rows[i] for i in draw.integers(0, len(rows), len(rows))]) for _ in range(num_resamples))
    resampled = [statistics(indices) for indices in drawn]
    tail = (1 - CONFIDENCE) / 2
    estimates = {}
    for name, value in values.items():
        low, high = np.quantile([one[name] for one in resampled if name in one] or [value], [tail, 1 - tail])
        estimates[name] = Estimate(value, float(low), float(high))
    return estimates
