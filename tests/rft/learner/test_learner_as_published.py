"""The settings of the learner that tell the released code from its correction."""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import pytest
import torch
from tiny_policy import END, PAD, FakeClips, FakeProcessor, group_of, sample

from rft.learner.batch import encode_group, token_groups
from rft.learner.learner import Learner
from rft.learner.weights import trainable
from rft.types import TrainGroup

MakeLearner = Callable[..., Learner]


@pytest.mark.parametrize(("seconds", "second_pair_at"), [("clip", 3), ("one", 2)])
def test_positions_count_the_clips_seconds_or_one(
    make_learner: MakeLearner,
    groups: tuple[TrainGroup, ...],
    seconds: Literal["clip", "one"],
    second_pair_at: int,
) -> None:
    """1.5 s between the two frame pairs, 2 positions a second."""
    learner = make_learner()
    group = token_groups(groups, FakeProcessor())[0]
    packed = encode_group(group, FakeProcessor(), FakeClips(), learner._model, seconds)
    times = packed.position_ids[0]
    first = 2  # one word and the marker stand before the clip
    assert (times[first], times[first + 6]) == (first, first + second_pair_at)
    # Text goes on behind the largest position: here the third column, 2, or the time of the second pair.
    assert times[first + 12] == first + max(second_pair_at, 2) + 1


def test_the_learner_reads_prompts_by_the_recipes_seconds(
    make_learner: MakeLearner, groups: tuple[TrainGroup, ...]
) -> None:
    gaps = [make_learner(learner={"seconds_per_grid": s}).update(groups)["logprob_gap"] for s in ("clip", "one")]
    assert abs(gaps[0] - gaps[1]) > 1e-4


def test_without_epsilon_no_ratio_is_clipped(make_learner: MakeLearner, groups: tuple[TrainGroup, ...]) -> None:
    learner = {"learning_rate": 0.1}
    clipped = make_learner(algorithm={"num_iterations": 3, "epsilon": 0.01}, learner=learner).update(groups)
    free = make_learner(algorithm={"num_iterations": 3, "epsilon": None}, learner=learner).update(groups)
    high = make_learner(algorithm={"num_iterations": 3, "epsilon": None, "epsilon_high": 0.01}, learner=learner).update(
        groups
    )
    assert clipped["clip_share"] > high["clip_share"] > 0
    assert free["clip_share"] == 0
    assert free["loss"] < clipped["loss"]


def test_with_one_update_the_clip_makes_no_difference(
    make_learner: MakeLearner, groups: tuple[TrainGroup, ...]
) -> None:
    one, other = (make_learner(algorithm={"epsilon": epsilon, "beta": 0.04}) for epsilon in (None, 0.2))
    assert one.update(groups)["grad_norm"] == pytest.approx(other.update(groups)["grad_norm"], rel=1e-9)
    for name, parameter in trainable(one._model).items():
        assert torch.equal(parameter, trainable(other._model)[name])


def test_a_kept_group_without_signal_is_pulled_to_the_reference_and_counts(
    make_learner: MakeLearner, groups: tuple[TrainGroup, ...]
) -> None:
    flat = (replace(groups[2], advantages=(0.0, 0.0)),)
    rest = tuple(replace(group, advantages=tuple(a + 0.5 for a in group.advantages)) for group in groups[:2])
    alone, beside = make_learner().update(rest), make_learner().update(rest + flat)
    assert beside["loss"] == pytest.approx(alone["loss"] * 5 / 7)
    learner = make_learner(algorithm={"beta": 0.5})
    for _ in range(3):
        learner.update(rest)
    before = learner.update(flat)["kl"]
    for _ in range(5):
        learner.update(flat)
    assert learner.update(flat)["kl"] < before


def gradients(learner: Learner, groups: tuple[TrainGroup, ...]) -> tuple[torch.Tensor, dict[str, float]]:
    """Of one update, as the optimizer gets them; and its metrics."""
    seen: list[torch.Tensor] = []

    def keep(*_: object) -> None:
        seen.append(torch.cat([parameter.grad.flatten() for parameter in trainable(learner._model).values()]))

    learner._optimizer.register_step_pre_hook(keep)
    metrics = learner.update(groups)
    return seen[0], metrics


