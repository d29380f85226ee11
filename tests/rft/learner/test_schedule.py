import pytest

from rft.learner.schedule import learning_rate
from rft.recipe import LearnerRecipe


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
