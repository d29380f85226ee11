"""Policy-gradient losses: log-probabilities and advantages -> the loss of a part of a batch.

A loss is a ratio (of tokens or of sequences), an objective in that ratio, and a mean. It returns a sum and its weight:
the learner adds both up over all forwards and ranks and divides once, so the result does not depend on how the batch
was split. To add a loss: a function here, a line in LOSSES, its name in the recipe's LossType, a hand-worked test. Or
a function in a file of one's own, which the recipe names: `loss_type: my_loss.py:my_loss`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rft.own_code import is_own, load_own
from rft.recipe.algorithm import AlgorithmRecipe


@dataclass(frozen=True, slots=True)
class LossInputs:
    """N completions of up to T tokens, and the recipe's algorithm settings."""

    policy_logprobs: Tensor
    """[N, T], with gradient; outside `mask` any finite number."""
    old_logprobs: Tensor
    """[N, T], under the policy before the first update with this batch; no gradient."""
    rollout_logprobs: Tensor
    """[N, T], as the engine that sampled them states them."""
    reference_logprobs: Tensor | None
    """[N, T], under the frozen reference; None where beta is 0."""
    advantages: Tensor
    """[N]"""
    mask: Tensor
    """[N, T], True at the tokens of completions."""
    algorithm: AlgorithmRecipe
    correction: str
    """A mode of `mismatch_weights`, or "none"."""
    max_completion_length: int

    @property
    def bounds(self) -> tuple[float, float]:
        """Lower and upper bound of the clipped ratio; -inf and inf where it is not clipped."""
        low, high = self.algorithm.epsilon, self.algorithm.epsilon_high
        high = low if high is None else high
        return -math.inf if low is None else 1 - low, math.inf if high is None else 1 + high


@dataclass(frozen=True, slots=True)
class LossOutput:
    loss_sum: Tensor
    """Scalar, with gradient."""
    weight: float
    """The batch's loss is the sum of all loss_sum over the sum of all weights."""
    metrics: dict[str, Tensor]
    """Name -> sum over tokens."""


LossFn = Callable[[LossInputs], LossOutput]
Objective = tuple[Tensor, Tensor]
"""Losses [N, T] or [N, 1] without the KL term, and where the clip removes the gradient."""


def grpo(inputs: LossInputs) -> LossOutput:
    """Mean over each completion's tokens, then over completions. Source: DeepSeekMath, arXiv:2402.03300."""
    return per_completion(inputs, clipped(inputs, token_ratios(inputs)))


def token_mean(inputs: LossInputs) -> LossOutput:
    """Mean over all tokens of the batch, so long completions weigh more. Source: DAPO, arXiv:2503.14476."""
    return per_token(inputs, clipped(inputs, token_ratios(inputs)))


def dr_grpo(inputs: LossInputs) -> LossOutput:
    """Sum over tokens over a constant, the longest possible completion. Source: Dr. GRPO, arXiv:2503.20783."""
    losses, metrics = token_losses(inputs, clipped(inputs, token_ratios(inputs)))
    return LossOutput(losses.sum(), float(len(losses) * inputs.max_completion_length), metrics)


def gspo(inputs: LossInputs) -> LossOutput:
    """GRPO with one ratio per completion, the geometric mean of its tokens'. Source: GSPO, arXiv:2507.18071."""
    return per_completion(inputs, clipped(inputs, sequence_ratios(inputs)))


def cispo(inputs: LossInputs) -> LossOutput:
    """REINFORCE weighted by the ratio, whose weight is cut and carries no gradient. Source: CISPO, arXiv:2506.13585.

    Every token keeps its gradient. Only the upper bound cuts, as in the paper's experiments: usually epsilon_high is
    several units.
    """
    ratios, (_, high) = token_ratios(inputs).detach(), inputs.bounds
    losses = -ratios.clamp(max=high) * inputs.advantages[:, None] * inputs.policy_logprobs
    return per_token(inputs, (losses, ratios > high))


def sapo(inputs: LossInputs) -> LossOutput:
    """GRPO with a smooth gate in place of the clip, sharper where advantages are negative. Source: arXiv:2511.20347."""
    ratios, advantages = token_ratios(inputs), inputs.advantages[:, None]
    sharp = torch.where(advantages > 0, inputs.algorithm.sapo_temperature_pos, inputs.algorithm.sapo_temperature_neg)
    losses = -torch.sigmoid(sharp * (ratios - 1)) * 4 / sharp * advantages
    return per_completion(inputs, (losses, torch.zeros_like(ratios, dtype=torch.bool)))


LOSSES: dict[str, LossFn] = {
    "grpo": grpo,
    "bnpo": token_mean,
    "dapo": token_mean,
    "dr_grpo": dr_grpo,
    "gspo": gspo,
    "cispo": cispo,
    "sapo": sapo,
}


