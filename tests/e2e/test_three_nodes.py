"""A run on a Ray cluster that was there: three nodes of one machine against a run of its own."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
import yaml
from forked import rft
from ray.cluster_utils import Cluster
from safetensors.numpy import load_file

from rft.actors.joined import NAMESPACE, cluster_nodes, reserve_places, reserved
from rft.errors import ClusterError
from rft.recipe.load import parse_recipe
from rft.runs.run_dir import RunDir
from rft.synthetic.questions import DRAWN_TASKS
from rft.synthetic.rows import Sizes, write_dataset

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head without cores, and three nodes with one each."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(3):
            cluster.add_node(num_cpus=1)
        yield cluster
    finally:
        cluster.shutdown()


def test_engines_on_two_nodes_and_the_learner_on_a_third_learn_the_same(tmp_path: Path, cluster: Cluster) -> None:
    few = Sizes(events=3, journeys=3)
    write_dataset(tmp_path, seed=0, train=few, held_out=few, num_processes=1)
    keys = {
        "model": str(tmp_path / "policy"),
        "tasks": {name: {"rewards": {"think_format": 1.0}} for name in DRAWN_TASKS},
        "data": {"train": [str(tmp_path / "train.jsonl")]},
        "video": {"max_frames": 8, "min_pixels": 3136, "max_pixels": 3136},
        "steps": 2,
        "prompts_per_step": 2,
        "sampling": {"num_generations": 2, "max_completion_length": 8},
        "rollout": {"num_workers": 2, "max_model_len": 512, "kv_cache_gib": 0.25},
        "learner": {"learning_rate": 1e-3, "dtype": "float32"},
        "algorithm": {"zero_std_groups": "keep", "beta": 0.1},
    }
    recipe = tmp_path / "small.yaml"
    recipe.write_text(yaml.safe_dump(keys))
    printed = rft("train", recipe, f"run_dir={tmp_path / 'joined'}", f"cluster.address={cluster.address}")
    rft("train", recipe, f"run_dir={tmp_path / 'alone'}")
    ray.init(address=cluster.address, logging_level="ERROR")
    try:
        assert [node["Alive"] for node in ray.nodes()] == [True] * 4, "the cluster goes on"
    finally:
        ray.shutdown()
    assert printed.count("1 of 1") == 3
    joined, alone = (RunDir(tmp_path / name).checkpoint(2) for name in ("joined", "alone"))
    for file in ("policy/model.safetensors", "optimizer.safetensors"):
        ours, theirs = load_file(joined / file), load_file(alone / file)
        assert ours.keys() == theirs.keys()
        assert all((ours[name] == theirs[name]).all() for name in ours), file


def test_a_process_gets_no_place_on_a_node_that_left(cluster: Cluster) -> None:
    """After the others: it takes a node away."""
    recipe = parse_recipe("{model: m, tasks: {}, data: {train: []}, steps: 1}", "r.yaml")
    ray.init(address=cluster.address, namespace=f"{NAMESPACE}test", logging_level="ERROR")
    try:
        of_engine, of_rank = reserve_places(recipe, num_ranks=1).places
        cluster.remove_node(next(node for node in cluster.worker_nodes if node.node_id == of_engine.node.node_id))
        deadline = time.monotonic() + 60
        while of_engine.node in cluster_nodes() and time.monotonic() < deadline:
            time.sleep(0.2)
        with pytest.raises(ClusterError, match=r"the node of engine 0 has left the cluster\. Continue with --resume"):
            reserved(recipe, "engine", 0)
        assert of_rank.node in cluster_nodes()
        assert reserved(recipe, "rank", 0)["num_gpus"] == 0
    finally:
        ray.shutdown()
