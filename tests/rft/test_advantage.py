import math

import pytest

from rft.algorithm.advantage import ADVANTAGES, advantages
from rft.recipe import AlgorithmRecipe


def test_group_scaled_by_hand() -> None:
    # mean 0.5, unbiased variance (0.25 * 4) / 3
    scale = math.sqrt(1 / 3) + 1e-4
    assert advantages([0, 0, 1, 1], "group") == pytest.approx([-0.5 / scale, -0.5 / scale, 0.5 / scale, 0.5 / scale])


def test_centred_by_hand() -> None:
    assert advantages([0.5, 1.0, 3.0], "none") == pytest.approx([-1.0, -0.5, 1.5])


@pytest.mark.parametrize("scale_rewards", ADVANTAGES)
@pytest.mark.parametrize("rewards", [[], [1.0], [0.1] * 3, [0.3, 0.1 + 0.2], [-2.0] * 8])
def test_no_spread_is_exactly_no_signal(rewards: list[float], scale_rewards: str) -> None:
    assert advantages(rewards, scale_rewards) == (0.0,) * len(rewards)


def test_every_setting_of_the_recipe_is_in_the_table() -> None:
    for name in AlgorithmRecipe.model_fields["scale_rewards"].annotation.__args__:  # type: ignore[union-attr]
        assert sum(advantages([0.0, 1.0, 5.0], name)) == pytest.approx(0)
