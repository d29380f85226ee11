import pytest

from rft.learner.schedule import cold_start_rate, learning_rate
from rft.recipe import ColdStartRecipe, LearnerRecipe


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"lr_scheduler_type": "constant"}, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ({"lr_scheduler_type": "linear"}, [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]),
        ({"lr_scheduler_type": "linear", "warmup_steps": 2}, [0.5, 1.0, 1.0, 0.5, 0.0, 0.0]),
        ({"lr_scheduler_type": "linear", "min_lr_ratio": 0.2}, [1.0, 0.8, 0.6, 0.4, 0.2, 0.2]),
        ({"lr_scheduler_type": "cosine", "warmup_steps": 1}, [1.0, 1.0, 0.75, 0.25, 0.0, 0.0]),
        ({"lr_scheduler_type": "linear", "warmup_steps": 9}, [1 / 9, 2 / 9, 3 / 9, 4 / 9, 5 / 9, 6 / 9]),
    ],
)
def test_by_hand(settings: dict[str, object], expected: list[float]) -> None:
    recipe = LearnerRecipe.model_validate({"learning_rate": 1.0} | settings)
    assert [learning_rate(recipe, update, 4) for update in range(6)] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"lr_scheduler_type": "linear"}, [1.0, 0.75, 0.5, 0.25, 0.0]),
        ({"lr_scheduler_type": "linear", "warmup_steps": 2}, [0.0, 0.5, 1.0, 0.5, 0.0]),
        ({"lr_scheduler_type": "cosine"}, [1.0, 0.1 + 0.45 * (1 + 0.5**0.5), 0.55, 0.1 + 0.45 * (1 - 0.5**0.5), 0.1]),
        ({"warmup_steps": 3}, [0.0, 1 / 3, 2 / 3, 1.0, 0.1]),
    ],
)
def test_of_the_supervised_stage_by_hand(settings: dict[str, object], expected: list[float]) -> None:
    recipe = ColdStartRecipe.model_validate({"data": (), "steps": 4, "learning_rate": 1.0} | settings)
    assert [cold_start_rate(recipe, update) for update in range(5)] == pytest.approx(expected)
