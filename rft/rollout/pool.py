"""Spreads prompts over rollout workers by load, replaces one that dies or hangs, and yields groups as they finish."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from rft.errors import Interrupted, RolloutError
from rft.parity.compare import PromptView
from rft.recipe import RolloutRecipe
from rft.rollout.worker import Generated, ViewedPrompt, Worker, WorkerDied
from rft.types import Completion, Prompt, Sampling
from rft.weights.ref import StagedWeights, WeightsRef, broadcast_refs

POLL_S = 0.2
"""Longest time before a request to stop is noticed."""

QUEUE_DEPTH = 2
"""Sequences given to a worker per sequence it decodes: it never waits for the driver, and prompts not yet
sent can still go to another worker."""


@dataclass(frozen=True, slots=True)
class FailedPrompt:
    """A prompt that no completion could be sampled for."""

    prompt_id: str
    problem: str


@dataclass(slots=True, eq=False)
class _Call:
    """A generate() that is not done."""

    prompts: Sequence[Prompt]
    sampling: Sampling
    seed: int
    waiting: deque[int]
    """Indices of the prompts that no worker has."""
    finished: list[tuple[int, Generated]] = field(default_factory=list)
    """(index of a prompt, its result), not yielded yet."""


@dataclass(slots=True)
class _Slot:
    """A worker, which is replaced if it dies, and its open requests."""

    worker: Worker
    outstanding: dict[Future[Generated], tuple[_Call, int]] = field(default_factory=dict)
    """Future -> the call that it belongs to, and the index of its prompt."""
    answered_at: float = 0.0
    """When it last finished a group, or got the first of those that are open."""

    @property
    def num_sequences(self) -> int:
        return sum(call.sampling.num_generations for call, _ in self.outstanding.values())


def request_seed(seed: int, index: int) -> int:
    """Seed of the prompt at `index`. Seeds are far apart, because completion i of a group is sampled with seed + i."""
    return int.from_bytes(blake2b(f"{seed} {index}".encode(), digest_size=8).digest(), "big") >> 2


class WorkerPool:
    """The RolloutPool of train.py. The workers start in the background: the first call waits for them.

    For any thread: one at a time speaks with the workers.
    """

    def __init__(
        self,
        recipe: RolloutRecipe,
        start_worker: Callable[[int], Worker],
        should_stop: Callable[[], bool] = lambda: False,
        note: Callable[[str], None] = lambda text: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`start_worker(index)` must return at once; `index` is the worker's, 0..num_workers - 1.

        `note` is told why a worker is replaced. `now`: in seconds.
        """
        self._recipe = recipe
        self._start_worker = start_worker
        self._should_stop = should_stop
        self._note, self._now = note, now
        self._slots = [_Slot(start_worker(index)) for index in range(recipe.num_workers)]
        self._lock = threading.RLock()
        self._ready = False
        self._calls: list[_Call] = []
        """In the order in which they began, and in which their prompts go to workers."""
        self._weights: WeightsRef | None = None
        self._num_restarts = 0
        self._counters: dict[str, float] = {}
        self._failed: list[FailedPrompt] = []

    def wait_until_ready(self) -> float:
        """Wait for all workers; returns the seconds waited. RolloutError: they cannot be started."""
        started = self._now()
        with self._lock:
            for index, slot in enumerate(() if self._ready else self._slots):
                try:
                    self._result(slot.worker.ready())
                except WorkerDied as error:
                    raise RolloutError(
                        f"rollout worker {index} cannot start:\n  {error}\nIt is set by the recipe's model, "
                        "learner.dtype, rollout.max_model_len, max_num_seqs, and kv_cache_gib (CPU) or "
                        "gpu_memory_utilization, share_gpu and weight_transfer."
                    ) from error
            self._ready = True
        return self._now() - started

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, seed: int, *, may_stop: bool = True
    ) -> Iterator[tuple[int, tuple[Completion, ...]]]:
        """Yield (index into prompts, its completions) as groups finish.

        The same seed gives the same draws, whichever worker serves a prompt. A prompt that cannot be sampled comes
        back as completions with finish_reason "error"; `failed()` says why. Leaving the iterator early drops what is
        in flight. A worker that finishes no group for stall_timeout_s counts as dead. Interrupted: should_stop()
        became true, and it `may_stop`. RolloutError: more workers died than may be replaced.
        """
        self.wait_until_ready()
        call = _Call(prompts, sampling, seed, deque(range(len(prompts))))
        num_left = len(prompts)
        with self._lock:
            self._calls.append(call)
        try:
            while num_left:
                if self._should_stop() and may_stop:
                    raise Interrupted
                wait(self._submit(), POLL_S, FIRST_COMPLETED)
                for index, generated in self._collect(call, may_stop=may_stop):
                    num_left -= 1
                    yield index, self._counted(prompts[index], generated)
        finally:
            self._leave(call)
        self._sleep(may_stop=may_stop)

    def view_prompts(
        self, prompts: Sequence[Prompt], sampling: Sampling, seed: int
    ) -> list[tuple[PromptView, tuple[Completion, ...]]]:
        """(the engine's view, sampled completions) of each prompt, one after the other, from each worker in turn.

        Raises RolloutError if a prompt cannot be sampled.
        """
        self.wait_until_ready()
        views = []
        for index, prompt in enumerate(prompts):

            def view(worker: Worker, index: int = index, prompt: Prompt = prompt) -> Future[ViewedPrompt]:
                return worker.view_prompt(prompt, sampling, request_seed(seed, index))

            viewed: ViewedPrompt = self._call(self._slots[index % len(self._slots)], view)
            if viewed.view is None:
                raise RolloutError(f"prompt {prompt.prompt_id}: the engine cannot sample it: {viewed.problem}")
            views.append((viewed.view, viewed.completions))
        self._sleep(may_stop=True)
        return views

    def load_weights(self, ref: WeightsRef) -> float:
        """Have every worker serve these weights; returns the largest of their probe gaps.

        Not interrupted: the step whose weights they are is learned, and has to be recorded. RolloutError: a gap is
        beyond probe_tolerance, so a worker would sample from another policy than the learner's.
        """
        with self._lock:
            if self._calls and not self._recipe.partial:
                raise RuntimeError("weights cannot change while groups are sampled")
            self.wait_until_ready()
            gaps = self._load(ref)
            for index, gap in enumerate(gaps):
                self._check_gap(f"worker {index}", ref, gap)
            self._count("weights_mib", len(gaps) * ref.num_bytes / 2**20)
        return max(gaps)

    def counters(self) -> dict[str, float]:
        """Summed over workers, since the last call: see docs/rollout.md. What a dead worker counted is lost.

        Not interrupted, as a load of weights.
        """
        self.wait_until_ready()
        with self._lock:
            counts, self._counters = self._counters, {}
            total = {"restarts": 0.0, "resubmitted": 0.0, "failed_requests": 0.0} | counts
            for slot in self._slots:
                for name, value in self._call(slot, lambda worker: worker.counters(), may_stop=False).items():
                    total[name] = total.get(name, 0.0) + value
        return total

    def failed(self) -> tuple[FailedPrompt, ...]:
        """Prompts that could not be sampled since the last call."""
        with self._lock:
            failed, self._failed = tuple(self._failed), []
        return failed

    def close(self) -> None:
        """End all workers."""
        for slot in self._slots:
            slot.worker.close()
        self._slots = []

    def _refs(self, ref: WeightsRef) -> list[WeightsRef]:
        """What each worker is asked to load. Before a broadcast all are asked whether they are there, because in it
        each waits for all others."""
        source = ref.source
        if not isinstance(source, StagedWeights) or source.new_group is None:
            return [ref] * len(self._slots)
        self._weights = None  # one that is replaced now gets the new ones with the others
        groups = [
            self._call(slot, lambda worker: worker.broadcast_group(source), may_stop=False) for slot in self._slots
        ]
        return broadcast_refs(ref, groups)

    def _load(self, ref: WeightsRef) -> list[float]:
        """The gap of each worker's probe."""
        refs = self._refs(ref)
        self._weights = ref
        loads = [(slot, slot.worker, slot.worker.load_weights(to)) for slot, to in zip(self._slots, refs, strict=True)]
        gaps: list[float] = []
        for slot, worker, load in loads:
            try:
                gaps.append(self._result(load, may_stop=False))
            except WorkerDied as error:
                gaps.append(self._replace(slot, worker, error, may_stop=False))
        return gaps

    def _submit(self) -> list[Future[Generated]]:
        """Give waiting prompts to workers that have room; returns all requests that are open."""
        with self._lock:
            for call in self._calls:
                while call.waiting:
                    slot = min(self._slots, key=lambda slot: slot.num_sequences)
                    if slot.num_sequences >= QUEUE_DEPTH * self._recipe.max_num_seqs:
                        break
                    index = call.waiting.popleft()
                    if not slot.outstanding:
                        slot.answered_at = self._now()
                    seed = request_seed(call.seed, index)
                    slot.outstanding[slot.worker.generate(call.prompts[index], call.sampling, seed)] = call, index
            return [future for slot in self._slots for future in slot.outstanding]

    def _collect(self, call: _Call, *, may_stop: bool) -> list[tuple[int, Generated]]:
        """(index, result) of finished requests of `call`; those of others are kept for them.

        A worker that died or stalled is replaced; its open requests wait again.
        """
        with self._lock:
            for slot in self._slots:
                died: WorkerDied | None = None
                for future in [future for future in slot.outstanding if future.done()]:
                    of, index = slot.outstanding[future]
                    try:
                        of.finished.append((index, future.result()))
                    except WorkerDied as error:
                        died = died or error
                    else:
                        del slot.outstanding[future]
                        slot.answered_at = self._now()
                if slot.outstanding and self._now() - slot.answered_at > self._recipe.stall_timeout_s:
                    died = died or self._stalled("finished no group")
                if died is not None:
                    self._replace(slot, slot.worker, died, may_stop=may_stop)
            finished, call.finished = call.finished, []
        return finished

    def _leave(self, call: _Call) -> None:
        """Drop what is open of `call`; with a worker that has requests of others too, it runs on and is ignored."""
        with self._lock:
            self._calls.remove(call)
            for slot in self._slots:
                dropped = [future for future, (of, _) in slot.outstanding.items() if of is call]
                for future in dropped:
                    del slot.outstanding[future]
                if dropped and not slot.outstanding:
                    slot.worker.abort()

    def _counted(self, prompt: Prompt, generated: Generated) -> tuple[Completion, ...]:
        if generated.problem is not None:
            with self._lock:
                self._count("failed_requests", 1)
                self._failed.append(FailedPrompt(prompt.prompt_id, generated.problem))
        return generated.completions

    def _call(self, slot: _Slot, method: Callable[[Worker], Future[Any]], *, may_stop: bool = True) -> Any:
        """Result of a worker's method; from its replacement, if the worker dies meanwhile."""
        while True:
            worker = slot.worker
            try:
                return self._result(method(worker), may_stop=may_stop)
            except WorkerDied as error:
                self._replace(slot, worker, error, may_stop=may_stop)

    def _sleep(self, *, may_stop: bool) -> None:
        """Engines that share GPUs with the learner leave them to it."""
        if self._recipe.sleeps_during_update:
            for slot in self._slots:
                self._call(slot, lambda worker: worker.sleep(), may_stop=may_stop)

    def _result(self, future: Future[Any], *, may_stop: bool = True) -> Any:
        asked_at = self._now()
        while not wait([future], POLL_S).done:
            if self._should_stop() and may_stop:
                raise Interrupted
            if self._now() - asked_at > self._recipe.stall_timeout_s:
                raise self._stalled("given no answer")
        return future.result()

    def _stalled(self, what: str) -> WorkerDied:
        return WorkerDied(
            f"it hangs: it has {what} for {self._recipe.stall_timeout_s:g} s. Where it only needs longer, raise "
            "rollout.stall_timeout_s."
        )

    def _replace(self, slot: _Slot, worker: Worker, error: WorkerDied, *, may_stop: bool = True) -> float:
        """Put a new worker with the current weights in `slot`; returns the gap of their probe, 0 without weights.

        Its open requests wait again, each in its place.
        """
        index = self._slots.index(slot)
        for call, prompt in sorted(slot.outstanding.values(), key=lambda of: of[1], reverse=True):
            call.waiting.appendleft(prompt)
        self._count("resubmitted", len(slot.outstanding))
        slot.outstanding.clear()
        while True:
            worker.close()
            if self._num_restarts >= self._recipe.max_restarts:
                raise RolloutError(
                    f"rollout worker {index} died or hangs, and rollout.max_restarts={self._recipe.max_restarts} "
                    f"replacements are used up. Last cause:\n  {error}\n"
                    "If memory ran out: lower rollout.max_num_seqs, max_model_len, and kv_cache_gib (CPU) or "
                    "gpu_memory_utilization."
                ) from error
            self._num_restarts += 1
            self._count("restarts", 1)
            self._note(f"rollout worker {index} is replaced: {error}")
            worker = slot.worker = self._start_worker(index)
            try:
                self._result(worker.ready(), may_stop=may_stop)
                if self._weights is None:
                    return 0.0
                gap = float(self._result(worker.load_weights(self._weights), may_stop=may_stop))
            except WorkerDied as again:
                error = again
                continue
            self._check_gap(f"worker {index} (restarted)", self._weights, gap)
            return gap

    def _check_gap(self, worker: str, ref: WeightsRef, gap: float) -> None:
        if not gap <= self._recipe.probe_tolerance:  # not >: a NaN must not pass
            raise RolloutError(
                f"rollout {worker} does not hold policy version {ref.policy_version}: after the load its "
                f"log-probabilities of the probe differ from the learner's by {gap:.4f} on average, and "
                f"rollout.probe_tolerance is {self._recipe.probe_tolerance:g}. Either weights are missing or stale, "
                "learner and engine were given different models, or learner.dtype is too coarse for this tolerance."
            )

    def _count(self, name: str, amount: float) -> None:
        self._counters[name] = self._counters.get(name, 0.0) + amount
