"""Files of stored completions about spans, and what `rft score` makes of them."""

import json
from pathlib import Path
from typing import Any

from rft.commands.score.score import score

SPAN = {"span": [10.0, 20.0]}


THINK = "<think>a</think>"


def span(start: float, end: float) -> dict[str, Any]:
    return {"completion": f"{THINK}<answer>{start} to {end}</answer>", "target": SPAN}


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def scored(
    folder: Path, rows: list[Any], task: str | None = "temporal_grounding", **settings: Any
) -> list[dict[str, Any]]:
    source = write(folder / "in.jsonl", *rows)
    score(source, folder / "out.jsonl", task=task, **settings)
    return read(folder / "out.jsonl")
