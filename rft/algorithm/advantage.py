"""Rewards of one group -> advantages."""

from collections.abc import Callable, Sequence
from statistics import fmean, stdev

from rft.recipe.algorithm import GroundTruthRecipe

_NO_SPREAD = 1e-9
"""Rewards closer than this differ by rounding only."""

_EPSILON = 1e-4
"""Added to a deviation that is divided by, as trl.GRPOTrainer has it."""

ANCHOR = 1.2
"""Advantage of an anchored ground truth over the best of its group, as TempSamp-R1 has it."""

GROUND_TRUTH_SCALE = 0.8
"""Factor on the reward of a ground truth that is a member of the group, as in TempSamp-R1."""

AdvantageFn = Callable[[Sequence[float], float | None], tuple[float, ...]]
"""(rewards [G], the task's running standard deviation) -> [G]."""


def group_norm(rewards: Sequence[float], task_std: float | None) -> tuple[float, ...]:
    """Centred and divided by the group's unbiased standard deviation. Source: DeepSeekMath, arXiv:2402.03300."""
    return _over(mean_only(rewards, task_std), stdev(rewards))


def mean_only(rewards: Sequence[float], task_std: float | None) -> tuple[float, ...]:
    """Centred only: hard and easy groups do not weigh more. Source: Dr. GRPO, arXiv:2503.20783."""
    mean = fmean(rewards)
    return tuple(reward - mean for reward in rewards)


def rloo(rewards: Sequence[float], task_std: float | None) -> tuple[float, ...]:
    """Less the mean of the others: without bias. Source: RLOO, arXiv:2402.14740."""
    scale = len(rewards) / (len(rewards) - 1)
    return tuple(scale * value for value in mean_only(rewards, task_std))


def per_task_running_std(rewards: Sequence[float], task_std: float | None) -> tuple[float, ...]:
    """Centred and divided by the running deviation of the task's groups, so that tasks of a mix weigh alike.

    Source: the task-wise normalisation of OneThinker, arXiv:2512.03043.
    """
    return _over(mean_only(rewards, task_std), stdev(rewards) if task_std is None else task_std)


ADVANTAGES: dict[str, AdvantageFn] = {
    "group_norm": group_norm,
    "mean_only": mean_only,
    "rloo": rloo,
    "per_task_running_std": per_task_running_std,
}
"""Value of `algorithm.advantage` -> function."""


def advantages(rewards: Sequence[float], name: str, task_std: float | None = None) -> tuple[float, ...]:
    """[G] -> [G]; exactly 0 for all where the rewards are equal or fewer than two: such a group has no signal."""
    return ADVANTAGES[name](rewards, task_std) if has_signal(rewards) else (0.0,) * len(rewards)


def advantages_with_ground_truth(
    rewards: Sequence[float],
    ground_truth_reward: float,
    ground_truth: GroundTruthRecipe,
    name: str,
    task_std: float | None = None,
) -> tuple[tuple[float, ...], float]:
    """(advantages of the group [G], advantage of the ground truth).

    Anchored to the best of the group, it is 0 if the group has no signal; as a member with a scaled reward it can give
    a group signal, and is below 0 if the others earn more. Source: TempSamp-R1, arXiv:2509.18056.
    """
    if ground_truth.advantage == "anchored":
        values = advantages(rewards, name, task_std)
        return values, (ground_truth.factor or ANCHOR) * max(values, default=0.0)
    scaled = (ground_truth.factor or GROUND_TRUTH_SCALE) * ground_truth_reward
    *values_of_group, of_ground_truth = advantages([*rewards, scaled], name, task_std)
    return tuple(values_of_group), of_ground_truth


def has_signal(rewards: Sequence[float]) -> bool:
    return len(rewards) >= 2 and max(rewards) - min(rewards) >= _NO_SPREAD


def _over(values: Sequence[float], std: float) -> tuple[float, ...]:
    return tuple(value / (std + _EPSILON) for value in values)
