"""Weights from GPU to GPU, with the real learner and the real engine: `pytest tests/gpu -s` prints the seconds."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import fmean

import psutil
import pytest
import torch

from benchmarks.tiny import Workload, recipe_keys, write_data
from rft.actors.cluster import cluster
from rft.actors.learner import LearnerActors
from rft.actors.rollout import start_pool
from rft.data.dataset import read_rows, to_prompt
from rft.recipe import Recipe
from rft.rollout.pool import WorkerPool
from rft.types import Completion, Prompt, TrainGroup
from rft.weights.ref import Probe

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

WORK = Workload(prompts=2, group=4, completion_tokens=16, frames=4, steps=2, side=56)
LORA_QV = {"lora": {"r": 4, "target_modules": ["q_proj", "v_proj"]}}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    write_data(folder, WORK.num_clips)
    return folder


@contextmanager
def both_sides(data: Path, recipe: Recipe) -> Iterator[tuple[WorkerPool, LearnerActors]]:
    with cluster(), closing(start_pool(recipe.model, recipe, data / "clips")) as pool:
        pool.wait_until_ready()
        with closing(LearnerActors(recipe, recipe.model, data / "clips")) as learner:
            yield pool, learner


def make_recipe(data: Path, learner: dict[str, object], **rollout: object) -> Recipe:
    keys = recipe_keys(data, WORK, gpu_memory_utilization=0.3, max_restarts=1, **rollout)
    learning = {"dtype": "bfloat16", "learning_rate": 1e-2, "lr_scheduler_type": "constant"}
    return Recipe.model_validate(keys | {"learner": learning | learner})


def prompts_of(recipe: Recipe) -> list[Prompt]:
    return [to_prompt(row, recipe) for row in read_rows(recipe.data.train, None, recipe.tasks)][:2]


def generate(pool: WorkerPool, prompts: list[Prompt], recipe: Recipe) -> list[tuple[Completion, ...]]:
    groups = dict(pool.generate(prompts, recipe.sampling.sampling(), seed=0))
    return [groups[i] for i in range(len(prompts))]


def hand_over(pool: WorkerPool, learner: LearnerActors, what: str) -> Probe:
    """What the learner says of the probe. RolloutError: the engine says otherwise."""
    begun = time.perf_counter()
    ref = learner.publish_weights()
    gap = pool.load_weights(ref)
    seconds = time.perf_counter() - begun
    print(f"{what}: {ref.num_bytes / 2**20:.1f} MiB handed over in {seconds:.3f} s, probe gap {gap:.1e}")
    return ref.probe


@pytest.mark.parametrize("learner_keys", [{}, LORA_QV], ids=str)
@pytest.mark.parametrize(
    "rollout",
    [
        {"share_gpu": True},
        {"share_gpu": True, "weight_transfer": "object_store"},
        {"share_gpu": True, "ahead": 1},
        {},
        {"num_workers": 2},
        {"gpus_per_worker": 2},
    ],
    ids=str,
)
def test_an_engine_serves_what_was_learned(
    data: Path, rollout: dict[str, object], learner_keys: dict[str, object]
) -> None:
    """Three hand-overs with updates between them, one to an engine that took a killed one's place, and one to all."""
    num_gpus = (
        1 if "share_gpu" in rollout else 1 + int(str(rollout.get("num_workers", rollout.get("gpus_per_worker", 1))))
    )
    if torch.cuda.device_count() < num_gpus:
        pytest.skip(f"needs {num_gpus} GPUs")
    recipe = make_recipe(data, learner_keys, **rollout)
    prompts = prompts_of(recipe)
    with both_sides(data, recipe) as (pool, learner):
        probes = []
        for _ in range(3):
            probes.append(hand_over(pool, learner, f"{rollout} {learner_keys}"))
            drawn = generate(pool, prompts, recipe)
            groups = [
                TrainGroup(prompt, group, tuple(float(place % 2) * 2 - 1 for place in range(len(group))))
                for prompt, group in zip(prompts, drawn, strict=True)
            ]
            assert learner.update(groups)["skipped_updates"] == 0
        probes.append(hand_over(pool, learner, "last"))
        change = fmean(abs(a - b) for a, b in zip(probes[0].logprobs, probes[-1].logprobs, strict=True))
        assert change > 2 * recipe.rollout.probe_tolerance, "stale weights would not have been noticed"
        (worker, *_) = (p for p in psutil.Process().children(recursive=True) if "RolloutWorker" in p.name())
        worker.kill()
        after = generate(pool, prompts, recipe)
        assert {completion.policy_version for group in after for completion in group} == {learner.policy_version}
        assert pool.counters()["restarts"] == 1
        hand_over(pool, learner, "with the new engine")


def test_an_engine_sleeps_between_batches(data: Path) -> None:
    recipe = make_recipe(data, {}, share_gpu=True)
    total = torch.cuda.mem_get_info()[1]
    with both_sides(data, recipe) as (pool, learner):
        hand_over(pool, learner, "awake")
        awake = torch.cuda.mem_get_info()[0]
        generate(pool, prompts_of(recipe), recipe)
        asleep = torch.cuda.mem_get_info()[0]
    print(f"asleep, the engine leaves {(asleep - awake) / 2**30:.1f} GiB of {total / 2**30:.0f} to the learner")
    assert asleep - awake > 0.5 * recipe.rollout.gpu_memory_utilization * total
