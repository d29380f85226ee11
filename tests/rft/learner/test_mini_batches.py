"""Several optimizer updates on the rollouts of a step, against the policy before the first."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_policy import FakeClips, FakeProcessor, recipe, three_groups
from torch import Tensor

from rft.algorithm.loss import k3
from rft.learner.batch import TokenGroup, encode_group, split_mini_batches, token_groups
from rft.learner.learner import Learner
from rft.learner.update_metrics import Update, update_metrics
from rft.learner.weights import trainable
from rft.types import TrainGroup

MakeLearner = Callable[..., Learner]
RATE, EPSILON, BETA, MAX_NORM = 1e-2, 0.05, 0.1, 0.5
ADAM_EPSILON = 1e-3
"""Large: AdamW's first step is else the sign of the gradient, rounding errors included."""
TWO_BY_TWO = {"num_iterations": 2, "num_mini_batches": 2, "epsilon": EPSILON, "beta": BETA}


def four_groups() -> tuple[TrainGroup, ...]:
    first = three_groups()[0]
    again = replace(first, advantages=tuple(advantage / 2 for advantage in first.advantages))
    return (*three_groups(), again)


@pytest.mark.parametrize(
    ("number", "parts"),
    [
        (1, ["abcde"]),
        (2, ["ab", "cde"]),
        (3, ["a", "bc", "de"]),
        (5, ["a", "b", "c", "d", "e"]),
        (9, ["a", "b", "c", "d", "e"]),
    ],
)
def test_groups_are_split_evenly_in_their_order(number: int, parts: list[str]) -> None:
    prompt = three_groups()[0].prompt
    groups = [TokenGroup(replace(prompt, prompt_id=letter), 5, ()) for letter in "abcde"]
    found = split_mini_batches(groups, number)
    assert ["".join(group.prompt.prompt_id for group in part) for part in found] == parts


def reference_loop(learner: Learner, groups: tuple[TrainGroup, ...]) -> list[float]:
    """PPO's clipped updates as one would write them by hand, on the learner's own model; returns the clipped shares.

    Two times over two mini-batches of two groups: mean over a completion's tokens, then over the mini-batch.
    """
    parameters = list(trainable(learner._model).values())
    optimizer = torch.optim.AdamW(parameters, lr=RATE, eps=ADAM_EPSILON, weight_decay=0.0)

    def logprobs(single: TokenGroup) -> Tensor:
        packed = encode_group(single, FakeProcessor(), FakeClips(), learner._model)
        return learner._policy(learner._batch([packed])).logprobs

    singles = [group.singles() for group in token_groups(groups, FakeProcessor())]
    with torch.no_grad():
        old = {id(single): logprobs(single) for group in singles for single in group}
    shares = []
    for _ in range(2):
        for mini_batch in (singles[0] + singles[1], singles[2] + singles[3]):
            optimizer.zero_grad()
            losses, num_clipped, num_tokens = [], 0, 0
            for single in mini_batch:
                now, before = logprobs(single), old[id(single)]
                ratio, advantage = (now - before).exp(), single.completions[0].advantage
                held = ratio.clamp(1 - EPSILON, 1 + EPSILON) * advantage
                losses.append((-torch.minimum(ratio * advantage, held) + BETA * k3(now, before)).mean())
                num_clipped += int((held < ratio * advantage).sum())
                num_tokens += len(now)
            torch.stack(losses).mean().backward()
            torch.nn.utils.clip_grad_norm_(parameters, MAX_NORM)
            optimizer.step()
            shares.append(num_clipped / num_tokens)
    return shares


def test_updates_are_those_of_a_loop_written_by_hand(make_learner: MakeLearner) -> None:
    settings = {"algorithm": TWO_BY_TWO, "learner": {"max_grad_norm": MAX_NORM, "adam_epsilon": ADAM_EPSILON}}
    learner, by_hand = make_learner(**settings), make_learner(**settings)
    metrics = learner.update(four_groups())
    shares = reference_loop(by_hand, four_groups())
    assert learner.policy_version == 4
    assert shares[0] == 0 < min(shares[1:])  # already the second mini-batch meets a policy that has moved
    num_tokens = [13 + 3, 5 + 6]
    assert metrics["clip_share"] * sum(num_tokens) == pytest.approx(
        shares[2] * num_tokens[0] + shares[3] * num_tokens[1]
    )
    expected = trainable(by_hand._model)
    for name, parameter in trainable(learner._model).items():
        assert (parameter - expected[name]).abs().max() < 1e-7, name


