"""How many videos a difference needs: by hand, and whether so many find it."""

import numpy as np
import pytest

from rft.evaluation import intervals
from rft.evaluation.intervals import bootstrap
from rft.evaluation.power import POWER, STANDARD_ERRORS, need, unit_variance

NUM_WORLDS = 500


def test_variance_by_hand() -> None:
    """Units of one row: the values' variance. Two units of 3 and 1 rows, sums of deviations 3/4 and -3/4: 9/8 by 4."""
    values = [0.1, 0.5, 0.9, 0.2]
    assert unit_variance(values, range(4)) == pytest.approx(np.var(values, ddof=1))
    assert unit_variance([1.0, 1.0, 1.0, 0.0], ["a", "a", "a", "b"]) == pytest.approx(9 / 8 / 4)


def test_need_by_hand() -> None:
    """A standard deviation of 0.4 and 2 points: (2.80 * 0.4 / 0.02) squared, with 3 rows each."""
    assert abs(STANDARD_ERRORS - (1.960 + 0.842)) < 0.001
    found = need(0.16, 100, 300, 0.02)
    assert (found.num_units, found.num_rows) == (3140, 9420)
    assert found.detectable == pytest.approx(2.8016 * 0.4 / 10, abs=1e-4)
    assert need(found.detectable**2 * 100 / STANDARD_ERRORS**2, 100, 300, found.detectable).num_units == 100


def test_so_many_videos_find_the_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Worlds with the number of videos that a pilot asks for: four intervals of five exclude 0."""
    monkeypatch.setattr(intervals, "NUM_RESAMPLES", 500)
    draw, difference = np.random.default_rng(0), 0.3

    def changes(num_videos: int, num_worlds: int) -> tuple[np.ndarray, np.ndarray]:
        """Video of each row [N], change of its value [N, worlds]: half of the variance is the video's."""
        videos = np.repeat(np.arange(num_videos), draw.integers(1, 7, num_videos))
        effects, noise = draw.normal(size=(num_videos, num_worlds)), draw.normal(size=(len(videos), num_worlds))
        return videos, difference + effects[videos] + noise

    videos, pilot = changes(5000, 1)
    asked = need(unit_variance(pilot[:, 0].tolist(), videos.tolist()), 5000, len(videos), difference)
    videos, worlds = changes(asked.num_units, NUM_WORLDS)
    assert len(videos) == pytest.approx(asked.num_rows, rel=0.1)
    rows = [{str(world): value for world, value in enumerate(values)} for values in worlds.tolist()]
    found = np.mean([estimate.excludes_zero for estimate in bootstrap(rows, 0, videos.tolist()).values()])
    assert found == pytest.approx(POWER, abs=0.05)


def test_so_many_videos_of_its_own_for_each_policy() -> None:
    draw, difference = np.random.default_rng(0), 0.3
    asked = need(2 * 1.0, 1000, 1000, difference)  # each row is a video, of variance 1 under both policies
    first, second = (draw.normal(shift, 1.0, (asked.num_units, 5000)).mean(axis=0) for shift in (0.0, difference))
    found = np.mean(np.abs(second - first) > 1.96 * np.sqrt(2 / asked.num_units))
    assert found == pytest.approx(POWER, abs=0.02)
