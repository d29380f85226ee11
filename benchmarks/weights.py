"""How long does it take until engines serve new weights, and how much is moved?

    python -m benchmarks.weights --model-size 30m
    python -m benchmarks.weights --model-size 3b        (on GPUs)

A learner that trains all weights, one with a frozen vision tower, and one with adapters publish to one engine, with
random weights. On one GPU engine and learner share it, and the time to wake the engine up counts; with more each has
its own. `--backend` compares those of rollout.weight_transfer.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.random_policy import SIZES, write_policy
from benchmarks.report import add_output_arguments, finish, gpu_name
from benchmarks.tiny import Workload, recipe_keys
from rft.actors.cluster import cluster
from rft.actors.learner import LearnerActors
from rft.actors.rollout import start_pool
from rft.recipe import Recipe
from rft.rollout.pool import WorkerPool
from rft.tables import TextTable
from rft.weights.transfer import transfer_backend

TRAINED: dict[str, dict[str, object]] = {
    "all weights": {},
    "vision tower frozen": {"freeze_vision": True},
    "adapters": {"lora": {}},
}
WORK = Workload(prompts=1, group=2, completion_tokens=1, frames=4, steps=1, beta=0.0)


def recipe(folder: Path, backend: str, learner: dict[str, object]) -> Recipe:
    on_gpus = torch.cuda.device_count()
    rollout = {
        "weight_transfer": backend,
        "share_gpu": on_gpus == 1,
        "gpu_memory_utilization": 0.3,
        "max_model_len": 512,
    }
    keys = recipe_keys(folder, WORK, **rollout)
    keys["model"] = str(folder)
    keys["learner"] = {"dtype": "bfloat16" if on_gpus else "float32"} | learner
    return Recipe.model_validate(keys)


def measure(pool: WorkerPool, recipe: Recipe, folder: Path, repeats: int) -> dict[str, float]:
    """Medians over `repeats` hand-overs, after one that warms up."""
    learner = LearnerActors(recipe, recipe.model, folder / "clips")
    published, loaded = [], []
    for _ in range(repeats + 1):
        list(
            pool.generate((), recipe.sampling.sampling(), seed=0)
        )  # as after a batch: an engine that shares its GPU sleeps
        begun = time.perf_counter()
        ref = learner.publish_weights()
        published.append(time.perf_counter() - begun)
        pool.load_weights(ref)
        loaded.append(time.perf_counter() - begun - published[-1])
    learner.close()
    found = {"publish_s": median(published[1:]), "load_s": median(loaded[1:]), "mib": ref.num_bytes / 2**20}
    return found | {"seconds": found["publish_s"] + found["load_s"]}


def table(backend: str, found: dict[str, dict[str, float]]) -> TextTable:
    lines = tuple(
        (what, f"{of['mib']:,.1f}", f"{of['publish_s']:.3f}", f"{of['load_s']:.3f}", f"{of['seconds']:.3f}")
        for what, of in found.items()
    )
    return TextTable(
        f"Weight hand-over, {backend}", ("trained", "MiB", "publish, s", "load and prove, s", "sum, s"), lines
    )


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--model-size", type=str.lower, choices=tuple(SIZES), default="1m")
    parser.add_argument("--backend", choices=("auto", "object_store", "ipc", "nccl"), default="auto")
    parser.add_argument("--repeats", type=int, default=5)
    add_output_arguments(parser)
    arguments = parser.parse_args(argv)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name, cluster():
        folder = Path(name)
        write_policy(folder, arguments.model_size)
        recipes = {what: recipe(folder, arguments.backend, learner) for what, learner in TRAINED.items()}
        of_pool = next(iter(recipes.values()))
        backend = transfer_backend(of_pool.rollout, torch.cuda.is_available())
        pool = start_pool(str(folder), of_pool, folder / "clips")
        for what, asked in recipes.items():
            found[what] = measure(pool, asked, folder, arguments.repeats)
        pool.close()
    result = {
        "question": "seconds and bytes of a weight hand-over",
        "model_size": arguments.model_size,
        "backend": backend,
        "hardware": gpu_name() or "CPU",
        "trained": found,
    }
    of = (arguments.model_size, backend) if torch.cuda.is_available() else ()
    return finish("weights", result, [table(backend, found)], arguments, *of)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
