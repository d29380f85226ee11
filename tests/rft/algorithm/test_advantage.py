import math
import statistics

import pytest

from rft.algorithm.advantage import ADVANTAGES, advantages
from rft.recipe.algorithm import AlgorithmRecipe


def test_group_norm_by_hand() -> None:
    # mean 0.5, unbiased variance (0.25 * 4) / 3
    scale = math.sqrt(1 / 3) + 1e-4
    expected = [-0.5 / scale, -0.5 / scale, 0.5 / scale, 0.5 / scale]
    assert advantages([0, 0, 1, 1], "group_norm") == pytest.approx(expected)


def test_mean_only_by_hand() -> None:
    assert advantages([0.5, 1.0, 3.0], "mean_only") == pytest.approx([-1.0, -0.5, 1.5])


def test_rloo_is_the_distance_from_the_mean_of_the_others() -> None:
    rewards = [0.5, 1.0, 3.0]
    others = [statistics.fmean(rewards[:i] + rewards[i + 1 :]) for i in range(3)]
    assert advantages(rewards, "rloo") == pytest.approx([r - o for r, o in zip(rewards, others, strict=True)])


def test_per_task_running_std_divides_by_the_tasks_deviation_or_at_first_the_groups() -> None:
    assert advantages([0.0, 1.0], "per_task_running_std", 0.25) == pytest.approx([-0.5 / 0.2501, 0.5 / 0.2501])
    assert advantages([0.0, 1.0], "per_task_running_std") == advantages([0.0, 1.0], "group_norm")


@pytest.mark.parametrize("name", ADVANTAGES)
@pytest.mark.parametrize("rewards", [[], [1.0], [0.1] * 3, [0.3, 0.1 + 0.2], [-2.0] * 8])
def test_no_spread_is_exactly_no_signal(rewards: list[float], name: str) -> None:
    assert advantages(rewards, name) == (0.0,) * len(rewards)


@pytest.mark.parametrize("name", ADVANTAGES)
def test_order_in_the_group_does_not_matter(name: str) -> None:
    forth, back = advantages([0.2, 0.9, 0.4], name, 0.3), advantages([0.4, 0.9, 0.2], name, 0.3)
    assert forth == pytest.approx(back[::-1])
    assert sum(forth) == pytest.approx(0)


def test_the_table_holds_what_a_recipe_may_say() -> None:
    assert AlgorithmRecipe.model_fields["advantage"].annotation.__args__ == tuple(ADVANTAGES)  # type: ignore[union-attr]
