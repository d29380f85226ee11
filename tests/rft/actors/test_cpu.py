from typing import Any

import pytest

from rft.actors.cpu import clips_at_once, decode_processes, gpu_process_threads, learner_threads
from rft.recipe import Recipe


def recipe_of(**sections: Any) -> Recipe:
    return Recipe.model_validate({"model": "none", "tasks": {}, "data": {"train": ()}, "steps": 1, **sections})


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
    assert learner_threads(recipe_of(rollout=rollout, learner={"num_ranks": num_ranks}), cores=8) == threads


@pytest.mark.parametrize(
    ("num_workers", "num_ranks", "cores", "threads"), [(1, 1, 16, 8), (4, 4, 96, 8), (4, 4, 32, 4), (8, 8, 8, 1)]
)
def test_engines_and_learner_beside_gpus_share_the_cores(
    num_workers: int, num_ranks: int, cores: int, threads: int
) -> None:
    recipe = recipe_of(rollout={"num_workers": num_workers}, learner={"num_ranks": num_ranks})
    assert gpu_process_threads(recipe, cores) == threads


@pytest.mark.parametrize(
    ("given", "cores", "number"), [(None, 2, 2), (None, 32, 8), (None, 128, 16), (0, 32, 0), (5, 2, 5)]
)
def test_clips_decoded_ahead(given: int | None, cores: int, number: int) -> None:
    assert decode_processes(recipe_of(video={"decode_ahead": given}), cores) == number


@pytest.mark.parametrize(("num_workers", "cores", "number"), [(1, 2, 2), (1, 32, 8), (4, 64, 4), (8, 96, 2)])
def test_engines_share_the_clips_that_a_machine_decodes(num_workers: int, cores: int, number: int) -> None:
    assert clips_at_once(recipe_of(rollout={"num_workers": num_workers}), cores) == number
