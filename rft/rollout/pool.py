"""Spreads prompts over rollout workers by load, replaces one that dies or hangs, and yields groups as they finish."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from hashlib import blake2b
from math import ceil
from typing import Any, Protocol

from rft.errors import Interrupted, RolloutError
from rft.parity.compare import PromptView
from rft.recipe import RolloutRecipe
from rft.types import Completion, Prompt, Sampling
from rft.weights.ref import Address, StagedWeights, WeightsRef, broadcast_refs

POLL_S = 0.2
"""Longest time before a request to stop is noticed."""

QUEUE_DEPTH = 2
"""Sequences given to a worker per sequence it decodes: it never waits for the driver, and prompts not yet
sent can still go to another worker."""


class WorkerDied(Exception):
    """The process of a worker ended or hangs, or its engine failed; it has to be replaced."""


@dataclass(frozen=True, slots=True)
class Generated:
    """A worker's completions of one prompt."""

    completions: tuple[Completion, ...]
    problem: str | None = None
    """Why there are none; the completions then only state the failure."""


@dataclass(frozen=True, slots=True)
class ViewedPrompt:
    """The engine's view of one prompt, and the completions that it sampled."""

    view: PromptView | None
    completions: tuple[Completion, ...]
    problem: str | None = None
    """Why there is no view."""


@dataclass(frozen=True, slots=True)
class FailedPrompt:
    """A prompt that no completion could be sampled for."""

    prompt_id: str
    problem: str


class Worker(Protocol):
    """One vLLM engine somewhere else. Futures raise WorkerDied when it is gone."""

    def ready(self) -> Future[None]: ...

    def generate(self, prompt: Prompt, sampling: Sampling, seed: int) -> Future[Generated]: ...

    def view_prompt(self, prompt: Prompt, sampling: Sampling, seed: int) -> Future[ViewedPrompt]:
        """The engine's view and completions, to compare with the learner."""
        ...

    def broadcast_group(self, source: StagedWeights) -> Future[Address | None]:
        """The group that the engine is in with the learner that `source` lies with; None: in none."""
        ...

    def load_weights(self, ref: WeightsRef) -> Future[float]:
        """The probe's mean absolute log-probability gap after the load."""
        ...

    def counters(self) -> Future[dict[str, float]]:
        """Counts since the last call."""
        ...

    def abort(self) -> None:
        """Drop all requests; returns at once."""
        ...

    def sleep(self) -> Future[None]:
        """Leave the GPU to the learner until the next call."""
        ...

    def close(self) -> None: ...


@dataclass(slots=True)
class _Slot:
    """A worker, which is replaced if it dies, and its open requests."""

    worker: Worker
    outstanding: dict[Future[Generated], int] = field(default_factory=dict)
    """Future -> index of its prompt."""
    answered_at: float = 0.0
    """When it last finished a group, or got the first of those that are open."""


def request_seed(seed: int, index: int) -> int:
    """Seed of the prompt at `index`. Seeds are far apart, because completion i of a group is sampled with seed + i."""
    return int.from_bytes(blake2b(f"{seed} {index}".encode(), digest_size=8).digest(), "big") >> 2


