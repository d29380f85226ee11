"""Rewards of one group -> advantages."""

from collections.abc import Callable, Sequence
from statistics import fmean, stdev

_NO_SPREAD = 1e-9
"""Rewards closer than this differ by rounding only."""


def group_scaled(rewards: Sequence[float]) -> tuple[float, ...]:
    """Centred and divided by the group's standard deviation, GRPO as in DeepSeekMath (arXiv:2402.03300).

    The unbiased deviation plus 1e-4, as trl.GRPOTrainer has it.
    """
    mean, scale = fmean(rewards), stdev(rewards) + 1e-4
    return tuple((reward - mean) / scale for reward in rewards)


def centred(rewards: Sequence[float]) -> tuple[float, ...]:
    """Centred only, as in Dr. GRPO (arXiv:2503.20783)."""
    mean = fmean(rewards)
    return tuple(reward - mean for reward in rewards)


ADVANTAGES: dict[str, Callable[[Sequence[float]], tuple[float, ...]]] = {"group": group_scaled, "none": centred}
"""By the recipe's `scale_rewards`."""


def advantages(rewards: Sequence[float], scale_rewards: str) -> tuple[float, ...]:
    """[G] -> [G]; exactly 0 for all where the rewards are equal or fewer than two: such a group has no signal."""
    if len(rewards) < 2 or max(rewards) - min(rewards) < _NO_SPREAD:
        return (0.0,) * len(rewards)
    return ADVANTAGES[scale_rewards](rewards)