def test_a_ratio_is_clipped_without_a_second_iteration(make_learner: MakeLearner) -> None:
    one, three = (
        make_learner(algorithm={"num_mini_batches": number, "epsilon": 0.01}).update(three_groups())
        for number in (1, 3)
    )
    assert one["clip_share"] == 0 < three["clip_share"]


def test_metrics_are_over_all_rollouts_of_the_step(make_learner: MakeLearner) -> None:
    whole, split = (make_learner(algorithm={"num_mini_batches": number}) for number in (1, 2))
    one, two = whole.update(four_groups()), split.update(four_groups())
    counts = ("num_tokens", "num_sampled_tokens", "num_completions", "num_groups_trained", "num_packed_tokens")
    assert [two[name] for name in counts] == [one[name] for name in counts]
    # The engine is compared with the policy that it drew from, not with what later updates made of it.
    for name in ("logprob_gap", "logprob_gap_exp", "logprob_gap_k3"):
        assert two[name] == pytest.approx(one[name], rel=1e-9), name
    assert two.keys() == one.keys()


@pytest.mark.parametrize("learner", [{}, {"freeze_vision": True}, {"lora": {"r": 2, "lora_alpha": 4}}])
def test_the_tower_encodes_again_only_when_trained(make_learner: MakeLearner, learner: dict[str, object]) -> None:
    made = make_learner(algorithm={"num_mini_batches": 3, "beta": BETA}, learner=learner)
    # Before the first update on the second and third group, then in the update on each.
    assert made.update(three_groups())["num_encoded_videos"] == (3 if learner else 5)


def test_fewer_groups_than_mini_batches_make_fewer_updates(make_learner: MakeLearner) -> None:
    learner = make_learner(algorithm={"num_mini_batches": 8})
    metrics = learner.update(three_groups())
    assert (learner.policy_version, metrics["skipped_updates"]) == (3, 0)


def test_only_the_mini_batch_without_a_finite_gradient_is_skipped(make_learner: MakeLearner) -> None:
    first, *others = four_groups()
    learner, second_alone = make_learner(algorithm={"num_mini_batches": 2}), make_learner()
    metrics = learner.update((replace(first, advantages=(float("inf"), -1.0)), *others))
    assert (learner.policy_version, metrics["skipped_updates"]) == (1, 1)
    second_alone.update(others[1:])
    expected = trainable(second_alone._model)
    for name, parameter in trainable(learner._model).items():
        assert torch.equal(parameter, expected[name]), name


def test_the_learning_rate_falls_from_update_to_update(tiny_dir: Path) -> None:
    falling = {"learning_rate": 1e-2, "lr_scheduler_type": "linear"}
    settings = recipe(learner=falling, algorithm={"num_mini_batches": 3, "num_iterations": 2})
    learner = Learner(tiny_dir, settings, FakeProcessor(), FakeClips(), total_updates=settings.total_updates)
    assert settings.total_updates == 24
    assert learner.update(three_groups())["learning_rate"] == pytest.approx(1e-2 * (1 - 5 / 24))


def test_metrics_of_two_updates_by_hand() -> None:
    first = {"loss": 3.0, "weight": 2.0, "num_tokens": 4.0, "num_sampled_tokens": 4.0, "entropy": 8.0}
    second = {"loss": 1.0, "weight": 6.0, "num_tokens": 12.0, "num_sampled_tokens": 12.0, "entropy": 40.0}
    metrics = update_metrics([Update(first, 1.0, 0.2), Update(second, 2.0, 0.1)])
    assert metrics == {
        "loss": 0.5,
        "num_tokens": 16.0,
        "num_sampled_tokens": 16.0,
        "entropy": 3.0,
        "grad_norm": 1.5,
        "learning_rate": 0.1,
        "skipped_updates": 0.0,
    }
