"""The pool over hand-written workers: load, deaths, failed prompts, stopping, weights."""

import math
import threading
from collections.abc import Callable
from concurrent.futures import Future
from itertools import pairwise
from pathlib import Path

import pytest

from rewards.targets.choice import ChoiceTarget
from rft.errors import Interrupted, RolloutError
from rft.parity.compare import PromptView
from rft.recipe import RolloutRecipe
from rft.rollout import pool as pool_module
from rft.rollout.pool import WorkerPool, request_seed
from rft.rollout.worker import Generated, ViewedPrompt, WorkerDied
from rft.types import Completion, Prompt, Sampling, Video, VideoSampling
from rft.weights.ref import Probe, StoredWeights, WeightsRef

SAMPLING = Sampling(num_generations=4, temperature=1.0, top_p=1.0, top_k=0, max_completion_length=8)
VIDEO = Video(Path("clip.mp4"), VideoSampling(2.0, 4, 16, 1, 1, 1))


def prompts(num: int) -> list[Prompt]:
    return [Prompt(f"p{i}", "multiple_choice", "?", VIDEO, ChoiceTarget("A")) for i in range(num)]


def completions(text: str, reason: str = "stop") -> tuple[Completion, ...]:
    return (Completion(text, (1,), (-0.5,), 5, reason, 0),) * SAMPLING.num_generations


def done(value: object) -> Future:
    future: Future = Future()
    future.set_result(value)
    return future


def dead() -> Future:
    future: Future = Future()
    future.set_exception(WorkerDied("killed"))
    return future


@pytest.fixture(autouse=True)
def _short_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "POLL_S", 0.001)


class FakeWorker:
    """Answers `speed` requests per tick; dies with all it owes at request number `dies_at`.

    `hangs_after`: so many answers, and then none to anything.
    """

    def __init__(
        self,
        speed: int = 1000,
        dies_at: int | None = None,
        gap: float = 0.01,
        starts: bool = True,
        hangs_after: int | None = None,
    ) -> None:
        self.speed, self.dies_at, self.gap, self.starts = speed, dies_at, gap, starts
        self.hangs_after = hangs_after
        self.waiting: list[tuple[Prompt, Future]] = []
        self.seeds: dict[str, int] = {}
        self.most_waiting = self.num_aborts = self.num_sleeps = 0
        self.loaded: list[int] = []
        self.dead = self.closed = False
        self.lock = threading.RLock()

    def ready(self) -> Future:
        return done(None) if self.starts else dead()

    def generate(self, prompt: Prompt, sampling: Sampling, seed: int) -> Future:
        if self.dead:
            return dead()
        future: Future = Future()
        with self.lock:
            self.waiting.append((prompt, future))
            self.most_waiting = max(self.most_waiting, len(self.waiting))
            self.seeds[prompt.prompt_id] = seed
            if self.dies_at is not None and len(self.seeds) >= self.dies_at:
                self.dead = True
                for _, owed in self.waiting:
                    owed.set_exception(WorkerDied("out of memory"))
        return future

    def tick(self) -> None:
        with self.lock:
            if not self.dead:
                self.finish_some()

    def finish_some(self) -> None:
        speed = self.speed if self.hangs_after is None else min(self.speed, self.hangs_after)
        if self.hangs_after is not None:
            self.hangs_after -= speed
        now, self.waiting = self.waiting[:speed], self.waiting[speed:]
        for prompt, future in now:
            bad = prompt.prompt_id == "bad"
            answer = completions(prompt.prompt_id, "error" if bad else "stop")
            future.set_result(Generated(answer, "DataError: no such clip" if bad else None))

    def view_prompt(self, prompt: Prompt, sampling: Sampling, seed: int) -> Future:
        if self.dead:
            return dead()
        self.seeds[prompt.prompt_id] = seed
        if prompt.prompt_id == "bad":
            return done(ViewedPrompt(None, (), "ValueError: too long"))
        view = PromptView(0, prompt.prompt_id, (), "", (), None, (), ())
        return done(ViewedPrompt(view, completions("x")))

    def load_weights(self, ref: WeightsRef) -> Future:
        if self.dead:
            return dead()
        if self.hangs_after == 0:
            return Future()
        self.loaded.append(ref.policy_version)
        return done(self.gap)

    def counters(self) -> Future:
        return dead() if self.dead else done({"generated_tokens": 3.0})

    def abort(self) -> None:
        self.num_aborts += 1
        self.waiting.clear()

    def sleep(self) -> Future:
        self.num_sleeps += 1
        return dead() if self.dead else done(None)

    def close(self) -> None:
        self.closed = True


