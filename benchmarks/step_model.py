"""Steps of training as events: engines that sample, a learner that updates, the hand-over of weights between them."""

import heapq
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import mean

STRIDE = 16
"""Positions that an engine decodes before it looks whether it may begin further groups."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds of the parts of a step."""

    vision: float
    """Of an engine, per prompt: its clip through the tower."""
    prefill: float
    """Of an engine, per prompt."""
    decode_step: float
    """Of an engine, per position, however many sequences it decodes."""
    decode_token: float
    """Of an engine, per position and sequence, on top."""
    update: float
    """Of every rank, per update."""
    update_prompt: float
    """Of a rank, per group."""
    update_token: float
    """Of a rank, per completion token."""
    update_floor: float
    """Of every rank, per update, at least: what ranks exchange while they compute."""
    hand_over: float
    """Of weights to all engines, and what else a step does while nothing is sampled or learned."""


@dataclass(frozen=True, slots=True)
class Layout:
    engines: int
    slots: int
    """Sequences that an engine decodes at a time."""
    ranks: int
    ahead: int = 0
    """Updates that the policy of a group may be behind the one that learns from it."""
    partial: bool = False
    """Unfinished completions go on under new weights; False: the hand-over waits until nothing is sampled."""
    cores: float = math.inf
    """Processes that run at full speed at a time; more than these share it."""


@dataclass(frozen=True, slots=True)
class SampledGroup:
    lengths: tuple[int, ...]
    """Tokens of each completion."""
    is_learned: bool = True
    """False: without signal, dropped."""


Batch = Sequence[SampledGroup]


@dataclass(frozen=True, slots=True)
class Steps:
    """What a simulation found, in seconds."""

    step: float
    """Mean, from hand-over to hand-over."""
    engine: Mapping[str, float]
    """Phase -> mean of the engines, per step."""
    learner: Mapping[str, float]
    """Phase -> per step."""

    @property
    def engine_idle(self) -> float:
        return max(0.0, self.step - sum(self.engine.values()))

    @property
    def learner_idle(self) -> float:
        return max(0.0, self.step - sum(self.learner.values()))

    @property
    def bound(self) -> str:
        """The longest phase of whichever side idles less."""
        busier = self.learner if self.learner_idle < self.engine_idle else self.engine
        return max(busier, key=lambda phase: busier[phase])


Work = tuple[str, float]
"""A phase, and its seconds at full speed."""

Process = Iterator[Work | Callable[[], bool]]
"""Does work, or waits until a condition holds."""


def simulate(costs: Costs, layout: Layout, batches: Sequence[Batch]) -> Steps:
    """Train on these batches, in order, at least 2 + 3 * `layout.ahead`: the first and last ones are not counted.

    Groups go to engines in order, each to the first that has room for it.
    """
    run = Run(costs, layout, batches)
    engines = [run.engine() for _ in range(layout.engines)]
    seconds = run.play([run.learner(), *engines])
    ends = run.hand_overs[2 * layout.ahead : len(batches) - layout.ahead]
    of_learner, *of_engines = ({phase: s / len(batches) for phase, s in phases.items()} for phases in seconds)
    names = ("vision", "prefill", "decode", "hand_over")
    engine = {name: mean(phases.get(name, 0.0) for phases in of_engines) for name in names}
    return Steps((ends[-1] - ends[0]) / (len(ends) - 1), {n: s for n, s in engine.items() if s}, of_learner)


