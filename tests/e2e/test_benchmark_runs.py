"""Each benchmark of whole steps runs as a person runs it, as small as it gets, and ends with one JSON object.

Those of overlap and attention are in tests/test_benchmarks.py: one runs `rft train` twice, the other no engine.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from forked import python

pytestmark = pytest.mark.slow

SMALL = ("--prompts", "2", "--group", "2", "--completion-tokens", "6", "--frames", "4", "--steps", "1")


def run(name: str, *arguments: str | Path) -> dict[str, Any]:
    printed = python(f"benchmarks/{name}.py", *arguments, "--json")
    lines = printed.splitlines()
    assert len(lines) == 1, printed
    found: dict[str, Any] = json.loads(lines[0])
    assert found["benchmark"] == name
    assert found["machine"]["cores"] >= 1
    return found


def test_step() -> None:
    """Without our own way: test_gpu_step runs `rft train`, tests/test_benchmarks.py has the arithmetic."""
    found = run("step", *SMALL, "--only", "published", "trl")
    assert set(found["ways"]) == {"published", "trl"}
    for way in found["ways"].values():
        assert way["seconds_per_prompt"] > 0
        assert len(way["seconds_per_prompt_all"]) == 1
        assert 1 <= way["completion_tokens"] <= 6
        assert 190 <= way["prompt_tokens"] <= 220
        assert sum(way["phases"].values()) > 0


def test_rollout() -> None:
    found = run("rollout", *SMALL, "--completions", "8", "--workers", "1")
    engine = found["engine"]
    assert set(engine) == {"on", "off"}
    assert set(engine["on"]) == {"1", "2", "4", "8", "1, 8 requests of each prompt"}
    assert all(of["tokens_per_second"] > 0 for cache in engine.values() for of in cache.values())
    assert engine["on"]["8"]["prefix_hit_share"] > 0.5
    assert engine["off"]["8"]["prefix_hit_share"] == 0
    assert found["workers"]["1"]["tokens_per_second"] > 0


def test_published_choices() -> None:
    found = run("published_choices")
    gradients = found["relative_gradient"]
    assert max(gradients["as_published"]) < 1e-4, "as_published is no longer what the released code does"
    assert min(gradients["learner.ban_vision_tokens: true"]) > 1e-4
    assert max(gradients["learner.ban_vision_tokens: true"]) < 1e-2
    assert max(gradients["learner.mask_padding: true"]) > 0.1
    assert 1 <= max(found["grey_levels"].values()) < 40


def test_features() -> None:
    ways = run("features", *SMALL)["ways"]
    assert {name: way["looks"] for name, way in ways.items()} == {"every pass": 3, "first sight": 1, "known": 0}
    assert ways["every pass"]["share"] == 1
    assert all(way["rollout"] > 0 and way["update"] > 0 for way in ways.values())


def test_prompts() -> None:
    found = run("prompts", "--clips", "1", "--frames", "4", "--height", "56", "--width", "84", "--rounds", "1")
    assert list(found["ways"]) == ["floats", "bytes", "2 threads", "2 processes", "ahead"]
    assert all(seconds > 0 for way in found["ways"].values() for seconds in way.values())
    assert found["mib"] == 4 * 56 * 84 * 3 / 2**20


def test_streams() -> None:
    small = ("--questions", "2", "--frame-pairs", "4", "--group", "2", "--completion-tokens", "6", "--repeats", "1")
    found = run("streams", *small)
    ways = [found[name] for name in ("one sequence", "a group each", "copies")]
    assert [way["clips encoded"] for way in ways] == [1, 2, 4]
    flops = [way["gflop"] for way in ways]
    assert flops == sorted(flops)
    assert all(way["seconds"] > 0 for way in ways)


def test_long_video() -> None:
    found = run("long_video", "--hours", "0.02", "--fps", "10", "--chosen", "2", "--frames", "20", "40")
    film = found["film"]
    assert film["frames"] == 720
    assert 2 <= film["decoded"] < 400
    assert all(film[way] > 0 for way in ("times", "jumps", "no jumps", "decode all"))
    for way in ("plain", "checkpointing"):
        assert found[way]["20"]["tokens"] < found[way]["40"]["tokens"]
        assert found[way]["40"]["peak_mib"] >= 0


def test_weights() -> None:
    found = run("weights", "--repeats", "1")
    assert found["backend"] == "object_store"
    moved = [of["mib"] for of in found["trained"].values()]
    assert moved == sorted(moved, reverse=True)
    assert all(of["seconds"] > 0 for of in found["trained"].values())


def test_gpu_step() -> None:
    small = ("--prompts", "2", "--group", "2", "--completion-tokens", "6", "--steps", "1")
    found = run("gpu_step", *small, "--model-size", "1m", "--prompt-tokens", "200")
    assert found["trained"] == "all weights"
    assert 180 <= found["step"]["prompt_tokens"] <= 200
    assert found["step"]["completion_tokens"] == 6
    assert found["step"]["seconds_per_prompt"] > 0
    assert found["step"]["logprob_gap"] < 1e-3


def test_scaling(tmp_path: Path) -> None:
    found = run("scaling", "--points", "2", "--repeats", "1", "--axes", "frames", "completions", "--results", tmp_path)
    assert set(found["axes"]) == {"frames", "completions"}
    assert [point["value"] for point in found["axes"]["frames"]] == [4, 8]
    assert found["axes"]["frames"][0]["prompt_tokens"] < found["axes"]["frames"][1]["prompt_tokens"]
    assert (tmp_path / "scaling.html").read_text().count('"title":"seconds against') == 2
    assert json.loads((tmp_path / "scaling.json").read_text()) == found