class Fakes:
    """Starts the given workers in turn, and ticks those that live whenever the pool asks whether to stop."""

    def __init__(self, *workers: FakeWorker) -> None:
        self.coming = list(workers)
        self.started: list[FakeWorker] = []
        self.stop: Callable[[], bool] = lambda: False
        self.seconds = 0.0

    def start(self, index: int) -> FakeWorker:
        self.started.append(self.coming.pop(0))
        return self.started[-1]

    def should_stop(self) -> bool:
        for worker in self.started:
            worker.tick()
        self.seconds += 10.0
        return self.stop()

    def pool(self, note: Callable[[str], None] = lambda text: None, **values: object) -> WorkerPool:
        """On a clock that goes on by 10 s per tick."""
        recipe = RolloutRecipe.model_validate({"num_workers": len(self.coming), "max_num_seqs": 8} | values)
        return WorkerPool(recipe, self.start, self.should_stop, note, lambda: self.seconds)


def weights(version: int) -> WeightsRef:
    return WeightsRef(version, StoredWeights({}), Probe((1, 2), (-0.5,)), num_bytes=3 * 2**20)


def test_every_prompt_is_answered_under_its_index() -> None:
    pool = Fakes(FakeWorker(speed=1), FakeWorker(speed=2)).pool()
    answers = dict(pool.generate(prompts(9), SAMPLING, seed=3))
    assert {i: a[0].text for i, a in answers.items()} == {i: f"p{i}" for i in range(9)}


def test_groups_come_before_all_are_done() -> None:
    fakes = Fakes(FakeWorker(speed=1))
    groups = fakes.pool().generate(prompts(9), SAMPLING, seed=0)
    next(groups)
    assert len(fakes.started[0].waiting) == 3


def test_a_fast_worker_gets_more_and_none_hoards() -> None:
    fast, slow = FakeWorker(speed=4), FakeWorker(speed=1)
    dict(Fakes(fast, slow).pool().generate(prompts(60), SAMPLING, seed=0))
    assert len(fast.seeds) >= 2 * len(slow.seeds)
    # 8 sequences are decoded together, so 2 groups of 4, and as much again waits with the worker.
    assert (fast.most_waiting, slow.most_waiting) == (4, 4)


def test_seeds_follow_prompts_not_workers_and_leave_room_for_a_group() -> None:
    alone, one, two = FakeWorker(), FakeWorker(speed=1), FakeWorker(speed=3)
    dict(Fakes(alone).pool().generate(prompts(30), SAMPLING, seed=7))
    dict(Fakes(one, two).pool().generate(prompts(30), SAMPLING, seed=7))
    assert one.seeds | two.seeds == alone.seeds
    seeds = sorted(request_seed(seed, index) for seed in range(20) for index in range(100))
    assert min(b - a for a, b in pairwise(seeds)) > 1024
    assert seeds[-1] + 1024 < 2**63


def test_a_dead_worker_is_replaced_and_its_prompts_are_asked_again() -> None:
    dying, other, new = FakeWorker(dies_at=3), FakeWorker(speed=1), FakeWorker()
    fakes = Fakes(dying, other, new)
    pool = fakes.pool(num_workers=2, max_restarts=1)
    pool.load_weights(weights(5))
    answers = dict(pool.generate(prompts(12), SAMPLING, seed=1))
    assert sorted(answers) == list(range(12))
    assert dying.closed
    assert new.loaded == [5], "the new worker must serve the current policy"
    again = new.seeds.keys() & dying.seeds.keys()
    assert again
    assert all(new.seeds[p] == dying.seeds[p] for p in again)
    counts = pool.counters()
    assert (counts["restarts"], counts["resubmitted"], counts["failed_requests"]) == (1, 4, 0)
    assert pool.counters()["restarts"] == 0


@pytest.mark.parametrize("answers_first", [0, 2])
def test_a_worker_that_hangs_is_named_and_replaced_and_its_prompts_are_asked_again(answers_first: int) -> None:
    hung, new, notes = FakeWorker(hangs_after=answers_first), FakeWorker(), []
    pool = Fakes(hung, new).pool(num_workers=1, max_restarts=1, stall_timeout_s=100, note=notes.append)
    answers = dict(pool.generate(prompts(12), SAMPLING, seed=1))
    assert {i: a[0].text for i, a in answers.items()} == {i: f"p{i}" for i in range(12)}
    assert hung.closed
    again = new.seeds.keys() & hung.seeds.keys()
    assert len(again) == 4
    assert all(new.seeds[p] == hung.seeds[p] for p in again)
    assert notes == [
        "rollout worker 0 is replaced: it hangs: it has finished no group for 100 s. Where it only needs longer, "
        "raise rollout.stall_timeout_s."
    ]


