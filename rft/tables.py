"""Tables and line charts before they are drawn, and their plain form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table before it is drawn."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class LineChart:
    """Lines over the steps of a run before they are drawn."""

    title: str
    lines: Mapping[str, Sequence[tuple[float, float]]]
    """Name of a line -> (step, value) of its points, in order of the steps."""


def chart_table(chart: LineChart, num_columns: int = 6) -> TextTable:
    """The chart as figures: the value of each line at up to `num_columns` steps, spread evenly."""
    steps = sorted({step for points in chart.lines.values() for step, _ in points})
    last = len(steps) - 1
    shown = sorted({steps[round(i * last / max(num_columns - 1, 1))] for i in range(num_columns)}) if steps else []
    rows = tuple(
        (name, *(next((f"{value:.3f}" for at, value in reversed(points) if at <= step), "-") for step in shown))
        for name, points in chart.lines.items()
    )
    return TextTable(chart.title, ("step", *(f"{step:g}" for step in shown)), rows)


def plain(table: TextTable) -> str:
    """The table as lines of ASCII, columns aligned."""
    lines: Sequence[tuple[str, ...]] = (table.columns, *table.rows)
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.columns))]

    def drawn(line: tuple[str, ...]) -> str:
        return "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()

    rule = "  ".join("-" * width for width in widths)
    return "\n".join([table.title, drawn(table.columns), rule, *map(drawn, table.rows), *filter(None, [table.caption])])
