"""The training loop, and the two parts it is handed: a rollout pool and a learner."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from rft.clock import Clock, PhaseSpan
from rft.errors import Interrupted
from rft.recipe import Recipe
from rft.scoring.frame_order import with_order_bonus
from rft.scoring.ground_truth import with_ground_truth
from rft.scoring.group import TrainBatch, running_spread, score_group, solved, train_samples
from rft.scoring.group_metrics import group_metrics, join_metrics
from rft.types import Completion, Group, Prompt, Sampling, TrainSample
from rft.weights.ref import WeightsRef


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

    def expect(self, prompts: Sequence[Prompt]) -> None:
        """Completions of these come next: read the prompts meanwhile. Returns at once."""
        ...

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

    def drop(self, prompt_ids: Sequence[str]) -> None:
        """Do not give these again at later positions."""
        ...


@dataclass(frozen=True, slots=True)
class Collected:
    """The scored groups of one step, and what to learn from them."""

    groups: tuple[Group, ...]
    batch: TrainBatch
    position: int
    """Of the prompts, before these were taken."""
    seconds: dict[str, float]
    """By phase."""
    spans: tuple[PhaseSpan, ...] = ()
    """When its phases ran."""
    variances: Mapping[str, float] = field(default_factory=dict)
    """Task -> variance of the rewards inside a group, running over the steps; these groups included."""


@dataclass(frozen=True, slots=True)
class FinishedStep:
    """What a step leaves for the record."""

    number: int
    """From 0."""
    collected: Collected
    metrics: dict[str, float]
    spans: tuple[PhaseSpan, ...]
    """When the learner's side did what."""
    upcoming: Collected | None
    """The next step's groups where they are sampled already; a checkpoint holds them."""


class Recorder(Protocol):
    """What keeps the record of a run: metrics, rollouts, checkpoints, evaluations, the live view."""

    def progress(self, phase: str, done: int, total: int) -> None:
        """`done` of `total` units of a phase; 0 where it begins. `total` 0: not known."""
        ...

    def step(self, done: FinishedStep) -> None: ...

    def after_step(self) -> None:
        """Save and evaluate where due."""
        ...


Progress = Callable[[str, int, int], None]


def train(
    recipe: Recipe,
    prompts: PromptSource,
    pool: RolloutPool,
    learner: Learner,
    record: Recorder,
    *,
    first_step: int = 0,
    upcoming: Collected | None = None,
    variances: Mapping[str, float] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> int:
    """Run steps first_step..recipe.steps - 1; returns how many steps the run has behind it.

    With `rollout.ahead`, the groups of the next step are sampled while the learner works, by the policy that this
    step's groups came from. `upcoming`: the groups of the first step, where a checkpoint holds them. A step that
    `Interrupted` leaves half done is not recorded, and its prompts are the next ones again.
    """
    with ThreadPoolExecutor(1, "rollouts") as background:
        for step in range(first_step, recipe.steps):
            clock = Clock()
            try:
                collected = upcoming or collect(
                    recipe, prompts, pool, step, variances or {}, learner.expect, record.progress
                )
            except Interrupted:
                return step
            variances, following = collected.variances, None
            if recipe.rollout.ahead and step + 1 < recipe.steps:
                following = background.submit(collect, recipe, prompts, pool, step + 1, variances, _unread, _unseen)
            record.progress("update", 0, 0)
            with clock.phase("update"):
                metrics = learner.update(collected.batch.samples)
            with clock.phase("wait"):
                upcoming = _finished(following)
            with clock.phase("weights"):
                probe = {"probe_gap": pool.load_weights(learner.publish_weights())}
            seconds = _seconds(collected, clock, was_ahead=recipe.rollout.ahead > 0 and step > first_step)
            scored = group_metrics(collected.groups), collected.batch.metrics()
            metrics = join_metrics(metrics, probe, *scored, pool.counters(), seconds)
            record.step(FinishedStep(step, collected, metrics, tuple(clock.spans), upcoming))
            if should_stop():
                return step + 1
            record.after_step()
    return recipe.steps


def collect(
    recipe: Recipe,
    prompts: PromptSource,
    pool: RolloutPool,
    step: int,
    variances: Mapping[str, float],
    expect: Callable[[Sequence[Prompt]], None],
    on_progress: Progress,
) -> Collected:
    """Sample and score the groups of one step; up to max_resamples further prompts replace groups without signal.

    `expect` is told the prompts before they are sampled. Where it is interrupted, the prompts are set back.
    """
    groups: list[Group] = []
    position, clock = prompts.position, Clock()
    wanted, most = recipe.prompts_per_step, recipe.prompts_per_step + recipe.algorithm.max_resamples
    try:
        while wanted > 0:
            with clock.phase("data"):
                taken = prompts.take(wanted)
            expect(taken)
            seed = rollout_seed(recipe.seed, step, len(groups))
            with clock.phase("rollout"):
                sampled = sample_groups(recipe, taken, pool, seed, on_progress)
            groups += sampled
            variances = running_spread(variances, sampled)
            batch = train_samples(groups, recipe, variances)
            wanted = min(recipe.prompts_per_step - batch.num_with_signal, most - len(groups))
    except Interrupted:
        prompts.position = position
        raise
    prompts.drop(solved(groups, recipe))
    return Collected(tuple(groups), batch, position, clock.seconds, tuple(clock.spans), variances)


def sample_groups(
    recipe: Recipe, prompts: Sequence[Prompt], pool: RolloutPool, seed: int, on_progress: Progress
) -> list[Group]:
    """One scored group per prompt, in the order of the prompts; scored while others are still sampled."""
    groups: dict[int, Group] = {}
    on_progress("rollout", 0, len(prompts))
    for index, completions in pool.generate(prompts, recipe.sampling.sampling(), seed):
        groups[index] = with_ground_truth(score_group(prompts[index], completions, recipe), recipe)
        on_progress("rollout", len(groups), len(prompts))
    ordered = [groups[index] for index in range(len(prompts))]
    return with_order_bonus(ordered, recipe, pool.generate, seed, on_progress)


def rollout_seed(seed: int, step: int, num_before: int) -> int:
    """A seed for each request of a run, the same again after a resume."""
    return (seed * 1_000_003 + step) * 1_009 + num_before


def _finished(following: Future[Collected] | None) -> Collected | None:
    """The groups of the next step; None where they are not sampled ahead, or were interrupted."""
    if following is None:
        return None
    try:
        return following.result()
    except Interrupted:
        return None


def _seconds(collected: Collected, clock: Clock, was_ahead: bool) -> dict[str, float]:
    """Metrics of the time a step took. What ran behind the step before has names of its own: it took none."""
    behind = "ahead_" if was_ahead else ""
    seconds = {f"seconds/{behind}{name}": s for name, s in collected.seconds.items()}
    return seconds | {f"seconds/{name}": s for name, s in clock.seconds.items()}


def _unread(prompts: Sequence[Prompt]) -> None:
    """Prompts that are sampled while the learner has other work than to read them."""


def _unseen(phase: str, done: int, total: int) -> None:
    """Progress of rollouts behind the learner's, which is the one shown."""