def test_a_slow_worker_that_goes_on_is_left_alone() -> None:
    slow = FakeWorker(speed=1)
    pool = Fakes(slow).pool(stall_timeout_s=100)
    assert len(dict(pool.generate(prompts(60), SAMPLING, seed=1))) == 60
    assert pool.counters()["restarts"] == 0


def test_a_worker_that_hangs_with_new_weights_is_replaced() -> None:
    hung, new = FakeWorker(hangs_after=0), FakeWorker(gap=0.02)
    pool = Fakes(hung, new).pool(num_workers=1, stall_timeout_s=100)
    assert pool.load_weights(weights(5)) == 0.02
    assert (hung.closed, new.loaded) == (True, [5])


@pytest.mark.parametrize("dies", [False, True])
def test_a_stop_leaves_no_step_between_its_update_and_its_record(dies: bool) -> None:
    """Weights and counters are waited for, also those of a worker that has to be replaced."""

    class Slow(FakeWorker):
        later: Future | None = None

        def tick(self) -> None:
            if self.later is not None:
                (self.later.set_exception(WorkerDied("killed")) if dies else self.later.set_result(self.answer))
                self.later = None

        def load_weights(self, ref: WeightsRef) -> Future:
            return self.soon(0.02)

        def counters(self) -> Future:
            return self.soon({"generated_tokens": 3.0})

        def soon(self, answer: object) -> Future:
            self.answer, self.later = answer, Future()
            return self.later

    fakes = Fakes(Slow(), FakeWorker(gap=0.02))
    fakes.stop = lambda: True
    pool = fakes.pool(num_workers=1)
    assert pool.load_weights(weights(5)) == 0.02
    assert pool.counters()["generated_tokens"] == 3.0
    assert len(fakes.started) == 1 + dies
    with pytest.raises(Interrupted):
        dict(pool.generate(prompts(1), SAMPLING, seed=0))


def test_too_many_deaths_stop_the_run_with_their_cause() -> None:
    fakes = Fakes(FakeWorker(dies_at=1), FakeWorker(dies_at=1), FakeWorker(dies_at=1))
    pool = fakes.pool(num_workers=1, max_restarts=2)
    with pytest.raises(RolloutError, match=r"max_restarts=2 replacements are used up.*\n  out of memory"):
        dict(pool.generate(prompts(2), SAMPLING, seed=0))
    assert all(worker.closed for worker in fakes.started)


def test_a_worker_that_cannot_start_is_not_tried_again() -> None:
    fakes = Fakes(FakeWorker(starts=False), FakeWorker())
    pool = fakes.pool(num_workers=1)
    with pytest.raises(RolloutError, match="worker 0 cannot start:\n  killed"):
        pool.wait_until_ready()
    assert len(fakes.started) == 1


def test_a_prompt_that_fails_comes_back_as_failed_completions() -> None:
    pool = Fakes(FakeWorker()).pool()
    bad = Prompt("bad", "multiple_choice", "?", VIDEO, ChoiceTarget("A"))
    answers = dict(pool.generate([*prompts(2), bad], SAMPLING, seed=0))
    assert [c.finish_reason for c in answers[2]] == ["error"] * 4
    assert answers[1][0].finish_reason == "stop"
    assert [(f.prompt_id, f.problem) for f in pool.failed()] == [("bad", "DataError: no such clip")]
    assert pool.failed() == ()
    assert pool.counters()["failed_requests"] == 1


def test_stopping_leaves_generate_and_drops_what_is_in_flight() -> None:
    fakes = Fakes(FakeWorker(speed=1))
    pool = fakes.pool()
    groups = pool.generate(prompts(9), SAMPLING, seed=0)
    next(groups)
    fakes.stop = lambda: True
    with pytest.raises(Interrupted):
        dict(groups)
    assert fakes.started[0].num_aborts == 1
    fakes.stop = lambda: False
    assert len(dict(pool.generate(prompts(3), SAMPLING, seed=0))) == 3


