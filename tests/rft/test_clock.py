import pytest

from rft.clock import Clock, PhaseSpan


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
