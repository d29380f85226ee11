"""Suites: sums that papers report over data sets, as trees of means, and their tables.

They stand in suites.yaml of each pack (docs/packs.md). A mean is there only where each of its sets was measured.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rft.errors import refuse
from rft.recipe.strict_yaml import parse_yaml
from rft.tables import TextTable

PACKS = Path(__file__).parents[1] / "packs"
LEAF = {"metric", "sets"}
"""Keys of a mean over data sets."""

Figures = Mapping[str, Mapping[str, float]]
"""Set of rows -> metric -> value: of one policy and parser, or of baselines."""


@dataclass(frozen=True, slots=True)
class Mean:
    """A node of a suite: the mean of its parts, or, without parts, of a metric over data sets."""

    name: str
    parts: tuple["Mean", ...] = ()
    metric: str = ""
    sets: tuple[str, ...] = ()

    def value(self, figures: Figures) -> float | None:
        """The mean, each part or set counting alike; None where one of them has no figure."""
        of_sets = [figures.get(name, {}).get(self.metric) for name in self.sets]
        return _mean_of_all([*(part.value(figures) for part in self.parts), *of_sets])

    def reported(self, values: Mapping[str, float]) -> float | None:
        """What a source reports by name of the node, else the mean of its parts where it reports all of them."""
        if self.name in values or not self.parts:
            return values.get(self.name)
        return _mean_of_all([part.reported(values) for part in self.parts])

    def walk(self, depth: int = 0) -> Iterator[tuple[int, "Mean"]]:
        """(depth, node) of this node and all below, parents first."""
        yield depth, self
        for part in self.parts:
            yield from part.walk(depth + 1)


@dataclass(frozen=True, slots=True)
class Reported:
    """What a source reports of one model, by name of the node, in [0, 1]."""

    model: str
    source: str
    rows: int
    """Number of rows that were measured, of all sets of the suite."""
    values: dict[str, float]


@dataclass(frozen=True, slots=True)
class Suite:
    """Means over data sets that are reported together."""

    name: str
    paper: str
    remark: str
    """What to know before comparing; "" for nothing."""
    means: tuple[Mean, ...]
    results: tuple[Reported, ...]

    @property
    def nodes(self) -> tuple[tuple[int, Mean], ...]:
        """(depth, node), parents first."""
        return tuple(node for mean in self.means for node in mean.walk())

    @property
    def sets(self) -> tuple[str, ...]:
        """Names of all its data sets."""
        return tuple(dict.fromkeys(name for _, node in self.nodes for name in node.sets))

    def of(self, rows: Mapping[str, int]) -> "MeasuredSuite | None":
        """The suite over what was measured; None: nothing of it was. `rows`: number of rows by set."""
        counts = {name: rows[name] for name in self.sets if name in rows}
        return MeasuredSuite(self, counts) if counts else None


@dataclass(frozen=True, slots=True)
class MeasuredSuite:
    """A suite of which some or all data sets were measured."""

    suite: Suite
    counts: dict[str, int]
    """Number of rows of each measured set."""

    @property
    def missing(self) -> tuple[str, ...]:
        """Its sets that were not measured."""
        return tuple(name for name in self.suite.sets if name not in self.counts)

    @property
    def num_rows(self) -> int:
        return sum(self.counts.values())

    @property
    def comparable(self) -> tuple[Reported, ...]:
        """The published results of as many rows."""
        return tuple(one for one in self.suite.results if one.rows == self.num_rows)

    @property
    def remark(self) -> str:
        """Where the published figures are from, or why they are not comparable."""
        if self.comparable:
            models: dict[str, list[str]] = defaultdict(list)
            for one in self.comparable:
                models[one.source].append(one.model)
            sources = (f"{source} ({', '.join(of_source)})" for source, of_source in models.items())
            return "; ".join(filter(None, (self.suite.paper, *sources, self.suite.remark)))
        measured = " or ".join(f"{rows:,}" for rows in sorted({one.rows for one in self.suite.results}))
        return f"the sources measured {measured} rows, these are {self.num_rows:,}" if measured else "no figures"

    def table(self, columns: Mapping[str, Figures]) -> TextTable:
        """One line per node, indented below its parent. `columns`: name -> figures of a policy and parser."""
        measured, lines = self._measured(columns), []
        for depth, node in self.suite.nodes:
            values = [node.value(of) for of in measured.values()]
            values += [node.reported(one.values) for one in self.comparable]
            cells = ("-" if value is None else f"{value:.3f}" for value in values)
            lines.append((f"{'  ' * depth}{node.name}", node.metric, *cells))
        gap = f" Not measured: {', '.join(self.missing)}; a mean that needs them is -." if self.missing else ""
        caption = f"Means in which each part and each set of rows counts alike.{gap} Published: {self.remark}."
        num_sets, num_rows = f"{len(self.counts)} of {len(self.suite.sets)} sets", f"{self.num_rows:,} rows"
        heads = ("", "metric", *measured, *(one.model for one in self.comparable))
        return TextTable(f"{self.suite.name}, {num_sets}, {num_rows}", heads, tuple(lines), caption)

    def to_json(self, columns: Mapping[str, Figures]) -> dict[str, Any]:
        """{"missing": sets, "means": {node: {column: value}}, "published": {model: {node: value}}, "remark": text}."""
        measured, nodes = self._measured(columns), self.suite.nodes
        return {
            "missing": list(self.missing),
            "means": {node.name: {name: node.value(of) for name, of in measured.items()} for _, node in nodes},
            "published": {one.model: one.values for one in self.comparable},
            "remark": self.remark,
        }

    def _measured(self, columns: Mapping[str, Figures]) -> dict[str, Figures]:
        """The columns that have a figure of any of its sets."""
        return {name: of for name, of in columns.items() if any(of.get(one) for one in self.counts)}


def measured_suites(rows: Mapping[str, int]) -> list[MeasuredSuite]:
    """The suites of which a set was measured. `rows`: number of rows by set."""
    return [measured for suite in all_suites() if (measured := suite.of(rows))]


def best_baselines(by_set: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Figures:
    """Set -> metric -> highest value of any baseline. `by_set`: set -> baseline -> metric -> value."""
    best: dict[str, dict[str, float]] = {}
    for name, by_baseline in by_set.items():
        for metrics in by_baseline.values():
            of_set = best.setdefault(name, {})
            of_set |= {metric: max(value, of_set.get(metric, value)) for metric, value in metrics.items()}
    return best


@cache
def all_suites() -> tuple[Suite, ...]:
    """The suites of all packs. Raises DataError as `read_suites`."""
    return tuple(suite for file in sorted(PACKS.glob("*/suites.yaml")) for suite in read_suites(file))


class _Result(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    source: str
    rows: int = Field(ge=1)
    percent: tuple[float | None, ...]


class _Stated(BaseModel):
    """A suite as it stands in a file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    paper: str
    remark: str = ""
    means: dict[str, Any] = Field(min_length=1)
    reported: tuple[str, ...] = ()
    """Nodes whose figures `results` list, in this order."""
    results: tuple[_Result, ...] = ()


