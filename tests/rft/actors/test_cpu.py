from typing import Any

import pytest

from rft.actors.cpu import learner_threads
from rft.recipe import Recipe


@pytest.mark.parametrize(
    ("rollout", "num_ranks", "threads"),
    [
        ({}, 1, 8),
        ({}, 3, 2),
        ({"threads_per_worker": 2}, 1, 8),  # in turns: engines are idle meanwhile
        ({"ahead": 1}, 1, 8),
        ({"ahead": 1, "threads_per_worker": 2, "num_workers": 3}, 1, 2),
        ({"ahead": 1, "threads_per_worker": 2}, 2, 3),
        ({"ahead": 1, "threads_per_worker": 16}, 1, 1),
    ],
)
def test_learner_takes_the_cores_that_engines_at_work_leave(
    rollout: dict[str, Any], num_ranks: int, threads: int
) -> None:
    keys: dict[str, Any] = {"model": "none", "tasks": {}, "data": {"train": ()}, "steps": 1}
    recipe = Recipe.model_validate(keys | {"rollout": rollout, "learner": {"num_ranks": num_ranks}})
    assert learner_threads(recipe, cores=8) == threads
