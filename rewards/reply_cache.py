"""Cache of a judge's replies in a file, so that each request is paid for once; and counts of its usage.

`python -m rewards.reply_cache FILE` prints the counts as JSON.
"""

import json
import operator
import sqlite3
import sys
import threading
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any

_WAIT_S = 30.0
"""Longest wait for other processes that write to the same file, in seconds."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Counts of requests to a judge, with their tokens and cost."""

    requests: int = 0
    """Requests sent, failed ones included."""
    failures: int = 0
    """Requests without a usable reply."""
    cache_hits: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    """Cost in the currency of the prices."""

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(*map(operator.add, astuple(self), astuple(other)))


_COLUMNS = tuple(field.name for field in fields(Usage))


class ReplyCache:
    """Replies by key, and usage by model, in one SQLite file; any number of threads and processes may share it."""

    def __init__(self, path: Path | None) -> None:
        """`path` None: in memory, as long as this object. Raises sqlite3.Error or OSError if the file is unusable."""
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path or ":memory:", timeout=_WAIT_S, check_same_thread=False)
        # Waiting for the disk at each reply costs more than the replies that a power cut may take. A killed process
        # takes none.
        self._database.execute("PRAGMA synchronous = OFF")
        self._execute("CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, reply TEXT NOT NULL)")
        counts = ", ".join(f"{name} {'REAL' if name == 'cost' else 'INTEGER'} NOT NULL" for name in _COLUMNS)
        self._execute(f"CREATE TABLE IF NOT EXISTS usage (model TEXT PRIMARY KEY, {counts})")

    def get(self, key: str) -> str | None:
        rows = self._execute("SELECT reply FROM replies WHERE key = ?", key)
        return str(rows[0][0]) if rows else None

    def put(self, key: str, reply: str) -> None:
        self._execute("INSERT OR REPLACE INTO replies VALUES (?, ?)", key, reply)

    def count(self, model: str, usage: Usage) -> None:
        """Add to the usage of a model."""
        marks = ", ".join("?" * len(_COLUMNS))
        sums = ", ".join(f"{name} = {name} + excluded.{name}" for name in _COLUMNS)
        statement = f"INSERT INTO usage VALUES (?, {marks}) ON CONFLICT (model) DO UPDATE SET {sums}"
        self._execute(statement, model, *astuple(usage))

    def usage(self) -> dict[str, Usage]:
        """Model -> usage, over all processes that ever used the file."""
        rows = self._execute(f"SELECT model, {', '.join(_COLUMNS)} FROM usage ORDER BY model")
        return {model: Usage(*counts) for model, *counts in rows}

    def _execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock, self._database:
            return self._database.execute(statement, values).fetchall()

    def close(self) -> None:
        self._database.close()


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or not Path(arguments[0]).is_file():
        print("usage: python -m rewards.reply_cache FILE   (the judge_cache of a recipe)", file=sys.stderr)
        return 2
    cache = ReplyCache(Path(arguments[0]))
    print(json.dumps({model: asdict(usage) for model, usage in cache.usage().items()}, indent=2))
    cache.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
