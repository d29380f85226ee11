"""Parts of a target: read from JSON, with every problem listed, and written into an answer."""

from decimal import Decimal

from rewards.types import cell_json

ENDLESS = 1e15
"""Upper limit of every number of a target."""


def shown(value: object) -> str:
    """A value as error messages show it, in at most 60 characters."""
    text = repr(value[:60] if isinstance(value, str) else value)  # the repr of a long text takes long
    return text if len(text) <= 60 else text[:57] + "..."


def read_list(where: str, value: object, least: int, problems: list[str]) -> list[object]:
    """List of at least `least` items; otherwise [], and the problem is added to `problems`."""
    # A tuple of types, here and below: a union would be built at every call, and large files hold many targets.
    if isinstance(value, (list, tuple)) and len(value) >= least:
        return list(value)
    problems.append(f"{where}: {shown(value)} is not a list of at least {least}")
    return []


def read_numbers(where: str, value: object, count: int, problems: list[str]) -> tuple[float, ...] | None:
    """`count` finite numbers; otherwise None, and the problem is added to `problems`."""
    if isinstance(value, (list, tuple)) and len(value) == count:
        numbers = [v for v in value if isinstance(v, (int, float)) and not isinstance(v, bool) and abs(v) < ENDLESS]
        if len(numbers) == count:
            return tuple(map(float, numbers))
    problems.append(f"{where}: {shown(value)} is not a list of {count} finite numbers")
    return None


def read_text(where: str, value: object, problems: list[str]) -> str:
    """Text without outer blanks; otherwise "", and the problem is added to `problems`."""
    if isinstance(value, str) and value.strip():
        return value.strip()
    problems.append(f"{where}: {shown(value)} is no text; write what is meant in words")
    return ""


def cell_texts(cell: str) -> object:
    """Texts of the cell of a table: a JSON list, or "one | two"."""
    return cell_json(cell) if cell.lstrip().startswith("[") else [part.strip() for part in cell.split("|")]


def write_number(value: float) -> str:
    """Decimal text of a number, without exponent; it is read back as the same float."""
    # Published spans hold -0.0, which spans cannot be read back with; adding 0.0 takes the sign away.
    return f"{Decimal(repr(float(value) + 0.0)):f}"
