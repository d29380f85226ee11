"""Losses against numbers worked out by hand."""

import math
from dataclasses import replace

import pytest
import torch

from rft.algorithm import loss
from rft.algorithm.loss import LOSSES, LossInputs, LossOutput

POLICY = [[math.log(0.5), math.log(0.2)], [math.log(0.9), 7.0]]
OLD = [[math.log(0.4), math.log(0.2)], [math.log(0.6), -3.0]]
REFERENCE = [[math.log(0.25), math.log(0.4)], [math.log(0.9), 0.0]]
MASK = [[True, True], [True, False]]


def inputs(advantages: tuple[float, float] = (2.0, -1.0), beta: float = 0.0, **changes: object) -> LossInputs:
    """Ratios 1.25, 1.0 | 1.5; two completions of two and one token."""
    values = {
        "policy_logprobs": torch.tensor(POLICY, dtype=torch.float64, requires_grad=True),
        "old_logprobs": torch.tensor(OLD, dtype=torch.float64),
        "reference_logprobs": torch.tensor(REFERENCE, dtype=torch.float64) if beta else None,
        "advantages": torch.tensor(advantages, dtype=torch.float64),
        "mask": torch.tensor(MASK),
        "epsilon": 0.1,
        "epsilon_high": 0.2,
        "beta": beta,
        "max_completion_length": 5,
    }
    return LossInputs(**(values | changes))


def value(output: LossOutput) -> float:
    return output.loss_sum.item() / output.weight


# Token losses: -min(1.25, 1.2) * 2 = -2.4, -1 * 2 = -2, and for the negative advantage -min(-1.5, -1.2) = 1.5.
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("grpo", ((-2.4 - 2.0) / 2 + 1.5) / 2),
        ("bnpo", (-2.4 - 2.0 + 1.5) / 3),
        ("dapo", (-2.4 - 2.0 + 1.5) / 3),
        ("dr_grpo", (-2.4 - 2.0 + 1.5) / 10),
    ],
)
def test_clipped_objective(name: str, expected: float) -> None:
    output = LOSSES[name](inputs())
    assert value(output) == pytest.approx(expected, abs=1e-12)
    assert output.metrics["clip_share"].item() == 1  # only the first token: 1.5 at a negative advantage is not cut


# k3 = reference / policy - 1 - log(reference / policy): for 0.25 / 0.5, 0.4 / 0.2 and 0.9 / 0.9.
KL = (0.5 - 1 + math.log(2), 2 - 1 - math.log(2), 0.0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("grpo", ((-4.4 + 0.3 * (KL[0] + KL[1])) / 2 + 1.5) / 2),
        ("dapo", (-2.9 + 0.3 * (KL[0] + KL[1])) / 3),
        ("dr_grpo", (-2.9 + 0.3 * (KL[0] + KL[1])) / 10),
    ],
)
def test_kl_term(name: str, expected: float) -> None:
    output = LOSSES[name](inputs(beta=0.3))
    assert value(output) == pytest.approx(expected, abs=1e-12)
    assert output.metrics["kl"].item() == pytest.approx(KL[0] + KL[1])


def test_gradient_stops_where_the_ratio_is_clipped_and_outside_the_mask() -> None:
    given = inputs()
    LOSSES["dapo"](given).loss_sum.backward()
    # -ratio * advantage where not clipped: 0 (clipped), -1 * 2, 1.5.
    assert given.policy_logprobs.grad is not None
    assert torch.allclose(given.policy_logprobs.grad, torch.tensor([[0.0, -2.0], [1.5, 0.0]], dtype=torch.float64))


def test_low_side_is_clipped_by_epsilon() -> None:
    old = torch.tensor([[math.log(0.5 / 0.8), math.log(0.2)], [math.log(0.9), 0.0]], dtype=torch.float64)
    output = LOSSES["dapo"](inputs(advantages=(-1.0, 0.0), old_logprobs=old))
    assert output.loss_sum.item() == pytest.approx(0.9 + 1.0)  # ratio 0.8 counts as 1 - 0.1
    assert output.metrics["clip_share"].item() == 1


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_on_policy_loss_is_zero_but_its_gradient_is_not(name: str) -> None:
    policy = torch.tensor([[-1.0, -2.0], [-0.5, -3.0]], dtype=torch.float64, requires_grad=True)
    output = LOSSES[name](
        inputs((1.0, -1.0), policy_logprobs=policy, old_logprobs=policy.detach(), mask=torch.ones(2, 2).bool())
    )
    assert output.loss_sum.item() == pytest.approx(0.0, abs=1e-12)
    output.loss_sum.backward()
    assert policy.grad is not None
    assert (policy.grad[0] < 0).all()
    assert (policy.grad[1] > 0).all()


def test_zero_advantage_gives_zero_gradient() -> None:
    given = inputs(advantages=(0.0, 0.0))
    LOSSES["grpo"](given).loss_sum.backward()
    assert given.policy_logprobs.grad is not None
    assert (given.policy_logprobs.grad == 0).all()


def test_k3_is_never_negative() -> None:
    torch.manual_seed(0)
    policy, reference = torch.randn(2, 1000, dtype=torch.float64).mul(3)
    assert (loss.k3(policy, reference) >= 0).all()
    assert loss.k3(policy, policy).abs().max() == 0


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_parts_of_a_batch_add_up(name: str) -> None:
    whole = LOSSES[name](inputs(beta=0.3))
    parts = [LOSSES[name](_row(inputs(beta=0.3), row)) for row in range(2)]
    assert sum(part.loss_sum.item() for part in parts) == pytest.approx(whole.loss_sum.item())
    assert sum(part.weight for part in parts) == whole.weight


def _row(whole: LossInputs, row: int) -> LossInputs:
    rows = slice(row, row + 1)
    per_row = ("policy_logprobs", "old_logprobs", "reference_logprobs", "advantages", "mask")
    return replace(whole, **{name: getattr(whole, name)[rows] for name in per_row})
