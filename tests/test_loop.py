"""The loop itself, on hand-written parts: order of events, resume, interrupt, groups without signal."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rewards.targets.choice import ChoiceTarget
from rft.data.dataset import PromptOrder
from rft.data.frames import Frames
from rft.errors import CheckpointError, Interrupted
from rft.recipe import Recipe
from rft.rollout_batches import RolloutBatch, RolloutBatches
from rft.runs.ahead_batch import read_ahead_batch, write_ahead_batch
from rft.scoring.group import score_by_recipe
from rft.scoring.train_groups import DECAY
from rft.train import StepResult, train
from rft.types import Completion, Group, Prompt, Sampling, TokenRatio, TrainGroup, Video, VideoSampling
from rft.weights.ref import Probe, StoredWeights, WeightsRef

VIDEO = Video(Path("clip.mp4"), VideoSampling(2.0, 4, 8, 784, 784, 7840))


def recipe(**keys: object) -> Recipe:
    return Recipe.model_validate(
        {
            "model": "policy",
            "tasks": {"multiple_choice": {"think": False, "rewards": {"choice_accuracy": 1.0}}},
            "data": {"train": ["rows.jsonl"]},
            "steps": 3,
            "prompts_per_step": 2,
            "sampling": {"num_generations": 2},
            **keys,
        }
    )


@dataclass
class Prompts:
    position: int = 0
    dropped: list[str] = field(default_factory=list)

    def take(self, n: int) -> tuple[Prompt, ...]:
        first, self.position = self.position, self.position + n
        return tuple(
            Prompt(f"p{i}", "multiple_choice", "Which?", VIDEO, ChoiceTarget("A")) for i in range(first, first + n)
        )

    def drop(self, prompt_ids: Sequence[str]) -> None:
        self.dropped += prompt_ids


@dataclass
class Pool:
    """Answers A then B, so that each group has signal, but not for the prompts in `flat`; last prompt first."""

    flat: frozenset[str] = frozenset()
    interrupt_at_seed: int | None = None
    version: int = 0
    requests: list[tuple[tuple[str, ...], int]] = field(default_factory=list)
    may_stop: list[bool] = field(default_factory=list)

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, seed: int, *, may_stop: bool = True
    ) -> Iterator[tuple[int, tuple[Completion, ...]]]:
        if seed == self.interrupt_at_seed:
            raise Interrupted
        self.requests.append((tuple(p.prompt_id for p in prompts), seed))
        self.may_stop.append(may_stop)
        for index in reversed(range(len(prompts))):
            letters = "AA" if prompts[index].prompt_id in self.flat else "AB"
            yield (
                index,
                tuple(
                    Completion(f"<answer>{letter}</answer>", (1, 2), (-0.1, -0.2), 5, "stop", self.version)
                    for letter in letters
                ),
            )

    def load_weights(self, ref: WeightsRef) -> float:
        self.version = ref.policy_version
        return 0.0

    def counters(self) -> dict[str, float]:
        return {}


@dataclass
class Learner:
    policy_version: int = 0
    batches: list[list[tuple[str, int, float]]] = field(default_factory=list)
    num_groups: list[int] = field(default_factory=list)
    prefetched: list[tuple[str, ...]] = field(default_factory=list)

    def prefetch(self, prompts: Sequence[Prompt]) -> None:
        self.prefetched.append(tuple(prompt.prompt_id for prompt in prompts))

    def update(self, groups: Sequence[TrainGroup]) -> dict[str, float]:
        self.policy_version += 1
        self.num_groups.append(len(groups))
        self.batches.append(
            [
                (group.prompt.prompt_id, completion.policy_version, advantage)
                for group in groups
                for completion, advantage in zip(group.completions, group.advantages, strict=True)
            ]
        )
        return {"loss": 0.0}

    @property
    def token_ratios(self) -> dict[int, tuple[TokenRatio, ...]]:
        return {0: ((0, 8, float(self.policy_version)),)}

    def publish_weights(self) -> WeightsRef:
        return WeightsRef(self.policy_version, StoredWeights({}), Probe((), ()))

    def save(self, directory: Path) -> None:
        raise AssertionError("the loop leaves saving to its recorder")


@dataclass
class Record:
    steps: list[tuple[int, list[str]]] = field(default_factory=list)
    metrics: list[dict[str, float]] = field(default_factory=list)
    num_after: int = 0
    next_batch: RolloutBatch | None = None
    position: int = 0
    variances: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)

    def progress(self, phase: str, done: int, total: int) -> None:
        assert 0 <= done <= total

    def step(self, result: StepResult) -> None:
        self.steps.append((result.step, [g.prompt.prompt_id for g in result.batch.groups]))
        self.metrics.append(result.metrics)
        self.next_batch, self.position = result.next_batch, result.batch.position
        self.ratios += [ratio for ((*_, ratio),) in result.token_ratios.values()]
        self.variances.append(result.batch.variances.get("multiple_choice", 0.0))

    def after_step(self) -> None:
        self.num_after += 1


def run(
    recipe: Recipe,
    prompts: Prompts | PromptOrder,
    pool: Pool,
    learner: Learner,
    record: Record,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    **start: Any,
) -> int:
    """Returns how many steps were recorded. `start`: of RolloutBatches."""
    batches = RolloutBatches(recipe, prompts, pool, learner.prefetch, record.progress, **start)
    train(batches, pool, learner, record, should_stop)
    return len(record.steps)


def test_each_step_learns_from_the_policy_of_the_step_before() -> None:
    pool, learner, record = Pool(), Learner(), Record()
    assert run(recipe(), Prompts(), pool, learner, record) == 3
    assert record.steps == [(0, ["p0", "p1"]), (1, ["p2", "p3"]), (2, ["p4", "p5"])]
    assert [{version for _, version, _ in batch} for batch in learner.batches] == [{0}, {1}, {2}]
    assert record.num_after == 3
    assert record.ratios == [1.0, 2.0, 3.0]
    assert learner.prefetched == [prompt_ids for prompt_ids, _ in pool.requests]


def test_a_learner_that_reports_what_scoring_counts_is_refused() -> None:
    class Counting(Learner):
        def update(self, groups: Sequence[TrainGroup]) -> dict[str, float]:
            return {"num_groups": 1.0}

    with pytest.raises(ValueError, match="report the metric num_groups"):
        run(recipe(steps=1), Prompts(), Pool(), Counting(), Record())


@pytest.mark.parametrize("ahead", [0, 1])
def test_a_judge_scores_every_text_and_its_counts_are_in_the_metrics_of_the_step(ahead: int) -> None:
    judged: list[int] = []

    def score(prompt: Prompt, completions: Sequence[Completion], recipe: Recipe) -> Group:
        judged.append(len(completions))
        return score_by_recipe(prompt, completions, recipe)

    def counters() -> dict[str, float]:
        number = float(sum(judged))
        judged.clear()
        return {"judge/requests": number}

    settings = recipe(algorithm={"ground_truth": {}}, rollout={"ahead": ahead})
    record = Record()
    run(settings, Prompts(), Pool(), Learner(), record, score=score, score_counters=counters)
    # Two groups of two, each with its ground truth.
    assert [metrics["judge/requests"] for metrics in record.metrics] == [6.0, 6.0, 6.0]


def test_right_answers_get_the_positive_advantage() -> None:
    learner = Learner()
    run(recipe(steps=1), Prompts(), Pool(), learner, Record())
    signs = [advantage > 0 for _, _, advantage in learner.batches[0]]
    assert signs == [True, False, True, False]


def test_stop_and_resume_is_the_same_run() -> None:
    whole, parts = Pool(), Pool()
    run(recipe(), Prompts(), whole, Learner(), Record())
    learner, prompts = Learner(), Prompts()
    assert run(recipe(), prompts, parts, learner, Record(), should_stop=lambda: True) == 1
    assert run(recipe(), Prompts(prompts.position), parts, learner, Record(), first_step=1) == 2
    assert parts.requests == whole.requests


def test_interrupted_step_is_taken_again() -> None:
    reference = Pool()
    run(recipe(), Prompts(), reference, Learner(), Record())
    record = Record()
    stopped = run(recipe(), Prompts(), Pool(interrupt_at_seed=reference.requests[1][1]), Learner(), record)
    assert (stopped, record.position, len(record.steps)) == (1, 2, 1)


@pytest.mark.parametrize(
    ("max_resamples", "taken", "learned"),
    [(0, ["p0", "p1"], {"p1"}), (1, ["p0", "p1", "p2"], {"p1"}), (5, ["p0", "p1", "p2", "p3"], {"p1", "p3"})],
)
def test_groups_without_signal_are_replaced_up_to_the_limit(
    max_resamples: int, taken: list[str], learned: set[str]
) -> None:
    learner, record = Learner(), Record()
    pool = Pool(flat=frozenset({"p0", "p2"}))
    run(recipe(steps=1, algorithm={"max_resamples": max_resamples}), Prompts(), pool, learner, record)
    assert record.steps == [(0, taken)]
    assert {prompt_id for prompt_id, _, _ in learner.batches[0]} == learned


AHEAD = {"rollout": {"ahead": 1}}


@dataclass
class BusyLearner(Learner):
    """Its update ends only once the pool has begun to sample the next step."""

    pool: Pool = field(default_factory=Pool)
    last_step: int = 3

    def update(self, groups: Sequence[TrainGroup]) -> dict[str, float]:
        deadline = time.monotonic() + 60.0
        steps_begun = self.policy_version + 2
        while len(self.pool.requests) < min(steps_begun, self.last_step):
            assert time.monotonic() < deadline, "nothing is sampled while the learner works"
            time.sleep(0.001)
        return super().update(groups)


def test_one_step_ahead_samples_while_the_learner_works_by_the_policy_before() -> None:
    pool, record = Pool(), Record()
    learner = BusyLearner(pool=pool)
    assert run(recipe(**AHEAD), Prompts(), pool, learner, record) == 3
    assert record.steps == [(0, ["p0", "p1"]), (1, ["p2", "p3"]), (2, ["p4", "p5"])]
    assert [{version for _, version, _ in batch} for batch in learner.batches] == [{0}, {0}, {1}]
    assert learner.prefetched == [("p0", "p1")]  # later it has no time to read ahead
    assert [set(names) for names in map(timed, record.metrics)] == [
        {"data", "rollout", "update", "wait", "weights"},
        {"ahead_data", "ahead_rollout", "update", "wait", "weights"},
        {"ahead_data", "ahead_rollout", "update", "wait", "weights"},
    ]


def timed(metrics: dict[str, float]) -> list[str]:
    return [name.removeprefix("seconds/") for name in metrics if name.startswith("seconds/")]


@pytest.mark.parametrize("ground_truth", [None, {"advantage": "scaled_reward"}])
def test_groups_sampled_ahead_survive_in_the_checkpoint(tmp_path: Path, ground_truth: dict[str, str] | None) -> None:
    asked = recipe(algorithm={"ground_truth": ground_truth}, **AHEAD)
    whole_learner, learner, record = Learner(), Learner(), Record()
    whole, parts = Pool(), Pool()
    order = [Prompt(f"p{i}", "multiple_choice", "Which?", VIDEO, ChoiceTarget("A")) for i in range(6)]
    run(asked, PromptOrder(order, 0, AllClips(), 0.0), whole, whole_learner, Record())
    prompts = PromptOrder(order, 0, AllClips(), 0.0)
    assert run(asked, prompts, parts, learner, record, should_stop=lambda: True) == 1
    assert record.next_batch is not None
    write_ahead_batch(tmp_path, record.next_batch)
    resumed = PromptOrder(order, 0, AllClips(), 0.0)
    resumed.position = record.position
    next_batch = read_ahead_batch(tmp_path, resumed, asked, {})
    assert next_batch is not None
    assert next_batch.groups == record.next_batch.groups
    assert run(asked, resumed, parts, learner, Record(), first_step=1, next_batch=next_batch) == 2
    assert parts.requests == whole.requests
    assert learner.batches == whole_learner.batches
    assert {len(batch) for batch in learner.batches} == {6 if ground_truth else 4}
    other = PromptOrder(order, 1, AllClips(), 0.0)
    with pytest.raises(CheckpointError, match="other prompts"):
        read_ahead_batch(tmp_path, other, recipe(), {})
    assert read_ahead_batch(tmp_path / "elsewhere", other, recipe(), {}) is None


def test_a_prompt_that_a_step_takes_twice_is_two_groups() -> None:
    """A step that crosses the end of a round takes its prompts anew."""
    order = [Prompt("p0", "multiple_choice", "Which?", VIDEO, ChoiceTarget("A"))]
    learner, record = Learner(), Record()
    run(recipe(steps=1), PromptOrder(order, 0, AllClips(), 0.0), Pool(), learner, record)
    assert record.steps == [(0, ["p0", "p0"])]
    assert (learner.num_groups, record.metrics[0]["num_groups"]) == ([2], 2)


class AllClips:
    def fingerprinted(self, video: Video) -> Video:
        return video

    def load(self, video: Video) -> Frames:
        return Frames(np.zeros((2, 28, 28, 3), np.uint8), (0.0, 0.1), (0, 1), 10.0, 2, 0.2, "key")


def test_a_request_to_stop_waits_for_what_is_sampled_ahead() -> None:
    learner, record, pool = Learner(), Record(), Pool()
    run(recipe(**AHEAD), Prompts(), pool, learner, record, should_stop=lambda: learner.policy_version > 0)
    assert (len(record.steps), pool.may_stop) == (1, [True, False])
    assert [group.prompt.prompt_id for group in record.next_batch.groups] == ["p2", "p3"]


def test_an_interrupt_of_what_runs_ahead_keeps_the_step_that_was_learned() -> None:
    reference = Pool()
    run(recipe(), Prompts(), reference, Learner(), Record())
    record, learner = Record(), Learner()
    pool = Pool(interrupt_at_seed=reference.requests[1][1])
    assert run(recipe(**AHEAD), Prompts(), pool, learner, record, should_stop=lambda: learner.policy_version > 0) == 1
    assert (record.position, len(record.steps), record.next_batch) == (2, 1, None)
    assert pool.version == 1


def test_solved_prompts_are_dropped_and_the_resumed_run_is_the_same(tmp_path: Path) -> None:
    """One right answer of two solves here; every prompt is asked once, and then all of them again."""
    asked = {"data": {"train": ["rows.jsonl"], "drop_solved": 0.5}, "steps": 5, **AHEAD}
    rows = [Prompt(f"p{i}", "multiple_choice", "Which?", VIDEO, ChoiceTarget("A")) for i in range(6)]
    # Those never answered right are left.
    wrong = [replace(row, target=ChoiceTarget("C")) if row.prompt_id in ("p1", "p4") else row for row in rows]

    def order() -> PromptOrder:
        return PromptOrder(wrong, 0, AllClips(), 0.0, fewest=2)

    whole, parts = Pool(), Pool()
    prompts, resumed, record = order(), order(), Record()
    run(recipe(**asked), prompts, whole, Learner(), Record())
    assert set(prompts.solved) == {"p0", "p2", "p3", "p5"}
    assert {name for names, _ in whole.requests[-2:] for name in names} == {"p1", "p4"}
    first, learner = order(), Learner()
    stop = iter([False, False, True])
    done = run(recipe(**asked), first, parts, learner, record, should_stop=lambda: next(stop))
    assert record.next_batch is not None
    write_ahead_batch(tmp_path, record.next_batch)
    resumed.position, resumed.solved = record.position, dict(first.solved)
    next_batch = read_ahead_batch(tmp_path, resumed, recipe(**asked), {})
    run(recipe(**asked), resumed, parts, learner, Record(), first_step=done, next_batch=next_batch)
    assert parts.requests == whole.requests
    assert resumed.solved == prompts.solved


def test_the_running_variance_of_a_task_is_carried_from_step_to_step() -> None:
    record = Record()
    settings = {"advantage": "per_task_running_std"}
    run(recipe(algorithm=settings, **AHEAD), Prompts(), Pool(), Learner(), record, variances={"multiple_choice": 2.0})
    # Every group has rewards 1 and 0, of variance 0.5; two groups a step.
    expected, seen = 2.0, []
    for _ in range(6):
        expected = DECAY * expected + (1 - DECAY) * 0.5
        seen.append(expected)
    assert record.variances == pytest.approx([seen[1], seen[3], seen[5]])
