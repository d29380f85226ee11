"""Several calls of one pool at a time, and weights that arrive meanwhile."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from rft.rollout import pool as pool_module
from tests.rft.rollout.test_pool import SAMPLING, Fakes, FakeWorker, prompts, weights


@pytest.fixture(autouse=True)
def _short_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "POLL_S", 0.001)


def test_weights_arrive_while_groups_are_sampled_where_these_go_on_under_them() -> None:
    first, second = FakeWorker(speed=1), FakeWorker(speed=1)
    fakes = Fakes(first, second)
    pool = fakes.pool(num_workers=1, ahead=1, partial=True)
    groups = pool.generate(prompts(9), SAMPLING, seed=0)
    found = dict([next(groups)])
    assert pool.load_weights(weights(1)) == 0.01
    assert [len(worker.waiting) for worker in fakes.started] == [3]
    first.dead = True
    assert pool.load_weights(weights(2)) == 0.01
    assert (first.loaded, second.loaded) == ([1], [2])
    assert {i: a[0].text for i, a in [*found.items(), *groups]} == {i: f"p{i}" for i in range(9)}
    assert all(second.seeds[p] == first.seeds[p] for p in first.seeds.keys() & second.seeds.keys())
    counts = pool.counters()
    assert (counts["restarts"], counts["resubmitted"]) == (1, 3)


def test_several_calls_share_the_workers_and_one_that_is_left_takes_nothing_from_the_others() -> None:
    slow, fast = FakeWorker(speed=0), FakeWorker()
    pool = Fakes(slow, fast).pool()
    left = pool.generate(prompts(2), SAMPLING, seed=0)
    other = pool.generate(prompts(6)[2:], SAMPLING, seed=1)
    found = dict([next(left)])
    found = dict([next(other)])
    assert len(slow.waiting) > 1, "requests of both"
    left.close()
    assert (slow.num_aborts, fast.num_aborts) == (0, 0)
    slow.speed = 1
    assert {i: a[0].text for i, a in [*found.items(), *other]} == {i: f"p{i + 2}" for i in range(4)}


def test_prompts_of_the_call_that_began_first_go_first() -> None:
    fakes = Fakes(FakeWorker(speed=1))
    pool = fakes.pool()
    first, later = (pool.generate(some, SAMPLING, seed=0) for some in (prompts(12)[:9], prompts(12)[9:]))
    next(first)
    next(later)
    assert list(fakes.started[0].seeds) == [f"p{i}" for i in range(12)]


@pytest.mark.parametrize("dies_at", [None, 20])
def test_threads_get_their_own_groups(dies_at: int | None) -> None:
    fakes = Fakes(FakeWorker(speed=3, dies_at=dies_at), FakeWorker(speed=2), FakeWorker())
    pool = fakes.pool(num_workers=2)
    with ThreadPoolExecutor(3) as threads:
        asked = [threads.submit(lambda n: dict(pool.generate(prompts(n), SAMPLING, n)), n) for n in (20, 30, 40)]
        for n, answers in zip((20, 30, 40), asked, strict=True):
            assert {i: a[0].text for i, a in answers.result().items()} == {i: f"p{i}" for i in range(n)}
