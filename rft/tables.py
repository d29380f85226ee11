"""Tables before they are drawn, and their plain form."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table before it is drawn."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""


def plain(table: TextTable) -> str:
    """The table as lines of ASCII, columns aligned."""
    lines: Sequence[tuple[str, ...]] = (table.columns, *table.rows)
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.columns))]

    def drawn(line: tuple[str, ...]) -> str:
        return "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()

    rule = "  ".join("-" * width for width in widths)
    return "\n".join([table.title, drawn(table.columns), rule, *map(drawn, table.rows), *filter(None, [table.caption])])
