"""The pool's part in a broadcast of weights, over hand-written workers that get them only once all have come."""

from concurrent.futures import Future

import pytest

from rft.errors import RolloutError
from rft.recipe import RolloutRecipe
from rft.rollout import pool as pool_module
from rft.rollout.pool import WorkerPool
from rft.rollout.worker import WorkerDied
from rft.weights.ref import Address, Probe, StagedWeights, WeightsRef


@pytest.fixture(autouse=True)
def _short_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "POLL_S", 0.001)


class Network:
    """The groups that processes have formed, and what is sent to them."""

    def __init__(self) -> None:
        self.members: dict[tuple[str, Address], list[object]] = {}
        self.waiting: dict[Address, dict[int, Future]] = {}
        self.sendings: list[tuple[str, Address, int]] = []
        """(learner, group, engines) of each."""

    def come(self, worker: "FakeWorker", source: StagedWeights) -> Future:
        """`worker` waits for its part of a broadcast."""
        future: Future = Future()
        if source.broadcast is None:  # as an engine that meets the learner by itself
            group, place, size = ("127.0.0.1", 9000 + len(self.sendings)), 0, 1
        else:
            group, place, size = source.broadcast.group, source.broadcast.place, source.broadcast.num_engines
        waiting = self.waiting.setdefault(group, {})
        assert place not in waiting
        waiting[place] = future
        learner = source.ranks[0][0]
        members = self.members.setdefault((learner, group), [])
        if worker not in members:
            assert len(members) < size, "NCCL has no way to join a group that is whole"
            members.append(worker)
        worker.joined = (learner, group)
        if len(waiting) == size:
            self.sendings.append((learner, group, size))
            for one in self.waiting.pop(group).values():
                one.set_result(0.0)
        return future


class FakeWorker:
    """In the state that its engine's process is in: "lives", "dead" or "hangs"."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.joined: tuple[str, Address] | None = None
        self.state = "lives"
        self.loaded: list[int] = []

    def ready(self) -> Future:
        return self.answer(None)

    def broadcast_group(self, source: StagedWeights) -> Future:
        same_learner = self.joined is not None and self.joined[0] == source.ranks[0][0]
        return self.answer(self.joined[1] if self.joined and same_learner else None)

    def load_weights(self, ref: WeightsRef) -> Future:
        self.loaded.append(ref.policy_version)
        assert isinstance(ref.source, StagedWeights)
        return self.network.come(self, ref.source) if self.state == "lives" else self.answer(0.0)

    def answer(self, value: object) -> Future:
        future: Future = Future()
        if self.state == "dead":
            future.set_exception(WorkerDied("killed"))
        elif self.state == "lives":
            future.set_result(value)
        return future

    def close(self) -> None: ...


class Workers:
    """Starts workers for a pool."""

    def __init__(self) -> None:
        self.network = Network()
        self.started: list[FakeWorker] = []

    def start(self, index: int) -> FakeWorker:
        self.started.append(FakeWorker(self.network))
        return self.started[-1]

    def pool(self, **keys: object) -> WorkerPool:
        recipe = RolloutRecipe.model_validate({"num_workers": 3, "stall_timeout_s": 0.05} | keys)
        return WorkerPool(recipe, self.start)  # type: ignore[arg-type]


def published(version: int, learner: str = "first learner") -> WeightsRef:
    source = StagedWeights(((learner, None),), {}, new_group=("127.0.0.1", version))
    return WeightsRef(version, source, Probe((), ()), num_bytes=2**20)


def test_all_engines_get_weights_by_one_sending_in_a_group_that_is_kept() -> None:
    workers = Workers()
    pool = workers.pool()
    for version in (1, 2):
        assert pool.load_weights(published(version)) == 0.0
    assert workers.network.sendings == [("first learner", ("127.0.0.1", 1), 3)] * 2
    assert [worker.loaded for worker in workers.started] == [[1, 2]] * 3


@pytest.mark.parametrize("state", ["dead", "hangs"])
def test_an_engine_that_is_gone_before_a_hand_over_is_replaced_before_others_wait_for_it(state: str) -> None:
    workers = Workers()
    pool = workers.pool()
    pool.load_weights(published(1))
    workers.started[1].state = state
    assert pool.load_weights(published(2)) == 0.0
    pool.load_weights(published(3))
    groups = [("127.0.0.1", port) for port in (1, 2, 2)]
    assert workers.network.sendings == [("first learner", group, 3) for group in groups]
    assert [worker.loaded for worker in workers.started] == [[1, 2, 3], [1], [1, 2, 3], [2, 3]]


def test_an_engine_replaced_between_hand_overs_gets_the_last_weights_alone_and_the_next_ones_with_all() -> None:
    workers = Workers()
    pool = workers.pool()
    pool.load_weights(published(1))
    workers.started[0].state = "dead"
    pool._replace(pool._slots[0], pool._slots[0].worker, WorkerDied("killed"))
    pool.load_weights(published(2))
    assert [(group[1], engines) for _, group, engines in workers.network.sendings] == [(1, 3), (9001, 1), (2, 3)]
    assert [worker.loaded for worker in workers.started] == [[1], [1, 2], [1, 2], [1, 2]]


def test_a_new_learner_forms_a_new_group() -> None:
    workers = Workers()
    pool = workers.pool()
    pool.load_weights(published(1))
    pool.load_weights(published(2, "second learner"))
    assert workers.network.sendings == [
        ("first learner", ("127.0.0.1", 1), 3),
        ("second learner", ("127.0.0.1", 2), 3),
    ]


def test_a_death_within_a_broadcast_replaces_all_that_waited_for_it() -> None:
    workers = Workers()
    pool = workers.pool(max_restarts=3)
    pool.wait_until_ready()
    last = workers.started[2]
    last.load_weights = lambda ref: last_words(last)
    assert pool.load_weights(published(1)) == 0.0
    assert [engines for *_, engines in workers.network.sendings] == [1, 1, 1]
    assert pool.load_weights(published(2)) == 0.0
    assert workers.network.sendings[-1] == ("first learner", ("127.0.0.1", 2), 3)


def test_a_death_within_a_broadcast_ends_the_run_where_restarts_are_used_up() -> None:
    workers = Workers()
    pool = workers.pool(max_restarts=2)
    pool.wait_until_ready()
    last = workers.started[2]
    last.load_weights = lambda ref: last_words(last)
    with pytest.raises(RolloutError, match=r"died or hangs, and rollout\.max_restarts=2"):
        pool.load_weights(published(1))


def last_words(worker: FakeWorker) -> Future:
    """Of a call that its process does not survive."""
    worker.state = "dead"
    return worker.answer(None)
