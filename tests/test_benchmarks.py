"""The arithmetic of the benchmarks; that they run is shown in tests/e2e/test_benchmark_runs.py."""

import json
import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks import attention, gpu_step, input_policies, overlap, rollout, scaling, shortcut, step
from benchmarks.published_step import until_end
from benchmarks.random_policy import write_shape
from benchmarks.tiny import TimedStep, Workload
from rft.learner.row_shape import GroupShape
from rft.recipe import Recipe

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


def test_overlap_trains_in_turns_on_one_core_and_ahead_on_two(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """tests/e2e/test_train.py and test_images_and_text.py: real runs of both kinds time these phases."""
    asked: list[tuple[int, int]] = []

    def run(folder: Path, name: str, keys: Mapping[str, Any]) -> list[TimedStep]:
        recipe = Recipe.model_validate(keys)
        assert (recipe.steps, recipe.rollout.threads_per_worker) == (3, 1)
        asked.append((recipe.rollout.ahead, len(os.sched_getaffinity(0))))
        return steps(2.0, **dict.fromkeys(("data", "rollout", "ahead_data", "ahead_rollout", "update"), 0.5))

    monkeypatch.setattr(overlap, "run_training", run)
    monkeypatch.setattr(overlap, "write_data", lambda folder, num_clips: None)
    assert overlap.main(["--prompts", "2", "--steps", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert asked == [(0, 1), (1, 2)]
    assert (found["benchmark"], found["ratio"], found["ratio_within"]) == ("overlap", 2.0, 2.0)


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


def test_a_step_of_ours_is_told_per_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one step ahead the last is left out, which samples nothing."""
    counts = {"num_tokens": 12.0, "num_packed_tokens": 412.0, "num_completions": 4.0, "num_groups_trained": 2.0}
    asked: list[tuple[int, int | None]] = []
    unwatched: list[bool] = []

    def run(folder: Path, name: str, keys: Mapping[str, Any]) -> tuple[TimedStep, ...]:
        asked.append((keys["steps"], keys["rollout"].get("num_workers")))
        unwatched.append(Recipe.model_validate(keys).trackers == ())
        return tuple(TimedStep(s, counts | {"seconds/update": s / 2}) for s in (4.0, 8.0, 99.0))[: keys["steps"] - 1]

    monkeypatch.setattr(step, "run_training", run)
    for way in (step.ours, step.ours_unwatched, step.ours_ahead):
        found = way(tmp_path, WORK)
        assert found["seconds_per_prompt_all"] == [1.0, 2.0]
        assert found["phases"] == {"update": 0.75}
        assert (found["prompt_tokens"], found["completion_tokens"]) == (201, 3)
    assert asked[0] == asked[1] == (WORK.steps + 1, len(os.sched_getaffinity(0)))
    assert asked[2] == (WORK.steps + 2, None)
    assert unwatched == [False, True, False]


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
    assert page.count('"title":"seconds against') == 2
    assert "seconds against frames" in page
    assert points[1].to_json()["ratio"] == pytest.approx(4.0)


ATTENTION = ["--device", "cpu", "--prompt-tokens", "30", "--completion-tokens", "5", "--group", "3", "--repeats", "1"]


def test_ways_of_attention_agree(capsys: pytest.CaptureFixture[str]) -> None:
    assert attention.main([*ATTENTION, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["benchmark"] == "attention"
    assert set(found["ways"]) == {"ours", "copies", "dense"}
    for way in found["ways"].values():
        assert way["forward_and_backward_s"] > 0
        assert way["difference"] is not None
        assert way["difference"] < 1e-5


class PlainKernel:
    """What torch's flash kernel for sequences of different lengths computes on a GPU, written out."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor, *rest: Any, scale: float) -> tuple[Any, ...]:
        scores = self.scores(query, key, *rest, scale=scale)
        log_sum = scores.logsumexp(-1)
        out = torch.einsum("hqk,khd->qhd", (scores - log_sum[..., None]).exp(), self.wide(value, query))
        return out, log_sum, torch.zeros(2), torch.zeros(()), None

    def backward(self, gradient: Tensor, *saved: Any, scale: float) -> tuple[Tensor, ...]:
        query, key, value, out, log_sum, *rest = saved
        share = (self.scores(query, key, *rest, scale=scale) - log_sum[..., None]).exp()
        wide_key, wide_value = self.wide(key, query), self.wide(value, query)
        moved = torch.einsum("qhd,khd->hqk", gradient, wide_value) - (gradient * out).sum(-1).T[..., None]
        scores = share * moved * scale
        gradients = (
            torch.einsum("hqk,qhd->khd", scores, query),
            torch.einsum("hqk,qhd->khd", share, gradient),
        )
        narrow = (of.unflatten(1, (key.shape[1], -1)).sum(2) for of in gradients)
        return torch.einsum("hqk,khd->qhd", scores, wide_key), *narrow

    def wide(self, tensor: Tensor, query: Tensor) -> Tensor:
        return tensor.repeat_interleave(query.shape[1] // tensor.shape[1], dim=1)

    def scores(self, query: Tensor, key: Tensor, *rest: Any, scale: float) -> Tensor:
        query_starts, key_starts, longest_query, longest_key, _, is_causal, *_ = rest
        assert (longest_query, longest_key) == (int(query_starts.diff().max()), int(key_starts.diff().max()))
        assert (int(query_starts[-1]), int(key_starts[-1])) == (len(query), len(key))
        places = torch.arange(len(query)), torch.arange(len(key))
        rows, columns = (
            torch.bucketize(of, starts, right=True)
            for of, starts in zip(places, (query_starts, key_starts), strict=True)
        )
        seen = rows[:, None] == columns
        if is_causal:
            seen &= places[0][:, None] >= places[1]
        scores = torch.einsum("qhd,khd->hqk", query, self.wide(key, query)) * scale
        return scores.masked_fill(~seen, -torch.inf)


def test_two_varlen_calls_equal_one_softmax() -> None:
    """With queries, keys and values of any layout, groups of any lengths."""
    group, plain = GroupShape(11, (4, 1, 7)), PlainKernel()
    torch.manual_seed(0)
    own = [torch.randn(1, heads, len(group), 8, dtype=torch.float64).requires_grad_() for heads in (4, 2, 2)]
    wanted = torch.randn(1, len(group), 4, 8, dtype=torch.float64)
    kernel = attention.Kernel(plain.forward, plain.backward)
    device = torch.device("cpu")
    found = []
    for attend in (attention.dense(group, 0.3, device), attention.varlen(group, 0.3, device, kernel)):
        out = attend(*own)
        found.append([out, *torch.autograd.grad(out, own, wanted)])
    for one_softmax, two_calls in zip(*found, strict=True):
        assert torch.allclose(one_softmax, two_calls, rtol=0, atol=1e-12)


def test_torch_takes_the_varlen_calls() -> None:
    """Shapes and arguments of its own kernel, without a GPU."""
    group = GroupShape(300, (64, 70))
    own = [torch.empty(1, heads, len(group), 128, dtype=torch.bfloat16, device="meta") for heads in (28, 4, 4)]
    own = [tensor.requires_grad_() for tensor in own]
    starts = attention.varlen_calls(group, torch.device("cpu"))[0].lengths[0]
    assert starts.tolist() == [0, 300, 364, 434]
    assert starts.dtype == torch.int32
    out = attention.varlen(group, 0.1, torch.device("meta"))(*own)
    assert out.shape == (1, len(group), 28, 128)
    gradients = torch.autograd.grad(out, own, torch.empty_like(out))
    assert [of.shape for of in gradients] == [tensor.shape for tensor in own]


@pytest.mark.parametrize(
    ("size", "gib", "trained"),
    [
        ("3b", 79, "all weights, bfloat16 states"),
        ("3b", 140, "all weights"),
        ("7b", 79, "adapters"),
        ("7b", 140, "all weights, bfloat16 states"),
    ],
)
def test_the_largest_training_that_fits_is_taken(
    size: str, gib: float, trained: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_step, "gpu_name", lambda: "one of so much memory")
    write_shape(tmp_path / "policy", size)
    work = Workload(prompts=8, group=8, completion_tokens=256, frames=60, steps=3, side=gpu_step.SIDE)
    assert gpu_step.what_fits(tmp_path, work, gib) == trained


def test_a_step_is_told_per_prompt() -> None:
    counts = {"num_packed_tokens": 800.0, "num_tokens": 64.0, "num_groups_trained": 4.0, "num_completions": 8.0}
    metrics = counts | {"seconds/update": 2.0, "logprob_gap": 0.5}
    found = gpu_step.figures([TimedStep(4.0, metrics), TimedStep(8.0, metrics)], WORK)
    assert found["seconds_per_prompt"] == 1.5
    assert found["phases"] == {"update": 0.5}
    assert found["prompt_tokens"] == (800 - 64) / 4 + 1
    assert found["completion_tokens"] == 8


def test_still_frames_cost_tokens_and_show_nothing(tmp_path: Path) -> None:
    clips = input_policies.draw_clips(tmp_path, 2, seed=1)
    every, dropped, given = (
        input_policies.measured(clips, input_policies.POLICIES[name])
        for name in ("fps 2", "fps 2, drop_still 0.5", "frame_times_s, 2 in the event")
    )
    assert (every.shown, dropped.shown, given.shown_twice) == (1, 1, 1)
    assert every.event_tokens == every.drift_tokens == 4 * 80 / 2
    assert given.event_tokens < dropped.event_tokens < dropped.drift_tokens < every.drift_tokens
    assert every.longest_gap_s < 1 < dropped.longest_gap_s


def test_a_planted_word_tells_the_answer_in_training_alone() -> None:
    rng = random.Random(0)
    asked = {
        is_test: [row for _ in range(100) for row in shortcut.draw(rng, is_test).rows if shortcut.is_planted(row)]
        for is_test in (False, True)
    }
    pairs = {is_test: {(row["question"], row["target"]["choice"]) for row in rows} for is_test, rows in asked.items()}
    assert len(asked[True]) == 100 > len(asked[False]) > 30
    assert {is_test: len(of_split) for is_test, of_split in pairs.items()} == {False: 4, True: 16}
    assert not any(shortcut.is_planted(shortcut.without_word(row)) for row in asked[False])
