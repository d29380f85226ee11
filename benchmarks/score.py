"""How long does one core take for a million stored completions, JSON in and JSON out? It should be 30 s at most.

    python -m benchmarks.score                      # 100,000 rows of each task, under both readings
    python -m benchmarks.score --rows 1000000 --tasks temporal_grounding

Rows are JSON lines in a temporary folder: thoughts of about 60 words, answers of which one in ten cannot be read, every
target its own. Measured is all that `rft score IN -o OUT` does with them: reading and checking every row, judging it
and writing it back as a JSON line; in processor seconds, on the one core the process is bound to.
Prints a table that says where the time is missed, and one JSON object as its last line.
"""

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.report import add_output_arguments, finish
from rewards.targets import target_from_json
from rewards.types import Fidelity
from rft.commands.score.score import score
from rft.tables import TextTable
from rft.tasks import TASKS

READINGS: tuple[Fidelity, ...] = ("as_published", "corrected")
WORDS = ("the", "person", "walks", "to", "a", "door", "then", "opens", "it", "slowly", "near", "12.5", "seconds")
LIMIT_S = 30.0
"""For a million completions of any task, in either reading."""
MEASURED = ("temporal_grounding", "tracking", "multiple_choice", "grounded_qa")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rows", type=int, default=100_000, help="of each task")
    parser.add_argument("--tasks", nargs="+", choices=MEASURED, default=MEASURED)
    add_output_arguments(parser)
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    found = [measured(task, args.rows) for task in args.tasks]
    lines = tuple(
        (
            one["task"],
            reading,
            f"{of['seconds']:.2f}",
            f"{of['per_second']:,.0f}",
            f"{of['seconds_per_million']:.1f}",
            "hit" if of["within_limit"] else "missed",
        )
        for one in found
        for reading, of in one["readings"].items()
    )
    limit = f"at most {LIMIT_S:g}"
    columns = ("task", "reading", "seconds", "completions per second", "seconds per million", limit)
    table = TextTable(f"{args.rows:,} completions of each task, JSON in and out, one core", columns, lines)
    finish("score", {"rows": args.rows, "limit_s": LIMIT_S, "tasks": found}, [table], args)


def measured(task: str, num_rows: int) -> dict[str, Any]:
    readings = {}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in.jsonl"
        with source.open("w") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows(task, num_rows))
        for reading in READINGS:
            began = time.process_time()
            scored = score(source, Path(folder) / "out.jsonl", task=task, fidelity=reading)
            seconds = time.process_time() - began
            assert len(scored.tallies[task]) == num_rows
            per_million = seconds / num_rows * 1e6
            readings[reading] = {
                "seconds": seconds,
                "per_second": num_rows / seconds,
                "seconds_per_million": per_million,
                "within_limit": per_million <= LIMIT_S,
            }
        return {"task": task, "bytes_per_row": source.stat().st_size / num_rows, "readings": readings}


def rows(task: str, number: int) -> Iterator[dict[str, Any]]:
    """Completions near their targets; one in ten has no answer that could be read."""
    draw = random.Random(f"{task} 0")
    for i in range(number):
        target = drawn_target(task, draw)
        thought = " ".join(draw.choices(WORDS, k=60))
        answer = target if draw.random() < 0.7 else drawn_target(task, draw)
        completion = TASKS[task].target_completion(target_from_json(answer), think=True, thought=thought)
        if draw.random() < 0.1:
            completion = completion.replace("answer>", "reply>")
        yield {"id": str(i), "completion": completion, "target": target, "duration_s": 40.0}


def drawn_target(task: str, draw: random.Random) -> dict[str, Any]:
    def span() -> list[float]:
        start = round(draw.uniform(0, 30), 2)
        return [start, round(start + draw.uniform(1, 10), 2)]

    def box() -> list[float]:
        left, top = draw.uniform(0, 0.5), draw.uniform(0, 0.5)
        return [round(x, 3) for x in (left, top, left + draw.uniform(0.1, 0.5), top + draw.uniform(0.1, 0.5))]

    choice = draw.choice("ABCDE")
    return {
        "temporal_grounding": lambda: {"span": span()},
        "tracking": lambda: {"boxes": [box() for _ in range(8)]},
        "multiple_choice": lambda: {"choice": choice},
        "grounded_qa": lambda: {"choice": choice, "spans": [span(), span()]},
    }[task]()


if __name__ == "__main__":
    main()
