"""A frozen tower looks once at a clip also where engine and learner are on GPUs, in bfloat16 and by other kernels."""

from contextlib import closing
from pathlib import Path

import pytest
import torch

from benchmarks.tiny import Workload, recipe_keys, write_data
from rft.actors.cluster import cluster
from rft.actors.learner import LearnerActors
from rft.actors.rollout import start_pool
from rft.data.dataset import read_rows, to_prompt
from rft.recipe import Recipe
from rft.types import TrainGroup

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

WORK = Workload(prompts=2, group=4, completion_tokens=16, frames=4, steps=2, side=56)


@pytest.mark.parametrize("gpus_per_worker", [1, 2])
def test_the_engine_encodes_and_the_learner_reads(tmp_path: Path, gpus_per_worker: int) -> None:
    """With two GPUs per engine its workers are processes of their own, and get the features from the scheduler's."""
    rollout = {"share_gpu": True} if gpus_per_worker == 1 else {"gpus_per_worker": gpus_per_worker}
    if torch.cuda.device_count() < (1 if gpus_per_worker == 1 else 1 + gpus_per_worker):
        pytest.skip("too few GPUs")
    write_data(tmp_path, WORK.num_clips)
    keys = recipe_keys(tmp_path, WORK, gpu_memory_utilization=0.3, **rollout)
    recipe = Recipe.model_validate(keys | {"learner": {"dtype": "bfloat16", "freeze_vision": True}})
    prompts = [to_prompt(row, recipe) for row in read_rows(recipe.data.train, None, recipe.tasks)][: WORK.prompts]
    counted, learned = [], []
    with (
        cluster(),
        closing(start_pool(recipe.model, recipe, tmp_path / "clips")) as pool,
        closing(LearnerActors(recipe, recipe.model, tmp_path / "clips")) as learner,
    ):
        for step in range(3):
            pool.load_weights(learner.publish_weights())
            drawn = dict(pool.generate(prompts, recipe.sampling.sampling(), seed=step))
            groups = [
                TrainGroup(prompts[index], group, tuple(float(place % 2) * 2 - 1 for place in range(len(group))))
                for index, group in drawn.items()
            ]
            counted.append(pool.counters())
            learned.append(learner.update(groups))
    assert [step["clips/encodes"] for step in counted] == [WORK.prompts, 0, 0]
    assert [step["clips/feature_hits"] for step in counted] == [0, WORK.prompts, WORK.prompts]
    assert [step["num_encoded_videos"] for step in learned] == [0, 0, 0]
    assert max(step["logprob_gap"] for step in learned) < 0.05
