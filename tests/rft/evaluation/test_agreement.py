"""Agreement of two judges, against numbers worked out by hand."""

import numpy as np
import pytest

from rft.evaluation.agreement import auc, cohens_kappa, kendall_tau, ranks, spearman
from rft.evaluation.intervals import bootstrap_of


def values(*numbers: float) -> np.ndarray:
    return np.array(numbers, dtype=np.float64)


@pytest.mark.parametrize(
    ("first", "second", "tau", "rho"),
    [
        (values(1, 2, 3), values(10, 20, 90), 1.0, 1.0),
        (values(1, 2, 3), values(3, 2, 1), -1.0, -1.0),
        # Pairs: 2 alike, 1 opposite; rank differences 0, 1, 1: 1 - 6 * 2 / (3 * 8).
        (values(1, 2, 3), values(1, 3, 2), 1 / 3, 0.5),
        # One tie of three pairs on the left: 2 / sqrt(2 * 3); ranks 1.5, 1.5, 3 against 1, 2, 3.
        (values(0, 0, 1), values(1, 2, 3), 2 / 6**0.5, 1.5 / (1.5 * 2) ** 0.5),
        (values(1, 1, 1), values(1, 2, 3), None, None),
        (values(), values(), None, None),
    ],
)
def test_rank_correlations(first: np.ndarray, second: np.ndarray, tau: float | None, rho: float | None) -> None:
    assert kendall_tau(first, second) == (tau if tau is None else pytest.approx(tau))
    assert spearman(first, second) == (rho if rho is None else pytest.approx(rho))


def test_equal_values_share_a_rank() -> None:
    assert ranks(values(0.5, 0.1, 0.5, 0.5)).tolist() == [3, 1, 3, 3]


def test_auc_is_a_share_of_pairs() -> None:
    # Positives 0.9 and 0.4, negatives 0.4 and 0.1: of four pairs three are won and one is even.
    assert auc(values(0.9, 0.4, 0.4, 0.1), np.array([True, True, False, False])) == pytest.approx(3.5 / 4)
    assert auc(values(0.9, 0.4), np.array([True, True])) is None


def test_kappa_takes_chance_away() -> None:
    # Observed 3/4; by chance 3/4 * 1/2 + 1/4 * 1/2 = 1/2.
    first, second = np.array([True, True, True, False]), np.array([True, True, False, False])
    assert cohens_kappa(first, second) == pytest.approx(0.5)
    assert cohens_kappa(first[:2], second[:2]) is None


def test_an_interval_draws_whole_rows() -> None:
    # Two rows of equal samples: a resample holds one of them alone, or both.
    sample = values(0, 0, 1, 1)
    estimate = bootstrap_of(lambda indices: float(sample[indices].mean()), [[0, 1], [2, 3]], seed=0)
    assert estimate is not None
    assert (estimate.value, estimate.low, estimate.high) == (0.5, 0.0, 1.0)
    assert bootstrap_of(lambda indices: None, [[0, 1]], seed=0) is None
    assert bootstrap_of(lambda indices: 1.0, [], seed=0) is None