class WorkerPool:
    """The RolloutPool of train.py. The workers start in the background: the first call waits for them."""

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
        self._ready = False
        self._generating = False
        self._weights: WeightsRef | None = None
        self._num_restarts = 0
        self._counters: dict[str, float] = {}
        self._failed: list[FailedPrompt] = []

    def wait_until_ready(self) -> float:
        """Wait for all workers; returns the seconds waited. RolloutError: they cannot be started."""
        started = self._now()
        if not self._ready:
            for index, slot in enumerate(self._slots):
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
        if self._generating:
            raise RuntimeError("a pool serves one generate() at a time")
        self.wait_until_ready()
        self._generating = True
        waiting = deque(range(len(prompts)))
        limit = max(1, ceil(QUEUE_DEPTH * self._recipe.max_num_seqs / sampling.num_generations))
        try:
            while waiting or any(slot.outstanding for slot in self._slots):
                if self._should_stop() and may_stop:
                    raise Interrupted
                self._submit(waiting, limit, prompts, sampling, seed)
                futures = [future for slot in self._slots for future in slot.outstanding]
                wait(futures, POLL_S, FIRST_COMPLETED)
                for slot in self._slots:
                    for index, generated in self._collect(slot, waiting, may_stop=may_stop):
                        yield index, self._counted(prompts[index], generated)
        finally:
            self._generating = False
            for slot in self._slots:
                if slot.outstanding:
                    slot.outstanding.clear()
                    slot.worker.abort()
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
        if self._generating:
            raise RuntimeError("weights cannot change while groups are sampled")
        self.wait_until_ready()
        refs = self._refs(ref)
        self._weights = ref
        loads = [(slot, slot.worker, slot.worker.load_weights(to)) for slot, to in zip(self._slots, refs, strict=True)]
        gaps: list[float] = []
        for slot, worker, load in loads:
            try:
                gaps.append(self._result(load, may_stop=False))
            except WorkerDied as error:
                gaps.append(self._replace(slot, worker, error, may_stop=False))
        for index, gap in enumerate(gaps):
            self._check_gap(f"worker {index}", ref, gap)
        self._count("weights_mib", len(gaps) * ref.num_bytes / 2**20)
        return max(gaps)

    def counters(self) -> dict[str, float]:
        """Summed over workers, since the last call: see docs/rollout.md. What a dead worker counted is lost.

        Not interrupted, as a load of weights.
        """
        counts, self._counters = self._counters, {}
        total = {"restarts": 0.0, "resubmitted": 0.0, "failed_requests": 0.0} | counts
        self.wait_until_ready()
        for slot in self._slots:
            for name, value in self._call(slot, lambda worker: worker.counters(), may_stop=False).items():
                total[name] = total.get(name, 0.0) + value
        return total

    def failed(self) -> tuple[FailedPrompt, ...]:
        """Prompts that could not be sampled since the last call."""
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

    def _submit(
        self, waiting: deque[int], limit: int, prompts: Sequence[Prompt], sampling: Sampling, seed: int
    ) -> None:
        while waiting:
            slot = min(self._slots, key=lambda slot: len(slot.outstanding))
            if len(slot.outstanding) >= limit:
                return
            index = waiting.popleft()
            if not slot.outstanding:
                slot.answered_at = self._now()
            future = slot.worker.generate(prompts[index], sampling, request_seed(seed, index))
            slot.outstanding[future] = index

    def _collect(self, slot: _Slot, waiting: deque[int], *, may_stop: bool) -> list[tuple[int, Generated]]:
        """(index, result) of finished requests.

        A worker that died or stalled is replaced; its open requests go back to `waiting`.
        """
        finished: list[tuple[int, Generated]] = []
        died: WorkerDied | None = None
        for future in [future for future in slot.outstanding if future.done()]:
            try:
                finished.append((slot.outstanding[future], future.result()))
            except WorkerDied as error:
                died = died or error
            else:
                del slot.outstanding[future]
                slot.answered_at = self._now()
        if slot.outstanding and self._now() - slot.answered_at > self._recipe.stall_timeout_s:
            died = died or self._stalled("finished no group")
        if died is not None:
            unfinished = sorted(slot.outstanding.values())
            slot.outstanding.clear()
            self._replace(slot, slot.worker, died, may_stop=may_stop)
            waiting.extendleft(reversed(unfinished))
            self._count("resubmitted", len(unfinished))
        return finished

    def _counted(self, prompt: Prompt, generated: Generated) -> tuple[Completion, ...]:
        if generated.problem is not None:
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
        """Put a new worker with the current weights in `slot`; returns the gap of their probe, 0 without weights."""
        index = self._slots.index(slot)
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
