"""A cluster that was there: how it is joined, what its nodes must have. Real nodes: tests/e2e/test_three_nodes.py."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from rft.actors.joined import interface_of, joined
from rft.actors.nodes import NodeReport, input_paths, node_problems, own_versions, report
from rft.actors.placement import Node
from rft.actors.whole_paths import with_whole_paths
from rft.errors import ClusterError
from rft.recipe import Recipe
from rft.recipe.cluster import ClusterRecipe


@pytest.mark.parametrize(
    ("address", "environment", "joins"),
    [
        (None, {}, None),
        (None, {"RAY_ADDRESS": ""}, None),
        (None, {"RAY_ADDRESS": "head:6379"}, "head:6379"),
        ("other:6379", {"RAY_ADDRESS": "head:6379"}, "other:6379"),
        ("local", {"RAY_ADDRESS": "head:6379"}, None),
        ("auto", {}, "auto"),
    ],
)
def test_which_cluster_a_run_joins(address: str | None, environment: Mapping[str, str], joins: str | None) -> None:
    assert ClusterRecipe(address=address).joined_address(environment) == joins


def test_processes_get_variables_and_the_runtime_env_of_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, object] = {}
    monkeypatch.setenv("NCCL_DEBUG", "INFO")
    monkeypatch.setenv("UNRELATED", "1")
    runtime_env = {"pip": ["x"], "env_vars": {"TWO": 3}}
    with joined("a:1", {"ONE": "1", "TWO": "2"}, runtime_env, lambda **options: seen.update(options)):
        assert (seen["address"], str(seen["namespace"])[:4]) == ("a:1", "rft-")
    runtime = seen["runtime_env"]
    assert isinstance(runtime, dict)
    assert runtime["pip"] == ["x"]
    assert runtime["env_vars"].items() >= {"ONE": "1", "TWO": "3", "NCCL_DEBUG": "INFO"}.items()
    assert "UNRELATED" not in runtime["env_vars"]


def test_a_cluster_that_is_not_there() -> None:
    def refused(**options: object) -> None:
        raise ConnectionError("nobody answers")

    with pytest.raises(ClusterError, match=r"(?s)at a:1 cannot be joined: ConnectionError: nobody answers.*local"):
        joined("a:1", {}, {}, refused).__enter__()


def test_the_interface_of_an_address() -> None:
    interfaces = {"lo": ["127.0.0.1"], "eth0": ["fe80::1", "10.0.0.7"]}
    assert [interface_of(address, interfaces) for address in ("10.0.0.7", "127.0.0.1", "10.0.0.8")] == [
        "eth0",
        "lo",
        None,
    ]


def test_every_difference_of_every_node_is_told() -> None:
    here = {"python": "3.12.1", "torch": "2.13.0"}
    a, b = Node("1", "a", 8, 8), Node("2", "b", 8, 8)
    reports = {
        a: NodeReport({"python": "3.12.1", "torch": "2.12.0"}, ("/data/videos",)),
        b: NodeReport({"python": "3.11.9"}, ("/runs/x/.seen_1",)),
    }
    assert node_problems(here, reports, "/runs/x/.seen_1") == [
        "a: torch is 2.12.0, and 2.13.0 where the run starts. Install the same.",
        "a: /data/videos is not there. Put it there, or on storage that all nodes share.",
        "b: python is 3.11.9, and 3.12.1 where the run starts. Install the same.",
        "b: torch is none, and 2.13.0 where the run starts. Install the same.",
        "b: does not see the run folder /runs/x. Set run_dir to shared storage.",
    ]
    assert node_problems(own_versions(), {a: report(["/", "/not here"])}, None) == [
        "a: /not here is not there. Put it there, or on storage that all nodes share."
    ]


def test_what_nodes_read_is_named_by_whole_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("model", "rows", "videos"):
        (tmp_path / folder).mkdir()
    keys = {"model": "model", "tasks": {}, "steps": 1}
    data = {"train": ["rows/a.jsonl", "hf://OWNER/NAME/train"]}
    recipe = with_whole_paths(Recipe.model_validate(keys | {"data": data}))
    assert input_paths(recipe) == [tmp_path / "model", tmp_path / "rows"]
    assert [str(path) for path in recipe.data.train] == [f"{tmp_path}/rows/a.jsonl", "hf:/OWNER/NAME/train"]
    rooted_keys = {"model": "owner/name", "data": data | {"video_root": "videos"}}
    rooted = with_whole_paths(Recipe.model_validate(keys | rooted_keys))
    assert (rooted.model, input_paths(rooted)) == ("owner/name", [tmp_path / "videos"])