def k1(policy_logprobs: Tensor, other_logprobs: Tensor) -> Tensor:
    """Log-ratio: without bias, of large variance, often negative; as a loss its mean gradient is 0."""
    return policy_logprobs - other_logprobs


def k2(policy_logprobs: Tensor, other_logprobs: Tensor) -> Tensor:
    """Half the squared difference: of small bias, and never negative; its gradient is the KL's."""
    return (policy_logprobs - other_logprobs) ** 2 / 2


def k3(policy_logprobs: Tensor, other_logprobs: Tensor) -> Tensor:
    """Ratio - 1 - log-ratio: without bias and never negative. What DeepSeekMath (arXiv:2402.03300) and TRL use."""
    gap = other_logprobs - policy_logprobs
    return gap.exp() - 1 - gap


KL_ESTIMATORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"k1": k1, "k2": k2, "k3": k3}
"""Value of `algorithm.kl_estimator` -> estimate of KL(policy || other) per token that the policy drew.

Source: Schulman, "Approximating KL Divergence", http://joschu.net/blog/kl-approx.html."""


def loss_function(loss_type: str) -> LossFn:
    """The loss that a recipe names: one of LOSSES, or that of a user's file. RecipeError: it cannot be loaded."""
    loss: LossFn = load_own(loss_type) if is_own(loss_type) else LOSSES[loss_type]
    return loss


def token_ratios(inputs: LossInputs) -> Tensor:
    """[N, T], policy over old policy; 1 outside the mask."""
    return _log_ratios(inputs).exp()


def sequence_ratios(inputs: LossInputs) -> Tensor:
    """[N, 1], the geometric mean of a completion's token ratios."""
    lengths = inputs.mask.sum(-1, keepdim=True).clamp(min=1)
    return (_log_ratios(inputs).sum(-1, keepdim=True) / lengths).exp()


def clipped(inputs: LossInputs, ratios: Tensor) -> Objective:
    """PPO's pessimistic objective; `delta` also bounds the ratio where the advantage is negative (two-sided clip)."""
    advantages, (low, high) = inputs.advantages[:, None], inputs.bounds
    free = ratios if inputs.algorithm.delta is None else ratios.clamp(max=inputs.algorithm.delta)
    losses = -torch.minimum(free * advantages, ratios.clamp(low, high) * advantages)
    held = ((ratios < low) & (advantages < 0)) | ((ratios > high) & (advantages > 0))
    return losses, held


def per_completion(inputs: LossInputs, objective: Objective) -> LossOutput:
    losses, metrics = token_losses(inputs, objective)
    num_tokens = inputs.mask.sum(-1).clamp(min=1)
    return LossOutput((losses.sum(-1) / num_tokens).sum(), float(len(losses)), metrics)


def per_token(inputs: LossInputs, objective: Objective) -> LossOutput:
    losses, metrics = token_losses(inputs, objective)
    return LossOutput(losses.sum(), float(inputs.mask.sum()), metrics)


def token_losses(inputs: LossInputs, objective: Objective) -> tuple[Tensor, dict[str, Tensor]]:
    """[N, T] objective, corrected for the engine's mismatch, plus beta times KL; 0 outside the mask. And token sums."""
    losses, held = objective
    metrics = {"clip_share": (held & inputs.mask).sum()}
    if inputs.correction != "none":
        weights = mismatch_weights(inputs)
        losses = losses * weights
        metrics["mismatch_weight"] = torch.where(inputs.mask, weights, 0.0).sum()
    if inputs.reference_logprobs is not None:
        estimate = KL_ESTIMATORS[inputs.algorithm.kl_estimator]
        kl = torch.where(inputs.mask, estimate(inputs.policy_logprobs, inputs.reference_logprobs), 0.0)
        losses = losses + inputs.algorithm.beta * kl
        metrics["kl"] = kl.detach().sum()
    return torch.where(inputs.mask, losses, 0.0), metrics


@torch.no_grad()
def mismatch_weights(inputs: LossInputs) -> Tensor:
    """[N, T] or [N, 1]: how much likelier the learner's old policy finds tokens than the engine that sampled them.

    Per token, or per sequence as the product of its tokens'; above the cap they are cut (truncate) or 0 (mask).
    Source: truncated importance sampling, "Your efficient RL framework secretly brings you off-policy RL training",
    2025; the masks as in TRL.
    """
    level, _, how = inputs.correction.partition("_")
    logs = torch.where(inputs.mask, inputs.old_logprobs - inputs.rollout_logprobs, 0.0)
    weights = (logs.sum(-1, keepdim=True) if level == "sequence" else logs).exp()
    cap = inputs.algorithm.importance_sampling_cap
    return weights.clamp(max=cap) if how == "truncate" else weights.masked_fill(weights > cap, 0.0)


def _log_ratios(inputs: LossInputs) -> Tensor:
    return torch.where(inputs.mask, inputs.policy_logprobs - inputs.old_logprobs, 0.0)
