"""The arithmetic of the benchmarks; that they run is shown in tests/e2e/test_benchmark_runs.py."""

import os

import pytest
import torch

from benchmarks import overlap, rollout, scaling, step
from benchmarks.published_step import until_end
from benchmarks.tiny import TimedStep, Workload

WORK = Workload(prompts=4, group=2, completion_tokens=3, frames=4, steps=2)


def steps(seconds: float, **phases: float) -> list[TimedStep]:
    return [TimedStep(seconds, {f"seconds/{name}": s for name, s in phases.items()})] * 3


def test_overlap_compares_the_step_with_the_longer_of_the_two_by_themselves() -> None:
    in_turns = steps(3.5, data=0.5, rollout=1.5, update=1.0, weights=0.1)
    ahead = steps(2.2, ahead_data=0.5, ahead_rollout=1.6, update=1.2, weights=0.1, wait=0.8)
    found = overlap.compare(in_turns, ahead)
    assert found["alone"] == {"rollout": 2.0, "learner": 1.0}
    assert found["side_by_side"] == pytest.approx({"rollout": 2.1, "learner": 1.2})
    assert found["ratio"] == pytest.approx(1.1)
    assert found["ratio_within"] == pytest.approx(2.2 / 2.1)
    assert found["in_turns"] == pytest.approx(1.75)
    assert found["balance"] == 2.0


def test_bound_cores_are_given_back() -> None:
    before = os.sched_getaffinity(0)
    with overlap.bound_to(1):
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before
    with pytest.raises(ValueError, match="cores are needed"), overlap.bound_to(len(before) + 1):
        pass


def test_seconds_are_per_prompt_and_the_median_counts() -> None:
    found = step.per_prompt([4.0, 8.0, 40.0], WORK)
    assert found == {"seconds_per_prompt": 2.0, "seconds_per_prompt_all": [1.0, 2.0, 10.0]}


def test_ratios_are_over_ours() -> None:
    ways = {"ours": {"seconds_per_prompt": 0.5}, "published": {"seconds_per_prompt": 4.0}}
    assert step.ratios_to("ours", ways) == {"published": 8.0}
    assert step.ratios_to("ours", {"trl": {"seconds_per_prompt": 4.0}}) == {}


def test_rounds_become_tokens_per_second() -> None:
    rounds = [rollout.Round(100, 1.0), rollout.Round(100, 2.0), rollout.Round(100, 4.0)]
    assert rollout.figures(rounds) == {"tokens_per_second": 50.0, "seconds": 2.0}


def test_a_clip_is_met_once() -> None:
    assert WORK.num_clips == 4 * (2 + 1)


def test_only_tokens_up_to_the_first_end_are_learned_from() -> None:
    completions = torch.tensor([[5, 9, 9, 5], [9, 5, 5, 5], [5, 5, 5, 5]])
    assert until_end(completions, eos=9).tolist() == [[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]]


def test_plots_show_every_axis() -> None:
    points = [scaling.Point(2, 600, 0.01, 0.02, 0.1, 0.3), scaling.Point(4, 600, 0.01, 0.02, 0.2, 0.8)]
    page = scaling.page({"completions": points, "frames": points})
    assert page.count("<figure>") == 2
    assert "seconds against frames" in page
    assert points[1].to_json()["ratio"] == pytest.approx(4.0)
