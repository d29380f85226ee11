"""Losses against numbers worked out by hand."""

import math
from dataclasses import replace

import pytest
import torch

from rft.algorithm.loss import KL_ESTIMATORS, LOSSES, LossInputs, LossOutput
from rft.recipe.algorithm import AlgorithmRecipe

POLICY = [[math.log(0.5), math.log(0.2)], [math.log(0.9), 7.0]]
OLD = [[math.log(0.4), math.log(0.2)], [math.log(0.6), -3.0]]
REFERENCE = [[math.log(0.25), math.log(0.4)], [math.log(0.9), 0.0]]
MASK = [[True, True], [True, False]]


def inputs(
    advantages: tuple[float, float] = (2.0, -1.0),
    beta: float = 0.0,
    settings: dict[str, object] | None = None,
    **changes: object,
) -> LossInputs:
    """Ratios 1.25, 1.0 | 1.5; two completions of two and one token."""
    values = {
        "policy_logprobs": torch.tensor(POLICY, dtype=torch.float64, requires_grad=True),
        "old_logprobs": torch.tensor(OLD, dtype=torch.float64),
        "reference_logprobs": torch.tensor(REFERENCE, dtype=torch.float64) if beta else None,
        "advantages": torch.tensor(advantages, dtype=torch.float64),
        "mask": torch.tensor(MASK),
        "rollout_logprobs": torch.tensor(OLD, dtype=torch.float64),
        "algorithm": AlgorithmRecipe(epsilon=0.1, epsilon_high=0.2, beta=beta, **(settings or {})),
        "correction": "none",
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
        # Sequence ratios sqrt(1.25 * 1) = 1.118 and 1.5.
        ("gspo", (-math.sqrt(1.25) * 2 + 1.5) / 2),
    ],
)
def test_clipped_objective(name: str, expected: float) -> None:
    output = LOSSES[name](inputs())
    assert value(output) == pytest.approx(expected, abs=1e-12)
    # Only the first token: 1.5 at a negative advantage is not cut. No sequence is.
    assert output.metrics["clip_share"].item() == (0 if name == "gspo" else 1)


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
    if name not in ("cispo", "sapo"):  # which weigh good and bad completions differently, at the same gradient
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


def test_cispo_cuts_the_weight_and_keeps_the_gradient() -> None:
    given = inputs()
    output = LOSSES["cispo"](given)
    # Weights 1.2 (cut from 1.25), 1, 1.2 (cut from 1.5), times advantage times log-probability.
    expected = [-1.2 * 2 * math.log(0.5), -1.0 * 2 * math.log(0.2), 1.2 * math.log(0.9)]
    assert value(output) == pytest.approx(sum(expected) / 3)
    output.loss_sum.backward()
    assert given.policy_logprobs.grad is not None
    assert given.policy_logprobs.grad.flatten().tolist() == pytest.approx([-2.4, -2.0, 1.2, 0.0])


def test_sapo_gates_smoothly_and_sharper_below_zero() -> None:
    output = LOSSES["sapo"](inputs(settings={"sapo_temperature_pos": 1.0, "sapo_temperature_neg": 2.0}))
    gate = [4 / (1 + math.exp(-0.25)), 4 / (1 + math.exp(0.0)), 2 / (1 + math.exp(-2 * 0.5))]
    assert value(output) == pytest.approx(((-gate[0] * 2 - gate[1] * 2) / 2 + gate[2]) / 2)


def test_two_sided_clip_bounds_the_loss_of_bad_completions() -> None:
    # The last token's ratio is 1.5 at advantage -1: bounded to 1.3.
    assert LOSSES["dapo"](inputs(settings={"delta": 1.3})).loss_sum.item() == pytest.approx(-2.4 - 2.0 + 1.3)


@pytest.mark.parametrize(
    ("correction", "weights"),
    [
        ("token_truncate", [[0.5, 1.5], [1.2, None]]),
        ("token_mask", [[0.5, 0.0], [1.2, None]]),
        ("sequence_truncate", [[1.0, 1.0], [1.2, None]]),
        ("sequence_mask", [[1.0, 1.0], [1.2, None]]),
    ],
)
def test_correction_for_what_the_engine_thought(correction: str, weights: list[list[float | None]]) -> None:
    """Old policy over engine: 0.5 and 2 in the first completion, their product 1; 1.2 in the second; the cap is 1.5."""
    old = torch.tensor(OLD, dtype=torch.float64)
    rollout = old - torch.tensor([[0.5, 2.0], [1.2, 5.0]], dtype=torch.float64).log()
    settings = {"importance_sampling_cap": 1.5}
    output = LOSSES["dapo"](inputs(settings=settings, correction=correction, rollout_logprobs=rollout))
    losses = [[-2.4, -2.0], [1.5, None]]
    expected = sum(
        w * v for ws, vs in zip(weights, losses, strict=True) for w, v in zip(ws, vs, strict=True) if w is not None
    )
    assert output.loss_sum.item() == pytest.approx(expected)
    mean = sum(w for ws in weights for w in ws if w is not None)
    assert output.metrics["mismatch_weight"].item() == pytest.approx(mean)


def test_kl_estimators_by_hand() -> None:
    policy, other = torch.tensor([math.log(0.5)]), torch.tensor([math.log(0.25)])
    assert KL_ESTIMATORS["k1"](policy, other).item() == pytest.approx(math.log(2))
    assert KL_ESTIMATORS["k2"](policy, other).item() == pytest.approx(math.log(2) ** 2 / 2)
    assert KL_ESTIMATORS["k3"](policy, other).item() == pytest.approx(0.5 - 1 + math.log(2))


