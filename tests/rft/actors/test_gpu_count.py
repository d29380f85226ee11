"""GPUs as numbers: what a recipe needs against what there is."""

from functools import partial
from pathlib import Path

import pytest
import ray

from rft.actors.cluster import check_gpus, cluster
from rft.actors.gpu_count import driver_gpus, gpu_problem, gpus_needed
from rft.errors import ClusterError
from rft.recipe import Recipe


def recipe_of(ranks: int = 1, judge_gpus: int = 0, **rollout: object) -> Recipe:
    keys = {"model": "m", "tasks": {}, "data": {"train": []}, "steps": 1, "learner": {"num_ranks": ranks}}
    judge = {"model": "j", "gpus": judge_gpus} if judge_gpus else None
    return Recipe.model_validate(keys | {"rollout": rollout, "judge": judge})


@pytest.mark.parametrize(
    ("recipe", "num_ranks", "needed"),
    [
        (recipe_of(), 1, 2),
        (recipe_of(num_workers=4), 4, 8),
        (recipe_of(num_workers=2, gpus_per_worker=4), 3, 11),
        (recipe_of(num_workers=2, share_gpu=True), 4, 4),
        (recipe_of(num_workers=4, share_gpu=True), 2, 4),
        (recipe_of(num_workers=2, gpus_per_worker=2), 0, 4),
        (recipe_of(judge_gpus=2), 1, 4),
        (recipe_of(judge_gpus=1, num_workers=2, share_gpu=True), 2, 3),
        (recipe_of(judge_gpus=2, num_workers=2), 0, 2),
    ],
)
def test_gpus_needed(recipe: Recipe, num_ranks: int, needed: int) -> None:
    assert gpus_needed(recipe, num_ranks) == needed
    assert gpu_problem(recipe, num_ranks, needed, ()) is None
    problem = gpu_problem(recipe, num_ranks, needed - 1, ())
    assert problem is not None
    assert problem.startswith(f"{needed} GPUs are needed")
    assert f"{needed - 1} are there" in problem
    assert "rollout.share_gpu" in problem


def test_sharing_is_advised_where_it_helps() -> None:
    advice = "or set rollout.share_gpu"
    assert advice in str(gpu_problem(recipe_of(), 1, 1, ()))
    assert advice not in str(gpu_problem(recipe_of(share_gpu=True, num_workers=2), 2, 1, ()))
    assert advice not in str(gpu_problem(recipe_of(gpus_per_worker=2), 1, 1, ()))
    assert advice not in str(gpu_problem(recipe_of(num_workers=2), 0, 1, ()))


def test_no_gpu_is_a_problem_only_where_one_was_meant() -> None:
    assert gpu_problem(recipe_of(), 1, 0, ()) is None
    problem = str(gpu_problem(recipe_of(), 1, 0, ("a driver is there", "vllm is for GPUs")))
    assert problem.startswith("no GPU is found, though a driver is there and vllm is for GPUs")
    assert "CUDA_VISIBLE_DEVICES" in problem


@pytest.mark.parametrize(("visible", "number"), [(None, 2), ("", 0), ("-1", 0), ("1", 1), ("0,1,2", 2)])
def test_gpus_of_the_driver(visible: str | None, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert driver_gpus(tmp_path) == number


@pytest.mark.parametrize(("num_gpus", "ranks", "found"), [(1, 1, None), (2, 1, 2)])
def test_what_ray_finds_is_asked_before_anything_waits_for_it(
    num_gpus: int, ranks: int, found: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"GPU": float(num_gpus), "CPU": 4.0})
    if found is None:
        with pytest.raises(ClusterError, match=r"2 GPUs are needed .* and 1 are there"):
            check_gpus(recipe_of(ranks), ranks)
    else:
        assert check_gpus(recipe_of(ranks), ranks) == found


@pytest.mark.slow
def test_too_few_claimed_gpus_are_an_error() -> None:
    """Ray only counts them, so none has to be there."""
    with cluster(init=partial(ray.init, num_gpus=4)):
        assert check_gpus(recipe_of(ranks=3), 3) == 4
        with pytest.raises(ClusterError, match=r"6 GPUs are needed .* and 4 are there"):
            check_gpus(recipe_of(ranks=5), 5)
