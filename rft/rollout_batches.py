"""The batches of a run: groups of prompts that are sampled and scored, as many steps ahead as the recipe allows."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Protocol

from rft.clock import Clock, PhaseSpan
from rft.errors import Interrupted
from rft.recipe import Recipe
from rft.scoring.frame_order import with_order_bonus
from rft.scoring.group import ScoreGroup, score_by_recipe, solved
from rft.scoring.group_metrics import group_metrics, join_metrics, staleness_metrics, train_group_metrics
from rft.scoring.train_groups import running_reward_variances, train_groups, with_ground_truth
from rft.types import Group, Prompt, Sampler, TrainGroup

Prefetch = Callable[[Sequence[Prompt]], None]
"""Is told the prompts whose completions come next; returns at once."""

Progress = Callable[[str, int, int], None]
"""Is told a phase, how many of its units are done, and how many there are."""


class PromptSource(Protocol):
    """Prompts in a seeded order that can be continued from a position."""

    position: int

    def take(self, n: int) -> tuple[Prompt, ...]: ...

    def drop(self, prompt_ids: Sequence[str]) -> None:
        """Do not give these again at later positions."""
        ...


@dataclass(frozen=True, slots=True)
class RolloutBatch:
    """The scored groups of one step, and what the learner learns of them."""

    groups: tuple[Group, ...]
    train_groups: tuple[TrainGroup, ...]
    position: int
    """Of the prompts, after these were taken."""
    variances: Mapping[str, float]
    """Task -> variance of the rewards inside a group, running over the steps; these groups included."""
    seconds: Mapping[str, float]
    """Phase -> how long it took; {} where a checkpoint held the groups."""
    spans: tuple[PhaseSpan, ...] = ()
    """When its phases ran."""
    counters: Mapping[str, float] = field(default_factory=dict)
    """Of what scored the groups, such as the requests to a judge."""
    is_ahead: bool = False
    """Sampled while the learner worked on steps before."""
    waited_s: float = 0.0
    """How long the learner waited for it, having nothing else to do."""

    def metrics(self) -> dict[str, float]:
        """Counts and means of the groups, and seconds by phase: what is sampled ahead takes none of the step's."""
        prefix = "seconds/ahead_" if self.is_ahead else "seconds/"
        seconds = {f"{prefix}{name}": s for name, s in self.seconds.items()}
        of_groups = train_group_metrics(self.groups, self.train_groups)
        return join_metrics(group_metrics(self.groups), of_groups, seconds, self.counters)


