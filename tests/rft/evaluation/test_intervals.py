"""Intervals over videos: by hand, and how often they hold the true mean."""

import numpy as np
import pytest

from rft.evaluation.intervals import bootstrap

NUM_WORLDS = 500
"""Data sets of the simulation: as many columns of the same rows."""


def test_a_drawn_video_brings_all_its_rows() -> None:
    """Of two videos, one has 3 rows of value 1: the means of the four draws are 1, 3/4, 3/4 and 0."""
    rows = [{"x": 1.0}, {"x": 1.0}, {"x": 0.0}, {"x": 1.0}]
    estimate = bootstrap(rows, 0, ["a", "a", "b", "a"])["x"]
    assert (estimate.value, estimate.low, estimate.high) == (0.75, 0.0, 1.0)
    assert bootstrap(rows, 0, ["a"] * 4)["x"].low == 0.75
    assert bootstrap(rows, 0, range(4)) == bootstrap(rows, 0)


def test_coverage_of_clustered_rows() -> None:
    """Half of a row's variance is its video's, as where queries of one video are hard together: 1 to 6 of each."""
    draw = np.random.default_rng(0)
    sizes = draw.integers(1, 7, 150)
    videos = np.repeat(np.arange(150), sizes)
    effects, noise = draw.normal(size=(150, NUM_WORLDS)), draw.normal(size=(len(videos), NUM_WORLDS))
    names = [str(world) for world in range(NUM_WORLDS)]
    rows = [dict(zip(names, values, strict=True)) for values in (effects[videos] + noise).tolist()]

    def coverage(units: list[int] | None) -> float:
        estimates = bootstrap(rows, 0, units).values()
        return float(np.mean([estimate.low <= 0 <= estimate.high for estimate in estimates]))

    assert coverage(videos.tolist()) == pytest.approx(0.95, abs=0.015)
    assert coverage(None) < 0.85  # each row drawn by itself
