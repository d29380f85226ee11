"""The settings of the learner that tell the released code from its correction."""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import pytest
import torch
from tiny_policy import FakeClips, FakeProcessor

from rft.learner.batch import encode_group, group_samples
from rft.learner.learner import Learner
from rft.learner.weights import trainable
from rft.types import TrainSample

MakeLearner = Callable[..., Learner]


@pytest.mark.parametrize(("seconds", "second_pair_at"), [("clip", 3), ("one", 2)])
def test_positions_count_the_clips_seconds_or_one(
    make_learner: MakeLearner,
    samples: tuple[TrainSample, ...],
    seconds: Literal["clip", "one"],
    second_pair_at: int,
) -> None:
    """1.5 s between the two frame pairs, 2 positions a second."""
    learner = make_learner()
    group = group_samples(samples)[0]
    packed = encode_group(group, FakeProcessor(), FakeClips(), learner._model, seconds)
    times = packed.position_ids[0]
    first = 2  # one word and the marker stand before the clip
    assert (times[first], times[first + 6]) == (first, first + second_pair_at)
    # Text goes on behind the largest position: here the third column, 2, or the time of the second pair.
    assert times[first + 12] == first + max(second_pair_at, 2) + 1


def test_the_learner_reads_prompts_by_the_recipes_seconds(
    make_learner: MakeLearner, samples: tuple[TrainSample, ...]
) -> None:
    gaps = [make_learner(learner={"seconds_per_grid": s}).update(samples)["logprob_gap"] for s in ("clip", "one")]
    assert abs(gaps[0] - gaps[1]) > 1e-4


def test_without_epsilon_no_ratio_is_clipped(make_learner: MakeLearner, samples: tuple[TrainSample, ...]) -> None:
    learner = {"learning_rate": 0.1}
    clipped = make_learner(algorithm={"num_iterations": 3, "epsilon": 0.01}, learner=learner).update(samples)
    free = make_learner(algorithm={"num_iterations": 3, "epsilon": None}, learner=learner).update(samples)
    high = make_learner(algorithm={"num_iterations": 3, "epsilon": None, "epsilon_high": 0.01}, learner=learner).update(
        samples
    )
    assert clipped["clip_share"] > high["clip_share"] > 0
    assert free["clip_share"] == 0
    assert free["loss"] < clipped["loss"]


def test_with_one_update_the_clip_makes_no_difference(
    make_learner: MakeLearner, samples: tuple[TrainSample, ...]
) -> None:
    one, other = (make_learner(algorithm={"epsilon": epsilon, "beta": 0.04}) for epsilon in (None, 0.2))
    assert one.update(samples)["grad_norm"] == pytest.approx(other.update(samples)["grad_norm"], rel=1e-9)
    for name, parameter in trainable(one._model).items():
        assert torch.equal(parameter, trainable(other._model)[name])


def test_a_kept_group_without_signal_is_pulled_to_the_reference_and_counts(
    make_learner: MakeLearner, samples: tuple[TrainSample, ...]
) -> None:
    flat = tuple(replace(s, advantage=0.0) for s in samples if s.prompt.prompt_id == "c")
    rest = tuple(replace(s, advantage=s.advantage + 0.5) for s in samples if s.prompt.prompt_id != "c")
    alone, beside = make_learner().update(rest), make_learner().update(rest + flat)
    assert beside["loss"] == pytest.approx(alone["loss"] * 5 / 7)
    learner = make_learner(algorithm={"beta": 0.5})
    for _ in range(3):
        learner.update(rest)
    before = learner.update(flat)["kl"]
    for _ in range(5):
        learner.update(flat)
    assert learner.update(flat)["kl"] < before
