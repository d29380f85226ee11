"""Estimates of KL(policy || other) at tokens that the policy drew, one number per token.

Source: Schulman, "Approximating KL Divergence", http://joschu.net/blog/kl-approx.html.
"""

from collections.abc import Callable

from torch import Tensor


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
"""Value of `algorithm.kl_estimator` -> estimator."""
