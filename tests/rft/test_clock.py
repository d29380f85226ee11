import re
from pathlib import Path

import pytest

from rft.clock import Clock, PhaseSpan

SOURCE = Path(__file__).parents[2] / "rft"

WALL_CLOCK = {
    "data/cache.py": "age of files, beside a lock",
    "runs/metrics.py": "for people",
    "runs/timeline.py": "for people, once at its start",
    "runs/trackers/mlflow.py": "for people",
    "runs/trackers/tensorboard.py": "for people",
}
"""What reads the time of day, and what for: no deadline and no duration does, so that none notices a jump."""


def test_only_records_read_the_time_of_day() -> None:
    reads = re.compile(r"\btime\.time(_ns)?\(|\bdatetime\b|from time import")
    found = {str(p.relative_to(SOURCE)) for p in SOURCE.rglob("*.py") if reads.search(p.read_text(encoding="utf-8"))}
    assert found == WALL_CLOCK.keys()


def test_clock_gives_each_second_to_one_phase() -> None:
    times = iter([0.0, 1.0, 4.0, 10.0, 20.0, 21.0])
    clock = Clock({"update": 100.0}, now=lambda: next(times))
    with clock.phase("rollout"), clock.phase("scoring"):  # 0 to 10, and 1 to 4 within
        pass
    with clock.phase("update"):  # 20 to 21
        pass
    assert clock.seconds == {"update": 101.0, "rollout": 7.0, "scoring": 3.0}


def test_clock_counts_a_phase_that_raises() -> None:
    times = iter([0.0, 2.0])
    clock = Clock(now=lambda: next(times))
    with pytest.raises(RuntimeError), clock.phase("update"):
        raise RuntimeError
    assert clock.seconds == {"update": 2.0}
    clock.add({"update": 1.0, "weights": 3.0})
    assert clock.seconds == {"update": 3.0, "weights": 3.0}


def test_a_clock_keeps_when_its_phases_ran() -> None:
    ticks = iter([1.0, 2.0, 4.0, 7.0])
    clock = Clock(now=lambda: next(ticks))
    with clock.phase("outer"), clock.phase("inner"):
        pass
    assert clock.spans == [PhaseSpan("inner", 2.0, 4.0), PhaseSpan("outer", 1.0, 7.0)]
    assert clock.seconds == {"outer": 4.0, "inner": 2.0}
