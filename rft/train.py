"""The training loop, and the two parts it is handed: a rollout pool and a learner."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from rft.clock import Clock, PhaseSpan
from rft.rollout_batches import RolloutBatch, RolloutBatches
from rft.scoring.group_metrics import join_metrics
from rft.types import Prompt, Sampler, TokenRatio, TrainGroup
from rft.weights.ref import WeightsRef


class RolloutPool(Sampler, Protocol):
    """Where completions come from: vLLM workers in a run, a hand-written fake in tests."""

    def load_weights(self, ref: WeightsRef) -> float:
        """Serve these weights from now on; returns the probe's mean log-probability gap."""
        ...

    def counters(self) -> dict[str, float]:
        """What happened since the last call: cache hits, tokens, restarts."""
        ...


class Learner(Protocol):
    """What turns groups into a new policy."""

    @property
    def policy_version(self) -> int: ...

    def prefetch(self, prompts: Sequence[Prompt]) -> None:
        """Completions of these come next: read the prompts meanwhile. Returns at once."""
        ...

    def update(self, groups: Sequence[TrainGroup]) -> dict[str, float]:
        """One batch of GRPO; returns its metrics."""
        ...

    @property
    def token_ratios(self) -> Mapping[int, Sequence[TokenRatio]]:
        """Of the last update: place of a completion among those of all groups -> its tokens that engine and learner
        give different probabilities."""
        ...

    def publish_weights(self) -> WeightsRef:
        """Put the current weights where the pool can fetch them."""
        ...

    def save(self, directory: Path) -> None:
        """Write policy, optimizer and random state."""
        ...


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step leaves for the record."""

    step: int
    """From 0."""
    batch: RolloutBatch
    metrics: dict[str, float]
    spans: tuple[PhaseSpan, ...]
    """When the learner's side did what."""
    next_batch: RolloutBatch | None
    """Of the next step, where it is sampled already; a checkpoint holds it."""
    token_ratios: Mapping[int, Sequence[TokenRatio]] = field(default_factory=dict)
    """As the learner has them."""


class Recorder(Protocol):
    """What keeps the record of a run: metrics, rollouts, checkpoints, evaluations, the live view."""

    def progress(self, phase: str, done: int, total: int) -> None:
        """`done` of `total` units of a phase; 0 where it begins. `total` 0: not known."""
        ...

    def step(self, result: StepResult) -> None: ...

    def after_step(self) -> None:
        """Save and evaluate where due."""
        ...


def train(
    batches: RolloutBatches,
    pool: RolloutPool,
    learner: Learner,
    record: Recorder,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Run the steps of `batches`, until `should_stop` after a step, or an interrupt: a step half done is not recorded.

    Closes `batches`.
    """
    with closing(batches):
        for step, batch in batches:
            clock = Clock({"wait": batch.waited_s})
            staleness = batches.staleness(batch, learner.policy_version)
            record.progress("update", 0, 0)
            with clock.phase("update"):
                learned = learner.update(batch.train_groups)
            with clock.phase("wait"):
                next_batch = batches.finish_ahead()
            with clock.phase("weights"):
                probe_gap = pool.load_weights(learner.publish_weights())
            of_batch = batch.metrics() | staleness
            metrics = join_metrics(learned, {"probe_gap": probe_gap}, of_batch, pool.counters(), clock.metrics())
            spans = tuple(clock.spans)
            record.step(StepResult(step, batch, metrics, spans, next_batch, learner.token_ratios))
            if should_stop():
                return
            record.after_step()
