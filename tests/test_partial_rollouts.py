"""Partial rollouts in the loop, on hand-written parts: what is begun when, what is learned when, how old it may be."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import pytest

from rft.errors import Interrupted
from rft.types import Completion, Prompt, Sampling, TrainGroup
from tests.test_loop import Learner, Pool, Prompts, Record, recipe, run

DEADLINE_S = 60.0


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "the loop and its background wait for each other"
        time.sleep(0.001)


@dataclass
class LongPool(Pool):
    """The groups of a step end only once the learner has nothing else to learn from."""

    stop: Callable[[], bool] = lambda: False
    older: int = 0
    """Versions by which a policy is told to be older than it is."""

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, seed: int, *, may_stop: bool = True
    ) -> Iterator[tuple[int, tuple[Completion, ...]]]:
        step, begun = int(prompts[0].prompt_id[1:]) // 2, self.version
        drawn = list(super().generate(prompts, sampling, seed, may_stop=may_stop))
        wait_until(lambda: self.version == step or self.stop())
        if self.version != step and may_stop:
            raise Interrupted
        later = ((1, self.version),) if self.version > begun else ()
        for index, completions in drawn:
            yield (
                index,
                tuple(replace(one, policy_version=begun - self.older, later_versions=later) for one in completions),
            )


@dataclass
class WatchfulLearner(Learner):
    """Its update ends only once all is begun that may be."""

    pool: LongPool = field(default_factory=LongPool)
    ahead: int = 2
    steps: int = 5

    def update(self, groups: Sequence[TrainGroup]) -> dict[str, float]:
        may_begin = min(self.policy_version + 1 + self.ahead, self.steps)
        wait_until(lambda: len(self.pool.requests) == may_begin)
        return super().update(groups)


@pytest.mark.parametrize("ahead", [1, 2, 3])
def test_groups_are_begun_so_many_steps_ahead_and_end_under_later_policies(ahead: int) -> None:
    pool, record = LongPool(), Record()
    learner = WatchfulLearner(pool=pool, ahead=ahead)
    asked = recipe(steps=5, rollout={"ahead": ahead, "partial": True}, algorithm={"advantage": "per_task_running_std"})
    assert run(asked, Prompts(), pool, learner, record) == 5
    assert record.steps == [(step, [f"p{2 * step}", f"p{2 * step + 1}"]) for step in range(5)]
    behind = [min(step, ahead) for step in range(5)]
    assert [metrics["staleness/max"] for metrics in record.metrics] == behind
    # Of two tokens the second one is drawn by the policy that learns from it.
    assert [metrics["staleness/mean"] for metrics in record.metrics] == [number / 2 for number in behind]
    assert [metrics["staleness/several_versions_share"] for metrics in record.metrics] == [0, 1, 1, 1, 1]
    in_turns = Record()
    run(recipe(steps=5), Prompts(), Pool(), Learner(), in_turns)
    assert record.variances == in_turns.variances, "of groups in the order of their steps"
    assert all(metrics["seconds/wait"] > 0 for metrics in record.metrics)


def test_a_request_to_stop_drops_what_is_sampled_and_the_next_run_takes_its_prompts_again() -> None:
    whole, pool, record = Pool(), LongPool(), Record()
    run(recipe(steps=5), Prompts(), whole, Learner(), Record())
    learner = WatchfulLearner(pool=pool)
    pool.stop = lambda: learner.policy_version >= 2
    asked = recipe(steps=5, rollout={"ahead": 2, "partial": True})
    assert run(asked, Prompts(), pool, learner, record, should_stop=pool.stop) == 2
    assert (record.position, record.next_batch) == (4, None)
    resumed = LongPool(version=2)
    assert run(asked, Prompts(record.position), resumed, Learner(policy_version=2), Record(), first_step=2) == 3
    assert sorted(resumed.requests) == whole.requests[2:]


def test_a_policy_older_than_allowed_ends_the_run() -> None:
    pool = LongPool(older=1)
    asked = recipe(steps=5, rollout={"ahead": 2, "partial": True})
    pool.stop = lambda: pool.version == 2
    with pytest.raises(RuntimeError, match=r"is 3 policy versions old; rollout\.ahead allows 2"):
        run(asked, Prompts(), pool, WatchfulLearner(pool=pool), Record())