def test_what_may_not_stop_is_finished_by_a_replacement_too() -> None:
    fakes = Fakes(FakeWorker(speed=1, dies_at=3), FakeWorker(speed=1))
    fakes.stop = lambda: len(fakes.started) > 0
    pool = WorkerPool(RolloutRecipe(num_workers=1, max_num_seqs=8), fakes.start, fakes.should_stop)
    with pytest.raises(Interrupted):
        dict(pool.generate(prompts(1), SAMPLING, seed=0))
    assert len(dict(pool.generate(prompts(9), SAMPLING, seed=0, may_stop=False))) == 9
    assert pool.counters()["restarts"] == 1


def test_leaving_the_iterator_drops_what_is_in_flight() -> None:
    fakes = Fakes(FakeWorker(speed=1))
    pool = fakes.pool()
    groups = pool.generate(prompts(9), SAMPLING, seed=0)
    next(groups)
    with pytest.raises(RuntimeError, match="while groups are sampled"):
        pool.load_weights(weights(1))
    groups.close()
    assert fakes.started[0].num_aborts == 1
    assert len(dict(pool.generate(prompts(3), SAMPLING, seed=0))) == 3


def test_a_stop_is_noticed_while_a_worker_starts() -> None:
    fakes = Fakes(FakeWorker())
    fakes.coming[0].ready = Future  # never done
    fakes.stop = lambda: True
    with pytest.raises(Interrupted):
        fakes.pool().wait_until_ready()


@pytest.mark.parametrize("gap", [0.051, math.nan])
def test_weights_that_did_not_arrive_stop_the_run(gap: float) -> None:
    pool = Fakes(FakeWorker(gap=0.01), FakeWorker(gap=gap)).pool(probe_tolerance=0.05)
    with pytest.raises(RolloutError, match=r"worker 1 does not hold policy version 7: .* differ .* by (0\.0510|nan)"):
        pool.load_weights(weights(7))


def test_load_weights_tells_the_largest_gap_of_all_workers() -> None:
    fakes = Fakes(FakeWorker(gap=0.01), FakeWorker(gap=0.03))
    assert fakes.pool().load_weights(weights(2)) == 0.03
    assert [worker.loaded for worker in fakes.started] == [[2], [2]]


@pytest.mark.parametrize(("keys", "num"), [({}, 0), ({"share_gpu": True}, 1), ({"share_gpu": True, "ahead": 1}, 0)])
def test_engines_that_share_gpus_rest_after_each_batch(keys: dict[str, object], num: int) -> None:
    fakes = Fakes(FakeWorker(speed=1), FakeWorker())
    pool = fakes.pool(**keys)
    for sleeps, ask in enumerate((pool.generate, pool.view_prompts), start=1):
        answers = ask(prompts(9), SAMPLING, seed=0)
        assert len(list(answers)) == 9
        assert [worker.num_sleeps for worker in fakes.started] == [sleeps * num] * 2


def test_a_worker_that_dies_over_a_load_or_a_question_is_replaced() -> None:
    first, second, third = FakeWorker(), FakeWorker(gap=0.02), FakeWorker(gap=0.04)
    pool = Fakes(first, second, third).pool(num_workers=1)
    pool.wait_until_ready()
    first.dead = True
    assert pool.load_weights(weights(4)) == 0.02
    second.dead = True
    counted = {"restarts": 1, "resubmitted": 0, "failed_requests": 0, "generated_tokens": 3, "weights_mib": 3}
    assert pool.counters() == counted
    assert third.loaded == [4]
    assert pool.counters()["restarts"] == 1


def test_every_worker_reads_some_of_the_prompts_in_order() -> None:
    first, second, third = FakeWorker(), FakeWorker(), FakeWorker()
    pool = Fakes(first, second, third).pool(num_workers=2)
    pool.wait_until_ready()
    second.dead = True
    found = pool.view_prompts(prompts(4), SAMPLING, seed=3)
    assert [(view.text, len(drawn)) for view, drawn in found] == [(f"p{i}", 4) for i in range(4)]
    assert (sorted(first.seeds), sorted(third.seeds)) == (["p0", "p2"], ["p1", "p3"])
    assert first.seeds["p2"] == request_seed(3, 2)


def test_a_prompt_that_cannot_be_read_stops_the_comparison() -> None:
    bad = Prompt("bad", "multiple_choice", "?", VIDEO, ChoiceTarget("A"))
    with pytest.raises(RolloutError, match="prompt bad: the engine cannot sample it: ValueError: too long"):
        Fakes(FakeWorker()).pool().view_prompts([*prompts(1), bad], SAMPLING, seed=0)
