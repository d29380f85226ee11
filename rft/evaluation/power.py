"""How many videos a difference of two policies needs to be found."""

import math
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from rft.evaluation.comparison import paired_changes
from rft.evaluation.evaluate import EvalResult, Mode
from rft.evaluation.intervals import CONFIDENCE
from rft.tasks import TASKS

POWER = 0.8
"""Chance that the interval of a true difference excludes 0."""

STANDARD_ERRORS = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) + NormalDist().inv_cdf(POWER)
"""A difference of so many standard errors, 2.80, is found with that chance, at two sides."""


@dataclass(frozen=True, slots=True)
class Need:
    """What a difference needs, and what the measured rows can show."""

    num_units: int
    """Videos."""
    num_rows: int
    """Rows, with as many per video as were measured."""
    detectable: float
    """Smallest difference that the measured rows find."""


def unit_variance(values: Sequence[float], units: Sequence[Hashable]) -> float:
    """Variance of the mean over all rows, times the number of units; at least 2 of them.

    `values`: [N], of each row; `units`: [N], what is drawn as one. Linearised for units of different size: the sums of
    (value - mean) over a unit, squared, over the square of the mean number of rows. Units of one row each: the variance
    of the values.
    """
    mean = float(np.mean(values))
    sums: dict[Hashable, float] = defaultdict(float)
    for value, unit in zip(values, units, strict=True):
        sums[unit] += value - mean
    rows_per_unit = len(values) / len(sums)
    return sum(deviation**2 for deviation in sums.values()) / (len(sums) - 1) / rows_per_unit**2


def need(variance: float, num_units: int, num_rows: int, difference: float) -> Need:
    """What `difference` needs where the mean difference over n units has the variance `variance` / n."""
    units = math.ceil(STANDARD_ERRORS**2 * variance / difference**2)
    return Need(units, math.ceil(units * num_rows / num_units), STANDARD_ERRORS * math.sqrt(variance / num_units))


def unpaired_need(result: EvalResult, name: str, mode: Mode, difference: float) -> Need | None:
    """Of two policies, each on rows of its own, both as variable as this one; numbers are of each. None: see below."""
    return _need(result, name, result.rows(name, mode), 2, difference)


def paired_need(before: EvalResult, after: EvalResult, name: str, mode: Mode, difference: float) -> Need | None:
    """Of two policies on the same rows. Raises ValueError where these two evaluations hold different rows.

    None: there are fewer than 2 videos, or the main metric is no mean over rows.
    """
    return _need(after, name, paired_changes(before, after, name, mode), 1, difference)


def _need(
    result: EvalResult, name: str, rows: Mapping[str, Mapping[str, float]], num_varying: int, difference: float
) -> Need | None:
    metric, units = TASKS[result.sets[name].task].main_metric, result.units
    values = [of_row[metric] for of_row in rows.values() if metric in of_row]
    drawn = [units[row] for row in rows]
    num_units = len(set(drawn))
    if not values or num_units < 2:
        return None
    return need(num_varying * unit_variance(values, drawn), num_units, len(rows), difference)