def read_suites(file: Path) -> list[Suite]:
    """The suites of a file. Raises DataError with every problem: where, and what to write."""
    document = parse_yaml(file.read_text("utf-8"))
    problems = [" ".join(filter(None, (one.where, one.key, one.message))) for one in document.problems]
    stated = document.data if isinstance(document.data, dict) else {}
    if not stated and not problems:
        problems.append("no suites. Write {name: {paper: .., means: ..}}.")
    suites = [_suite(name, value, problems) for name, value in stated.items()]
    refuse([f"{file}: {problem}" for problem in problems])
    return [suite for suite in suites if suite]


def _suite(name: str, value: object, problems: list[str]) -> Suite | None:
    try:
        stated = _Stated.model_validate(value)
    except ValidationError as error:
        problems += [f"{'.'.join(map(str, (name, *one['loc'])))}: {one['msg']}" for one in error.errors()]
        return None
    means = tuple(_mean(f"{name}.means", key, part, problems) for key, part in stated.means.items())
    names = [node.name for mean in means for _, node in mean.walk()]
    problems += [f"{name}.means: {twice} is there twice; names tell the nodes apart" for twice in _twice(names)]
    unknown = [node for node in stated.reported if node not in names]
    problems += [f"{name}.reported: {node} is no node. Name one of {', '.join(names)}." for node in unknown]
    results = []
    for number, one in enumerate(stated.results):
        if len(one.percent) != len(stated.reported):
            figures = f"{len(one.percent)} figures for {len(stated.reported)} nodes of {name}.reported"
            problems.append(f"{name}.results.{number}.percent: {figures}")
            continue
        percents = zip(stated.reported, one.percent, strict=True)
        values = {node: round(percent / 100, 4) for node, percent in percents if percent is not None}
        results.append(Reported(one.model, one.source, one.rows, values))
    return Suite(name, stated.paper, stated.remark, means, tuple(results))


def _mean(where: str, name: str, value: object, problems: list[str]) -> Mean:
    """The node with all below it; an empty one with its problem noted where it cannot be read."""
    here = f"{where}.{name}"
    if not isinstance(value, dict) or not value:
        problems.append(f"{here}: give its parts, or {{metric: .., sets: [..]}}")
        return Mean(name)
    if not LEAF & value.keys():
        return Mean(name, tuple(_mean(here, key, part, problems) for key, part in value.items()))
    metric, sets = value.get("metric"), value.get("sets") or []
    if value.keys() != LEAF or not isinstance(metric, str) or not _are_names(sets):
        problems.append(f"{here}: has {', '.join(value)}. Write {{metric: one name, sets: [names, each once]}}.")
        return Mean(name)
    return Mean(name, (), metric, tuple(sets))


def _are_names(sets: Any) -> bool:
    return isinstance(sets, list) and bool(sets) and all(isinstance(s, str) for s in sets) and not _twice(sets)


def _twice(names: Sequence[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})


def _mean_of_all(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None
