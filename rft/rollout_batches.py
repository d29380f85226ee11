"""The batches of a run: groups of prompts that are sampled and scored, at most one step ahead of the learner."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from rft.clock import Clock, PhaseSpan
from rft.errors import Interrupted
from rft.recipe import Recipe
from rft.scoring.frame_order import with_order_bonus
from rft.scoring.group import ScoreGroup, score_by_recipe, solved
from rft.scoring.group_metrics import group_metrics, join_metrics, train_group_metrics
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
    """Of the prompts, before these were taken."""
    variances: Mapping[str, float]
    """Task -> variance of the rewards inside a group, running over the steps; these groups included."""
    seconds: Mapping[str, float]
    """Phase -> how long it took; {} where a checkpoint held the groups."""
    spans: tuple[PhaseSpan, ...] = ()
    """When its phases ran."""
    counters: Mapping[str, float] = field(default_factory=dict)
    """Of what scored the groups, such as the requests to a judge."""
    is_ahead: bool = False
    """Sampled while the learner worked on the step before."""

    def metrics(self) -> dict[str, float]:
        """Counts and means of the groups, and seconds by phase: what is sampled ahead takes none of the step's."""
        prefix = "seconds/ahead_" if self.is_ahead else "seconds/"
        seconds = {f"{prefix}{name}": s for name, s in self.seconds.items()}
        of_groups = train_group_metrics(self.groups, self.train_groups)
        return join_metrics(group_metrics(self.groups), of_groups, seconds, self.counters)


class RolloutBatches:
    """Iterates over (step, its batch) from `first_step` on, up to the recipe's last step or an interrupt.

    With `rollout.ahead`, sampling of the next batch begins in the background when one is handed out, by the policy
    that this one came from. A batch that `Interrupted` leaves half done sets its prompts back.
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
        self._first_step, self._next_batch, self._variances = first_step, next_batch, variances or {}
        self._score, self._score_counters = score, score_counters
        self._sampling: Future[RolloutBatch] | None = None
        self._background = ThreadPoolExecutor(1, "rollouts")

    def __iter__(self) -> Iterator[tuple[int, RolloutBatch]]:
        for step in range(self._first_step, self._recipe.steps):
            try:
                batch = self.finish_ahead() or self._sample(step)
            except Interrupted:
                return
            self._next_batch, self._variances = None, batch.variances
            if self._recipe.rollout.ahead and step + 1 < self._recipe.steps:
                self._sampling = self._background.submit(self._sample, step + 1, is_ahead=True)
            yield step, batch

    def finish_ahead(self) -> RolloutBatch | None:
        """Wait for the batch that is sampled ahead; None where there is none, or it was interrupted."""
        if self._sampling is not None:
            sampling, self._sampling = self._sampling, None
            try:
                self._next_batch = sampling.result()
            except Interrupted:
                self._next_batch = None
        return self._next_batch

    def close(self) -> None:
        """Wait for what is sampled in the background."""
        self._background.shutdown()

    def _sample(self, step: int, *, is_ahead: bool = False) -> RolloutBatch:
        """Sample and score the groups of a step; up to max_resamples further prompts replace groups without signal."""
        recipe, prompts, clock = self._recipe, self._prompts, Clock()
        groups: list[Group] = []
        position, variances = prompts.position, self._variances
        wanted, most = recipe.prompts_per_step, recipe.prompts_per_step + recipe.algorithm.max_resamples
        try:
            while wanted > 0:
                with clock.phase("data"):
                    taken = prompts.take(wanted)
                seed = rollout_seed(recipe.seed, step, len(groups))
                with clock.phase("rollout"):
                    sampled = self._sample_groups(taken, seed, is_ahead)
                groups += sampled
                variances = running_reward_variances(variances, sampled)
                learned = train_groups(groups, recipe.algorithm, variances)
                num_with_signal = sum(group.has_signal for group in learned)
                wanted = min(recipe.prompts_per_step - num_with_signal, most - len(groups))
        except Interrupted:
            prompts.position = position
            raise
        prompts.drop(solved(groups, recipe.tasks, recipe.data.drop_solved))
        phases, counters = (clock.seconds, tuple(clock.spans)), self._score_counters()
        return RolloutBatch(tuple(groups), learned, position, variances, *phases, counters, is_ahead)

    def _sample_groups(self, prompts: Sequence[Prompt], seed: int, is_ahead: bool) -> list[Group]:
        """One scored group per prompt, in the order of the prompts; scored while others are still sampled."""

        def progress(phase: str, done: int, total: int) -> None:
            if not is_ahead:  # the update's progress is the one shown
                self._on_progress(phase, done, total)

        # A request to stop waits for the update, and for what is sampled meanwhile: the resumed run learns from it.
        may_stop = not is_ahead
        if not is_ahead:  # else the learner is busy with the update
            self._prefetch(prompts)
        groups: dict[int, Group] = {}
        progress("rollout", 0, len(prompts))
        sampling = self._recipe.sampling.sampling()
        for index, completions in self._sampler.generate(prompts, sampling, seed, may_stop=may_stop):
            group = self._score(prompts[index], completions, self._recipe)
            groups[index] = with_ground_truth(group, self._recipe, self._score)
            progress("rollout", len(groups), len(prompts))
        ordered = [groups[index] for index in range(len(prompts))]
        return with_order_bonus(ordered, self._recipe, self._sampler, seed, progress, self._score, may_stop=may_stop)


def rollout_seed(seed: int, step: int, num_before: int) -> int:
    """A seed for each request of a run, the same again after a resume."""
    return (seed * 1_000_003 + step) * 1_009 + num_before
