"""Figures that papers report, to compare with one's own.

They stand in published_results.yaml in this folder, and in published.yaml of each pack.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from rft.evaluation.evaluate import RowSet


@dataclass(frozen=True, slots=True)
class PublishedResult:
    """One model's figures on one data set, in the names of our metrics."""

    model: str
    source: str
    values: dict[str, float]
    """Metric -> value in [0, 1]; metrics that were not reported are missing."""


@dataclass(frozen=True, slots=True)
class PublishedResults:
    """Published results on the data set and task of some rows."""

    results: tuple[PublishedResult, ...]
    paper: str
    remark: str
    """What to know before comparing."""
    obstacle: str | None
    """Why they are not comparable with figures of these rows; None: they are."""

    @property
    def comparable(self) -> tuple[PublishedResult, ...]:
        return () if self.obstacle else self.results


def published_results(rows: RowSet) -> PublishedResults:
    """Published results for these rows, and whether they are comparable: whether they are the whole measured split."""
    of_set = _sets().get(rows.dataset)
    if of_set is None or of_set["task"] != rows.task:
        return PublishedResults(
            (), "", "", "no published figures for these rows" if rows.dataset else "the rows name no data set"
        )
    obstacle = None
    if of_set["rows"] != rows.num_rows:
        obstacle = f"the paper measured {of_set['rows']:,} rows, these are {rows.num_rows:,}"
    results = []
    for one in of_set["results"]:
        percents = zip(of_set["metrics"], one["percent"], strict=True)
        values = {metric: round(percent / 100, 4) for metric, percent in percents if percent is not None}
        results.append(PublishedResult(one["model"], one["source"], values))
    return PublishedResults(tuple(results), of_set["paper"], of_set["remark"], obstacle)


@cache
def _sets() -> dict[str | None, dict[str, Any]]:
    """`dataset` of the rows -> its paper, task, rows, remark, metrics and results, as in the files."""
    files = [Path(__file__).with_suffix(".yaml"), *sorted(Path(__file__).parents[1].glob("packs/*/published.yaml"))]
    sets: dict[str | None, dict[str, Any]] = {}
    for file in files:
        sets |= yaml.safe_load(file.read_text("utf-8"))
    return sets
