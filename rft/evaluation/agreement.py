"""How far two judges of the same completions agree. All values are [N] numbers, without gaps."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def kendall_tau(first: Values, second: Values) -> float | None:
    """Kendall's tau-b, in [-1, 1]: pairs in the same order less pairs in opposite order; None: one side is constant."""
    order, other = (np.sign(np.subtract.outer(values, values)) for values in (first, second))
    return _ratio((order * other).sum(), (order**2).sum(), (other**2).sum())


def spearman(first: Values, second: Values) -> float | None:
    """Spearman's rank correlation, in [-1, 1]; None: one side is constant, or there are no values."""
    if not len(first):
        return None
    rank, other = (ranks(values) - (len(values) + 1) / 2 for values in (first, second))
    return _ratio((rank * other).sum(), (rank**2).sum(), (other**2).sum())


def ranks(values: Values) -> Values:
    """Rank of each value, from 1; equal values share the mean of their ranks."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    shared: Values = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return shared


def auc(values: Values, is_positive: NDArray[np.bool_]) -> float | None:
    """Share of (positive, negative) pairs in which the positive has the higher value; equal values count half.

    None: all are of one class.
    """
    num_positive = int(is_positive.sum())
    num_pairs = num_positive * (len(values) - num_positive)
    if not num_pairs:
        return None
    return float((ranks(values)[is_positive].sum() - num_positive * (num_positive + 1) / 2) / num_pairs)


def cohens_kappa(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float | None:
    """Agreement of two yes-or-no judges beyond chance: 1 full, 0 as by chance; None: both always say the same one."""
    observed = float((first == second).mean())
    yes, other = float(first.mean()), float(second.mean())
    by_chance = yes * other + (1 - yes) * (1 - other)
    return None if by_chance >= 1 else (observed - by_chance) / (1 - by_chance)


def _ratio(shared: Any, of_first: Any, of_second: Any) -> float | None:
    return float(shared / np.sqrt(of_first * of_second)) if of_first > 0 and of_second > 0 else None
