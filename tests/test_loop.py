"""The loop itself, on hand-written parts: order of events, resume, interrupt, groups without signal."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rewards.types import ChoiceTarget
from rft.errors import Interrupted
from rft.recipe import Recipe
from rft.scoring import TrainBatch
from rft.train import train
from rft.types import Completion, Group, Probe, Prompt, Sampling, TrainSample, Video, VideoSampling, WeightsRef

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

    def take(self, n: int) -> tuple[Prompt, ...]:
        first, self.position = self.position, self.position + n
        return tuple(
            Prompt(f"p{i}", "multiple_choice", "Which?", VIDEO, ChoiceTarget("A")) for i in range(first, first + n)
        )


@dataclass
class Pool:
    """Answers A then B, so that each group has signal, but not for the prompts in `flat`; last prompt first."""

    flat: frozenset[str] = frozenset()
    interrupt_at_seed: int | None = None
    version: int = 0
    requests: list[tuple[tuple[str, ...], int]] = field(default_factory=list)

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, seed: int
    ) -> Iterator[tuple[int, tuple[Completion, ...]]]:
        if seed == self.interrupt_at_seed:
            raise Interrupted
        self.requests.append((tuple(p.prompt_id for p in prompts), seed))
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

    def update(self, samples: Sequence[TrainSample]) -> dict[str, float]:
        self.policy_version += 1
        self.batches.append([(s.prompt.prompt_id, s.completion.policy_version, s.advantage) for s in samples])
        return {"loss": 0.0}

    def publish_weights(self) -> WeightsRef:
        return WeightsRef(self.policy_version, {}, Probe((), ()))

    def save(self, directory: Path) -> None:
        raise AssertionError("the loop leaves saving to its recorder")


@dataclass
class Record:
    steps: list[tuple[int, list[str]]] = field(default_factory=list)
    metrics: list[dict[str, float]] = field(default_factory=list)
    num_after: int = 0

    def progress(self, phase: str, done: int, total: int) -> None:
        assert 0 <= done <= total

    def step(self, step: int, groups: Sequence[Group], batch: TrainBatch, metrics: dict[str, float]) -> None:
        self.steps.append((step, [g.prompt.prompt_id for g in groups]))
        self.metrics.append(metrics)

    def after_step(self) -> None:
        self.num_after += 1


def test_each_step_learns_from_the_policy_of_the_step_before() -> None:
    pool, learner, record = Pool(), Learner(), Record()
    assert train(recipe(), Prompts(), pool, learner, record) == 3
    assert record.steps == [(0, ["p0", "p1"]), (1, ["p2", "p3"]), (2, ["p4", "p5"])]
    assert [{version for _, version, _ in batch} for batch in learner.batches] == [{0}, {1}, {2}]
    assert record.num_after == 3


def test_right_answers_get_the_positive_advantage() -> None:
    learner = Learner()
    train(recipe(steps=1), Prompts(), Pool(), learner, Record())
    signs = [advantage > 0 for _, _, advantage in learner.batches[0]]
    assert signs == [True, False, True, False]


def test_stop_and_resume_is_the_same_run() -> None:
    whole, parts = Pool(), Pool()
    train(recipe(), Prompts(), whole, Learner(), Record())
    learner, prompts = Learner(), Prompts()
    assert train(recipe(), prompts, parts, learner, Record(), should_stop=lambda: True) == 1
    assert train(recipe(), Prompts(prompts.position), parts, learner, Record(), first_step=1) == 3
    assert parts.requests == whole.requests


def test_interrupted_step_is_taken_again() -> None:
    reference = Pool()
    train(recipe(), Prompts(), reference, Learner(), Record())
    prompts, record = Prompts(), Record()
    stopped = train(recipe(), prompts, Pool(interrupt_at_seed=reference.requests[1][1]), Learner(), record)
    assert (stopped, prompts.position, len(record.steps)) == (1, 2, 1)


@pytest.mark.parametrize(
    ("max_resamples", "taken", "learned"),
    [(0, ["p0", "p1"], {"p1"}), (1, ["p0", "p1", "p2"], {"p1"}), (5, ["p0", "p1", "p2", "p3"], {"p1", "p3"})],
)
def test_groups_without_signal_are_replaced_up_to_the_limit(
    max_resamples: int, taken: list[str], learned: set[str]
) -> None:
    learner, record = Learner(), Record()
    pool = Pool(flat=frozenset({"p0", "p2"}))
    train(recipe(steps=1, algorithm={"max_resamples": max_resamples}), Prompts(), pool, learner, record)
    assert record.steps == [(0, taken)]
    assert {prompt_id for prompt_id, _, _ in learner.batches[0]} == learned
