"""The training loop, and the two parts it is handed: a rollout pool and a learner."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from rft.errors import Interrupted
from rft.metrics import Clock, group_metrics
from rft.recipe import Recipe
from rft.scoring import TrainBatch, score_group, train_samples
from rft.types import Completion, Group, Prompt, Sampling, TrainSample, WeightsRef


class RolloutPool(Protocol):
    """Where completions come from: vLLM workers in a run, a hand-written fake in tests."""

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, seed: int
    ) -> Iterator[tuple[int, tuple[Completion, ...]]]:
        """Yield (index into prompts, its completions) as groups finish. Raises Interrupted when asked to stop."""
        ...

    def load_weights(self, ref: WeightsRef) -> float:
        """Serve these weights from now on; returns the probe's mean log-probability gap."""
        ...

    def counters(self) -> dict[str, float]:
        """What happened since the last call: cache hits, tokens, restarts."""
        ...


class Learner(Protocol):
    """What turns samples into a new policy."""

    @property
    def policy_version(self) -> int: ...

    def update(self, samples: Sequence[TrainSample]) -> dict[str, float]:
        """One batch of GRPO; returns its metrics."""
        ...

    def publish_weights(self) -> WeightsRef:
        """Put the current weights where the pool can fetch them."""
        ...

    def save(self, directory: Path) -> None:
        """Write policy, optimizer and random state."""
        ...


class PromptSource(Protocol):
    """Prompts in a seeded order that can be continued from a position."""

    position: int

    def take(self, n: int) -> tuple[Prompt, ...]: ...


class Recorder(Protocol):
    """What keeps the record of a run: metrics, rollouts, checkpoints, evaluations, the live view."""

    def progress(self, phase: str, done: int, total: int) -> None:
        """`done` of `total` units of a phase; 0 where it begins. `total` 0: not known."""
        ...

    def step(self, step: int, groups: Sequence[Group], batch: TrainBatch, metrics: dict[str, float]) -> None: ...

    def after_step(self) -> None:
        """Save and evaluate where due."""
        ...


def train(
    recipe: Recipe,
    prompts: PromptSource,
    pool: RolloutPool,
    learner: Learner,
    record: Recorder,
    *,
    first_step: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
) -> int:
    """Run steps first_step..recipe.steps - 1; returns how many steps the run has behind it.

    A step that `Interrupted` leaves half done is not recorded, and its prompts are the next ones again.
    """
    for step in range(first_step, recipe.steps):
        position, clock = prompts.position, Clock()
        try:
            groups, batch = collect(recipe, prompts, pool, record, step, clock)
        except Interrupted:
            prompts.position = position
            return step
        record.progress("update", 0, 0)
        with clock.phase("update"):
            metrics = learner.update(batch.samples)
        with clock.phase("weights"):
            metrics["probe_gap"] = pool.load_weights(learner.publish_weights())
        metrics |= group_metrics(groups) | batch.metrics() | pool.counters()
        record.step(step, groups, batch, metrics | {f"seconds/{name}": s for name, s in clock.seconds.items()})
        if should_stop():
            return step + 1
        record.after_step()
    return recipe.steps


def collect(
    recipe: Recipe, prompts: PromptSource, pool: RolloutPool, record: Recorder, step: int, clock: Clock
) -> tuple[list[Group], TrainBatch]:
    """Sample and score the groups of one step; up to max_resamples further prompts replace groups without signal."""
    groups: list[Group] = []
    wanted, most = recipe.prompts_per_step, recipe.prompts_per_step + recipe.algorithm.max_resamples
    while True:
        with clock.phase("data"):
            taken = prompts.take(wanted)
        seed = rollout_seed(recipe.seed, step, len(groups))
        groups += sample_groups(recipe, taken, pool, record, seed, clock)
        batch = train_samples(groups, recipe)
        wanted = min(recipe.prompts_per_step - batch.num_with_signal, most - len(groups))
        if wanted <= 0:
            return groups, batch


def sample_groups(
    recipe: Recipe, prompts: Sequence[Prompt], pool: RolloutPool, record: Recorder, seed: int, clock: Clock
) -> list[Group]:
    """One scored group per prompt, in the order of the prompts; scored while others are still sampled."""
    groups: dict[int, Group] = {}
    record.progress("rollout", 0, len(prompts))
    with clock.phase("rollout"):
        for index, completions in pool.generate(prompts, recipe.sampling.sampling(), seed):
            groups[index] = score_group(prompts[index], completions, recipe)
            record.progress("rollout", len(groups), len(prompts))
    return [groups[index] for index in range(len(prompts))]


def rollout_seed(seed: int, step: int, num_before: int) -> int:
    """A seed for each request of a run, the same again after a resume."""
    return (seed * 1_000_003 + step) * 1_009 + num_before