class RolloutBatches:
    """Iterates over (step, its batch) from `first_step` on, up to the recipe's last step or an interrupt.

    With `rollout.ahead`, sampling of the next batch begins in the background when one is handed out, by the policy
    that this one came from. With `rollout.partial` so many batches are sampled at a time, and go on under new weights.
    """

    def __init__(
        self,
        recipe: Recipe,
        prompts: PromptSource,
        sampler: Sampler,
        prefetch: Prefetch,
        on_progress: Progress,
        *,
        first_step: int = 0,
        next_batch: RolloutBatch | None = None,
        variances: Mapping[str, float] | None = None,
        score: ScoreGroup = score_by_recipe,
        score_counters: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        """`next_batch`: of the first step, where a checkpoint holds it. `variances`: as the last step left them.

        `score_counters`: what `score` counted since the last call.
        """
        self._recipe, self._prompts, self._sampler = recipe, prompts, sampler
        self._prefetch, self._on_progress = prefetch, on_progress
        self._first_step, self._variances = first_step, variances or {}
        self._score, self._score_counters = score, score_counters
        self._ahead: deque[Future[RolloutBatch]] = deque()
        """The batches of the next steps whose sampling has begun."""
        self._num_begun = first_step
        """Steps whose sampling has begun, counted from the first of the run."""
        if next_batch is not None:
            sampled: Future[RolloutBatch] = Future()
            sampled.set_result(next_batch)
            self._ahead.append(sampled)
            self._num_begun += 1
        self._background = ThreadPoolExecutor(recipe.rollout.ahead + 1, "rollouts")
        # One thread: each step's prompts follow those of the step before.
        self._taking = ThreadPoolExecutor(1, "prompts")
        self._ordering, self._scoring = threading.Lock(), threading.Lock()

    def __iter__(self) -> Iterator[tuple[int, RolloutBatch]]:
        rollout = self._recipe.rollout
        for step in range(self._first_step, self._recipe.steps):
            if rollout.partial:
                self._begin_until(step + rollout.ahead)
            try:
                batch = self._next(step)
            except Interrupted:
                return
            self._variances = batch.variances
            if rollout.ahead:
                self._begin_until(step + rollout.ahead)
            yield step, batch

    def finish_ahead(self) -> RolloutBatch | None:
        """Wait for the batch that is sampled ahead; None where there is none, it was interrupted, or it goes on being
        sampled under new weights."""
        if not self._ahead or self._recipe.rollout.partial:
            return None
        try:
            return self._ahead[0].result()
        except Interrupted:
            return None

    def staleness(self, batch: RolloutBatch, policy_version: int) -> dict[str, float]:
        """How far behind the policy that is to learn the policies are that drew the batch; {} where none may be.

        RuntimeError: further than `rollout.ahead` steps.
        """
        recipe = self._recipe
        if not recipe.rollout.ahead:
            return {}
        metrics = staleness_metrics(batch.groups, policy_version)
        most, bound = metrics.get("staleness/max", 0.0), recipe.rollout.ahead * recipe.algorithm.updates_per_step
        if most > bound:
            raise RuntimeError(f"a completion is {most:g} policy versions old; rollout.ahead allows {bound}")
        return metrics

    def close(self) -> None:
        """Wait for what is sampled in the background."""
        self._background.shutdown()
        self._taking.shutdown()

    def _begin_until(self, last: int) -> None:
        """Begin to sample the steps up to `last`."""
        while self._num_begun <= min(last, self._recipe.steps - 1):
            taking = self._taking.submit(self._take, self._recipe.prompts_per_step)
            before = self._ahead[-1] if self._ahead else None
            self._ahead.append(self._background.submit(self._sample, self._num_begun, taking, before))
            self._num_begun += 1

    def _next(self, step: int) -> RolloutBatch:
        """The batch of `step`, once it is sampled."""
        if not self._ahead:
            self._num_begun += 1
            return self._sample(step)
        sampling, clock = self._ahead.popleft(), Clock()
        if not sampling.done():
            self._on_progress("wait", 0, 0)
        with clock.phase("wait"):
            batch = sampling.result()
        return replace(batch, waited_s=clock.seconds["wait"])

    def _take(self, number: int) -> tuple[tuple[Prompt, ...], int]:
        """(the next prompts, the position after them)."""
        with self._ordering:
            return self._prompts.take(number), self._prompts.position

    def _sample(
        self,
        step: int,
        taking: Future[tuple[tuple[Prompt, ...], int]] | None = None,
        before: Future[RolloutBatch] | None = None,
    ) -> RolloutBatch:
        """Sample and score the groups of a step; up to max_resamples further prompts replace groups without signal.

        `taking`: the first prompts, of a step in the background. `before`: the step before, where it is sampled at the
        same time.
        """
        recipe, clock, is_ahead = self._recipe, Clock(), taking is not None
        groups: list[Group] = []
        variances = self._variances
        wanted, most = recipe.prompts_per_step, recipe.prompts_per_step + recipe.algorithm.max_resamples
        while wanted > 0:
            with clock.phase("data"):
                taken, position = taking.result() if taking and not groups else self._take(wanted)
            seed = rollout_seed(recipe.seed, step, len(groups))
            with clock.phase("rollout"):
                sampled = self._sample_groups(taken, seed, is_ahead)
            groups += sampled
            variances = running_reward_variances(before.result().variances if before else variances, sampled)
            learned = train_groups(groups, recipe.algorithm, variances)
            num_with_signal = sum(group.has_signal for group in learned)
            wanted = min(recipe.prompts_per_step - num_with_signal, most - len(groups))
        with self._ordering:
            self._prompts.drop(solved(groups, recipe.tasks, recipe.data.drop_solved))
        phases, counters = (clock.seconds, tuple(clock.spans)), self._score_counters()
        return RolloutBatch(tuple(groups), learned, position, variances, *phases, counters, is_ahead)

    def _sample_groups(self, prompts: Sequence[Prompt], seed: int, is_ahead: bool) -> list[Group]:
        """One scored group per prompt, in the order of the prompts; scored while others are still sampled."""

        def progress(phase: str, done: int, total: int) -> None:
            if not is_ahead:  # the update's progress is the one shown
                self._on_progress(phase, done, total)

        # A request to stop waits for the update, and for what a checkpoint holds of what is sampled meanwhile.
        may_stop = not is_ahead or self._recipe.rollout.partial
        if not is_ahead:  # else the learner is busy with the update
            self._prefetch(prompts)
        groups: dict[int, Group] = {}
        progress("rollout", 0, len(prompts))
        sampling = self._recipe.sampling.sampling()
        for index, completions in self._sampler.generate(prompts, sampling, seed, may_stop=may_stop):
            with self._scoring:
                group = self._score(prompts[index], completions, self._recipe)
                groups[index] = with_ground_truth(group, self._recipe, self._score)
            progress("rollout", len(groups), len(prompts))
        ordered = [groups[index] for index in range(len(prompts))]
        return with_order_bonus(ordered, self._recipe, self._sampler, seed, progress, self._score, may_stop=may_stop)


def rollout_seed(seed: int, step: int, num_before: int) -> int:
    """A seed for each request of a run, the same again after a resume."""
    return (seed * 1_000_003 + step) * 1_009 + num_before
