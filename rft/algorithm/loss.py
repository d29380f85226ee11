"""Policy-gradient losses: log-probabilities and advantages -> the loss of a part of a batch.

A loss returns a sum and its weight. The learner adds both up over all forwards and ranks and divides once, so the
result does not depend on how the batch was split. To add a loss: a function here, a line in LOSSES, a hand-worked test.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class LossInputs:
    """N completions of up to T tokens, and the recipe's algorithm settings."""

    policy_logprobs: Tensor
    """[N, T], with gradient; outside `mask` any finite number."""
    old_logprobs: Tensor
    """[N, T], under the policy before the first update with this batch; no gradient."""
    reference_logprobs: Tensor | None
    """[N, T], under the frozen reference; None where beta is 0."""
    advantages: Tensor
    """[N]"""
    mask: Tensor
    """[N, T], True at the tokens of completions."""
    epsilon: float
    """math.inf: not clipped; epsilon_high too."""
    epsilon_high: float
    beta: float
    max_completion_length: int


@dataclass(frozen=True, slots=True)
class LossOutput:
    loss_sum: Tensor
    """Scalar, with gradient."""
    weight: float
    """The batch's loss is the sum of all loss_sum over the sum of all weights."""
    metrics: dict[str, Tensor]
    """Name -> sum over tokens."""


LossFn = Callable[[LossInputs], LossOutput]


def grpo(inputs: LossInputs) -> LossOutput:
    """Mean over each completion's tokens, then over completions. Source: DeepSeekMath, arXiv:2402.03300."""
    losses, metrics = token_losses(inputs)
    num_tokens = inputs.mask.sum(-1).clamp(min=1)
    return LossOutput((losses.sum(-1) / num_tokens).sum(), float(len(losses)), metrics)


def token_mean(inputs: LossInputs) -> LossOutput:
    """Mean over all tokens of the batch, so long completions weigh more. Source: DAPO, arXiv:2503.14476."""
    losses, metrics = token_losses(inputs)
    return LossOutput(losses.sum(), float(inputs.mask.sum()), metrics)


def dr_grpo(inputs: LossInputs) -> LossOutput:
    """Sum over tokens over a constant, the longest possible completion. Source: Dr. GRPO, arXiv:2503.20783."""
    losses, metrics = token_losses(inputs)
    return LossOutput(losses.sum(), float(len(losses) * inputs.max_completion_length), metrics)


LOSSES: dict[str, LossFn] = {"grpo": grpo, "bnpo": token_mean, "dapo": token_mean, "dr_grpo": dr_grpo}


def token_losses(inputs: LossInputs) -> tuple[Tensor, dict[str, Tensor]]:
    """[N, T] clipped objective plus beta times KL, 0 outside the mask; and the sums of clip_share and kl."""
    zero = inputs.policy_logprobs.new_zeros(())
    advantages = inputs.advantages[:, None]
    ratios = torch.where(inputs.mask, inputs.policy_logprobs - inputs.old_logprobs, zero).exp()
    clipped = ratios.clamp(1 - inputs.epsilon, 1 + inputs.epsilon_high)
    losses = -torch.minimum(ratios * advantages, clipped * advantages)
    low = (ratios < 1 - inputs.epsilon) & (advantages < 0)
    high = (ratios > 1 + inputs.epsilon_high) & (advantages > 0)
    metrics = {"clip_share": ((low | high) & inputs.mask).sum()}
    if inputs.reference_logprobs is not None:
        kl = torch.where(inputs.mask, k3(inputs.policy_logprobs, inputs.reference_logprobs), zero)
        losses = losses + inputs.beta * kl
        metrics["kl"] = kl.detach().sum()
    return torch.where(inputs.mask, losses, zero), metrics


def k3(policy_logprobs: Tensor, other_logprobs: Tensor) -> Tensor:
    """Estimate of KL(policy || other) at tokens drawn from the policy; never negative.

    Source: Schulman, "Approximating KL Divergence", http://joschu.net/blog/kl-approx.html.
    """
    gap = other_logprobs - policy_logprobs
    return gap.exp() - 1 - gap
