"""Answers of learning processes: all of them, the first failure, and none in time."""

from concurrent.futures import Future

import pytest

from rft.actors import rank_calls
from rft.actors.rank_calls import RankCalls
from rft.errors import CheckpointError, LearnerError


@pytest.fixture(autouse=True)
def _short_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_calls, "POLL_S", 0.001)


class Time:
    """Goes on whenever it is asked."""

    def __init__(self) -> None:
        self.now, self.step = 0.0, 10.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def answer(value: object) -> Future:
    future: Future = Future()
    future.set_result(value)
    return future


def failure(error: Exception) -> Future:
    future: Future = Future()
    future.set_exception(error)
    return future


def test_answers_are_those_of_all_ranks_in_their_order() -> None:
    assert RankCalls(60).answers("update", [answer("a"), answer("b")]) == ["a", "b"]


def test_a_rank_that_fails_ends_the_wait_for_those_that_wait_for_it() -> None:
    with pytest.raises(CheckpointError, match="damaged"):
        RankCalls(60).answers("load", [Future(), failure(CheckpointError("damaged"))])


def silent_for(calls: RankCalls, time: Time, num_groups: float, method: str = "update") -> float:
    """Seconds until a call with a rank that never answers is given up."""
    began = time.now
    with pytest.raises(LearnerError, match=f"no answer to {method} in .* s from rank 1 of 2"):
        calls.answers(method, [answer("a"), Future()], num_groups)
    return time.now - began


@pytest.mark.parametrize(("num_groups", "limit_s"), [(0, 600), (16, 600), (40, 1500)])
def test_a_rank_that_hangs_is_named_after_a_time_that_grows_with_its_groups(num_groups: int, limit_s: float) -> None:
    time = Time()
    assert silent_for(RankCalls(600, now=time), time, num_groups) == pytest.approx(limit_s, abs=30)


@pytest.mark.parametrize(("took_s", "limit_s"), [(10, 60), (100, 300), (1000, 600)])
def test_who_asked_to_stop_waits_no_longer_than_such_a_call_takes(took_s: float, limit_s: float) -> None:
    time = Time()
    calls = RankCalls(600, lambda: True, time)
    time.step = took_s
    calls.answers("update", [answer("a")])
    time.step = 10.0
    assert silent_for(calls, time, 0) == pytest.approx(limit_s, abs=30)
    assert silent_for(calls, time, 0, "save") == pytest.approx(600, abs=30), "nobody knows how long it takes"