class Run:
    """The state that engines and learner share."""

    def __init__(self, costs: Costs, layout: Layout, batches: Sequence[Batch]) -> None:
        self.costs, self.layout, self.batches = costs, layout, batches
        self.groups = [(step, group) for step, batch in enumerate(batches) for group in batch]
        self.missing = [len(batch) for batch in batches]
        """Per step, groups that are not sampled yet."""
        self.num_begun = self.num_sampling = self.version = 0
        self.now = 0.0
        self.hand_overs: list[float] = []
        """When each ended."""
        self.news = False
        """Whether a condition may have come true."""

    def play(self, processes: Sequence[Process]) -> list[dict[str, float]]:
        """Run the processes to their ends; per process: phase -> seconds."""
        seconds: list[dict[str, float]] = [{} for _ in processes]
        working: list[tuple[float, int, str, float]] = []  # as if there were cores enough: when it ends, who, what
        waiting: dict[int, Callable[[], bool]] = dict.fromkeys(range(len(processes)), lambda: True)
        shared_s = 0.0
        self.news = True
        while True:
            while self.news:
                self.news = False
                for number in [number for number, condition in waiting.items() if condition()]:
                    del waiting[number]
                    self._go_on(number, processes[number], shared_s, working, waiting)
            if not working:
                assert not waiting, "engines and learner wait for each other"
                return seconds
            slowdown = max(1.0, len(working) / self.layout.cores)
            end_s, number, phase, start_s = heapq.heappop(working)
            self.now += (end_s - shared_s) * slowdown
            shared_s = end_s
            seconds[number][phase] = seconds[number].get(phase, 0.0) + self.now - start_s
            self._go_on(number, processes[number], shared_s, working, waiting)

    def _go_on(
        self,
        number: int,
        process: Process,
        shared_s: float,
        working: list[tuple[float, int, str, float]],
        waiting: dict[int, Callable[[], bool]],
    ) -> None:
        for wish in process:
            if not callable(wish):
                phase, more_s = wish
                heapq.heappush(working, (shared_s + more_s, number, phase, self.now))
                return
            if not wish():
                waiting[number] = wish
                return

    def may_begin(self) -> bool:
        is_left = self.num_begun < len(self.groups)
        return is_left and self.groups[self.num_begun][0] - self.version <= self.layout.ahead

    def engine(self) -> Process:
        costs, slots = self.costs, self.layout.slots
        running: list[tuple[int, int]] = []  # the position at which a completion ends, and its group
        unfinished: dict[int, int] = {}
        position = seen_version = 0
        while running or self.num_begun < len(self.groups):
            if not running:
                yield lambda: self.may_begin() or self.num_begun == len(self.groups)
            if self.layout.partial and seen_version < self.version:
                seen_version = self.version
                yield "hand_over", costs.hand_over
                # The new policy reads prompts anew, and completions so far with them.
                yield "prefill", len(unfinished) * (costs.vision + costs.prefill)
            number = self.num_begun
            lengths = self.groups[number][1].lengths if self.may_begin() else ()
            if lengths and (not running or len(running) + len(lengths) <= slots):
                self.num_begun, self.num_sampling = number + 1, self.num_sampling + 1
                self.news = True
                yield "vision", costs.vision
                yield "prefill", costs.prefill
                unfinished[number] = len(lengths)
                for length in lengths:
                    heapq.heappush(running, (position + length, number))
            elif running:
                num_positions = min(running[0][0] - position, STRIDE)
                yield "decode", num_positions * (costs.decode_step + costs.decode_token * len(running))
                position += num_positions
                while running and running[0][0] <= position:
                    number = heapq.heappop(running)[1]
                    unfinished[number] -= 1
                    if not unfinished[number]:
                        del unfinished[number]
                        self.missing[self.groups[number][0]] -= 1
                        self.num_sampling -= 1
                        self.news = True

    def is_sampled(self, step: int) -> bool:
        return not self.missing[step]

    def learner(self) -> Process:
        for step, batch in enumerate(self.batches):
            yield partial(self.is_sampled, step)
            yield "update", self.update_s(batch)
            if not self.layout.partial:
                yield lambda: not self.num_sampling and not self.may_begin()
            yield "hand_over", self.costs.hand_over
            self.version, self.news = self.version + 1, True
            self.hand_overs.append(self.now)

    def update_s(self, batch: Batch) -> float:
        """Of the rank with most to do; the costliest groups are dealt first."""
        costs, loads = self.costs, [0.0] * self.layout.ranks
        learned = [group for group in batch if group.is_learned]
        for tokens in sorted((sum(group.lengths) for group in learned), reverse=True):
            heapq.heapreplace(loads, loads[0] + costs.update_prompt + costs.update_token * tokens)
        return costs.update + max(costs.update_floor, *loads)