def test_kl_estimators_agree_on_average() -> None:
    """Over all outcomes k1 and k3 give the KL itself; k2 is close where the two are."""
    policy = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    other = torch.tensor([0.45, 0.35, 0.2], dtype=torch.float64)
    exact = (policy * (policy / other).log()).sum().item()
    means = {name: (policy * k(policy.log(), other.log())).sum().item() for name, k in KL_ESTIMATORS.items()}
    assert means["k1"] == pytest.approx(exact)
    assert means["k3"] == pytest.approx(exact)
    assert means["k2"] == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize("name", ["k2", "k3"])
def test_kl_estimates_are_never_negative(name: str) -> None:
    torch.manual_seed(0)
    policy, reference = torch.randn(2, 1000, dtype=torch.float64).mul(3)
    assert (KL_ESTIMATORS[name](policy, reference) >= 0).all()
    assert KL_ESTIMATORS[name](policy, policy).abs().max() == 0


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_parts_of_a_batch_add_up(name: str) -> None:
    whole = LOSSES[name](inputs(beta=0.3))
    parts = [LOSSES[name](_row(inputs(beta=0.3), row)) for row in range(2)]
    assert sum(part.loss_sum.item() for part in parts) == pytest.approx(whole.loss_sum.item())
    assert sum(part.weight for part in parts) == whole.weight


def _row(whole: LossInputs, row: int) -> LossInputs:
    rows = slice(row, row + 1)
    per_row = ("policy_logprobs", "old_logprobs", "rollout_logprobs", "reference_logprobs", "advantages", "mask")
    return replace(whole, **{name: getattr(whole, name)[rows] for name in per_row})


def random_inputs(seed: int, settings: dict[str, object] | None = None, correction: str = "none") -> LossInputs:
    draw = torch.Generator().manual_seed(seed)
    old = -torch.rand(6, 9, generator=draw, dtype=torch.float64) * 3
    lengths = torch.tensor([9, 4, 1, 7, 9, 2])
    return LossInputs(
        policy_logprobs=(old + torch.randn(6, 9, generator=draw, dtype=torch.float64) * 0.3).requires_grad_(),
        old_logprobs=old,
        rollout_logprobs=old + torch.randn(6, 9, generator=draw, dtype=torch.float64) * 0.4,
        reference_logprobs=old + torch.randn(6, 9, generator=draw, dtype=torch.float64) * 0.2,
        advantages=torch.randn(6, generator=draw, dtype=torch.float64),
        mask=torch.arange(9) < lengths[:, None],
        algorithm=AlgorithmRecipe(**{"beta": 0.04, **(settings or {})}),
        correction=correction,
        max_completion_length=16,
    )


VARIANTS = [
    *((name, {}, "none") for name in sorted(LOSSES)),
    ("grpo", {"epsilon": None}, "none"),
    ("grpo", {"epsilon_high": 0.28}, "token_truncate"),
    ("dapo", {"delta": 1.5}, "sequence_truncate"),
    ("gspo", {"epsilon": 3e-4}, "sequence_mask"),
    ("cispo", {"epsilon_high": 4.0}, "token_mask"),
    ("dr_grpo", {"kl_estimator": "k2"}, "none"),
    ("grpo", {"kl_estimator": "k1"}, "none"),
]


@pytest.mark.parametrize(("name", "settings", "correction"), VARIANTS)
def test_gradients_are_those_of_the_value(name: str, settings: dict[str, object], correction: str) -> None:
    # cispo's weight carries no gradient by definition: held fixed, the rest must be right.
    given = random_inputs(1, settings, "none" if name == "cispo" else correction)
    log_ratios = given.policy_logprobs.detach() - given.old_logprobs

    def loss_of(logprobs: torch.Tensor) -> torch.Tensor:
        old = logprobs.detach() - log_ratios if name == "cispo" else given.old_logprobs
        return LOSSES[name](replace(given, policy_logprobs=logprobs, old_logprobs=old)).loss_sum

    assert torch.autograd.gradcheck(loss_of, given.policy_logprobs)


@pytest.mark.parametrize(("name", "settings", "correction"), VARIANTS)
def test_order_padding_and_split_do_not_matter(name: str, settings: dict[str, object], correction: str) -> None:
    given = random_inputs(2, settings, correction)
    whole = value(LOSSES[name](given))
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    tensors = ("policy_logprobs", "old_logprobs", "rollout_logprobs", "reference_logprobs", "mask")
    mixed = {field: getattr(given, field)[order] for field in (*tensors, "advantages")}
    assert value(LOSSES[name](replace(given, **mixed))) == pytest.approx(whole, rel=1e-12)
    padded = {field: torch.nn.functional.pad(getattr(given, field), (0, 3)) for field in tensors}
    assert value(LOSSES[name](replace(given, **padded))) == pytest.approx(whole, rel=1e-12)
    parts = [
        LOSSES[name](replace(given, **{field: getattr(given, field)[rows] for field in (*tensors, "advantages")}))
        for rows in (slice(0, 2), slice(2, 6))
    ]
    split = sum(part.loss_sum.item() for part in parts) / sum(part.weight for part in parts)
    assert split == pytest.approx(whole, rel=1e-12)