def test_the_softmax_covers_what_the_engine_bans_or_not(
    make_learner: MakeLearner, groups: tuple[TrainGroup, ...]
) -> None:
    """An engine never draws banned tokens; where the softmax covers them, the gap tells the probability they have."""
    banned = list(FakeProcessor.banned_token_ids)
    learner = make_learner(learner={"ban_vision_tokens": False})
    drawn, of_all = [], []
    for group in token_groups(groups, FakeProcessor()):
        packed = encode_group(group, FakeProcessor(), FakeClips(), learner._model)
        batch = learner._batch([packed])
        with torch.no_grad():
            logits = learner._model.lm_head(learner._policy._hidden(batch).flatten(0, 1)[batch.scored])
        everything = logits.log_softmax(-1)
        covered = everything.gather(1, packed.labels[:, None])[:, 0]
        of_all.append(covered)
        others = torch.log1p(-everything[:, banned].exp().sum(-1))
        drawn.append(covered - others)
    told = [list(values.tolist()) for values in drawn]
    engine = []
    for group, values in zip(groups, told, strict=True):
        completions = []
        for one in group.completions:
            completions.append(replace(one, logprobs=tuple(values[: len(one.token_ids)])))
            del values[: len(one.token_ids)]
        engine.append(replace(group, completions=tuple(completions)))
    assert make_learner().update(engine)["logprob_gap"] == pytest.approx(0.0, abs=1e-6)
    gap = float((torch.cat(drawn) - torch.cat(of_all)).mean())
    assert gap > 0.01
    assert learner.update(engine)["logprob_gap"] == pytest.approx(gap, rel=1e-5)


@pytest.mark.parametrize(
    ("completions", "padded", "num_padding"),
    [
        ([(7, PAD), (8, 9, 10, END)], [(7, PAD, PAD, PAD), (8, 9, 10, END)], [2, 0]),
        ([(7, 8, 9, 10), (8, END)], [(7, 8, 9, 10), (8, END)], [0, 0]),  # one cut, one ended: nothing behind either
        ([(7, END, 9), (8, 9, 10, PAD)], [(7, END, 9), (8, 9, 10, PAD)], [0, 0]),
    ],
)
def test_padding_follows_completions_without_the_end_token(
    completions: list[tuple[int, ...]], padded: list[tuple[int, ...]], num_padding: list[int]
) -> None:
    whole = group_of(*(sample("a", "7 8", token_ids, 1.0) for token_ids in completions))
    (tokens,) = token_groups([whole], FakeProcessor())
    found = tokens.padded(END, PAD).completions
    assert [one.token_ids for one in found] == padded
    assert [len(one.token_ids) - len(one.logprobs) for one in found] == num_padding


def test_padding_is_learned_from_as_the_released_code_does(make_learner: MakeLearner) -> None:
    """The other end token stands alone in a mean over two tokens, or with two of padding in one over four."""
    ended, other = sample("a", "7 8 9", (10, PAD), 1.0), sample("a", "7 8 9", (11, 12, 13, END), -1.0)
    by_hand = sample("a", "7 8 9", (10, PAD, PAD, PAD), 1.0)
    beta = {"beta": 0.04}
    masked, own = gradients(make_learner(algorithm=beta), [group_of(ended, other)])
    unmasked, metrics = gradients(
        make_learner(algorithm=beta, learner={"mask_padding": False}), [group_of(ended, other)]
    )
    expected, _ = gradients(make_learner(algorithm=beta), (group_of(by_hand, other),))
    assert torch.allclose(unmasked, expected, atol=1e-12)
    assert (unmasked - masked).norm() > 0.1 * unmasked.norm()
    assert (own["num_tokens"], metrics["num_tokens"]) == (6, 8)
    assert metrics["logprob_gap"] == pytest.approx(own["logprob_gap"], rel=1e-12), "no engine drew the padding"
