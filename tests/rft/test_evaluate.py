"""Evaluation over a hand-written pool: who is counted, what the intervals hold, what is paired."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from rewards.types import ChoiceTarget, SpanTarget
from rft.comparison import Comparison, TextTable, plain, result_table
from rft.errors import CheckpointError
from rft.evaluate import EvalResult, baselines, evaluate, read_result, write_result
from rft.intervals import bootstrap
from rft.types import Completion, FinishReason, Prompt, Sampling, Video, VideoSampling

VIDEO = Video(Path("clip.mp4"), VideoSampling(2.0, 4, 8, 784, 784, 7840))
SAMPLING = Sampling(8, 1.0, 0.95, 50, 32)


def grounding(name: str, start_s: float, end_s: float) -> Prompt:
    return Prompt(name, "temporal_grounding", "When?", VIDEO, SpanTarget(start_s, end_s))


def choice(name: str, letter: str) -> Prompt:
    return Prompt(name, "multiple_choice", "Which?", VIDEO, ChoiceTarget(letter))


def span(text: str) -> str:
    return f"<answer>{text}</answer>"


PROMPTS = (grounding("g1", 0, 10), grounding("g2", 0, 4), choice("c1", "A"), choice("c2", "B"))
DURATIONS = (10.0, 8.0, None, None)


@dataclass
class Pool:
    """Gives each prompt its texts in turn, last prompt first; a text None is a failed completion."""

    greedy: dict[str, str | None]
    sampled: dict[str, tuple[str | None, ...]] = field(default_factory=dict)
    requests: list[tuple[Sampling, int]] = field(default_factory=list)

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, seed: int
    ) -> Iterator[tuple[int, tuple[Completion, ...]]]:
        self.requests.append((sampling, seed))
        for index in reversed(range(len(prompts))):
            name = prompts[index].prompt_id
            texts = (self.greedy[name],) if sampling.temperature == 0 else self.sampled[name]
            yield index, tuple(completion(text) for text in texts)


def completion(text: str | None) -> Completion:
    reason: FinishReason = "error" if text is None else "length" if text == "" else "stop"
    return Completion(text or "", (1, 2), (-0.1, -0.2), 5, reason, 3)


GREEDY: dict[str, str | None] = {"g1": span("0 to 5"), "g2": None, "c1": span("A"), "c2": ""}


def run(greedy: dict[str, str | None], prompts: Sequence[Prompt] = PROMPTS) -> EvalResult:
    return evaluate(Pool(greedy), prompts, [None] * len(prompts), SAMPLING, 0, seed=0)


def test_failed_and_unreadable_completions_stay_in_the_means() -> None:
    result = run(GREEDY).to_json()
    assert result["temporal_grounding"]["rows"] == 2
    assert result["temporal_grounding"]["greedy"]["mIoU"] == pytest.approx(0.25)
    assert result["temporal_grounding"]["greedy"]["R@0.5"] == pytest.approx(0.5)
    assert result["temporal_grounding"]["counts"]["greedy"] == {
        "completions": 2,
        "failed": 1,
        "truncated": 0,
        "malformed": 1,
    }
    assert result["multiple_choice"]["greedy"]["accuracy"] == pytest.approx(0.5)
    assert result["multiple_choice"]["counts"]["greedy"]["truncated"] == 1
    assert result["multiple_choice"]["sampled"] == {}


def test_text_of_a_failed_completion_earns_nothing() -> None:
    @dataclass
    class Failing(Pool):
        def generate(
            self, prompts: Sequence[Prompt], sampling: Sampling, seed: int
        ) -> Iterator[tuple[int, tuple[Completion, ...]]]:
            yield 0, (Completion(span("0 to 10"), (1,), (0.0,), 5, "error", 0),)

    result = evaluate(Failing({}), PROMPTS[:1], [None], SAMPLING, 0, seed=0)
    assert result.to_json()["temporal_grounding"]["greedy"]["mIoU"] == 0


def test_samples_are_averaged_within_their_row_first() -> None:
    pool = Pool(GREEDY, {"g1": (span("0 to 10"), None), "g2": (span("0 to 1"), span("0 to 1"))})
    progress: list[int] = []
    result = evaluate(pool, PROMPTS[:2], DURATIONS[:2], SAMPLING, 2, 11, on_progress=progress.append)
    assert result.rows("temporal_grounding", "sampled")["g1"]["mIoU"] == pytest.approx(0.5)
    assert result.to_json()["temporal_grounding"]["sampled"]["mIoU"] == pytest.approx((0.5 + 0.25) / 2)
    assert sum(progress) == 4
    greedy, sampled = pool.requests
    assert greedy == (Sampling(1, 0.0, 1.0, 0, 32), 11)
    assert sampled == (Sampling(2, 1.0, 0.95, 50, 32), 11)
    assert result.metrics()["eval/temporal_grounding"] == pytest.approx(0.375)
    assert result.metrics()["eval/temporal_grounding/greedy/mIoU"] == pytest.approx(0.25)


def test_prompt_without_completions_is_no_result() -> None:
    with pytest.raises(RuntimeError, match="1 of 2 prompts, first g2"):
        evaluate(Pool(GREEDY, {"g1": (span("1 to 2"),), "g2": ()}), PROMPTS[:2], [None, None], SAMPLING, 1, seed=0)


def test_stored_samples_give_the_same_figures(tmp_path: Path) -> None:
    result = evaluate(Pool(GREEDY), PROMPTS, DURATIONS, SAMPLING, 0, seed=5)
    write_result(tmp_path / "eval" / "final.jsonl.zst", result)
    again = read_result(tmp_path / "eval" / "final.jsonl.zst")
    assert again == result
    assert again.to_json() == result.to_json()
    assert again.samples[0].duration_s == 10.0
    write_result(tmp_path / "empty", EvalResult((), 0))
    with pytest.raises(CheckpointError, match="holds no samples"):
        read_result(tmp_path / "empty")


def test_baselines_are_judged_by_the_tasks_own_metrics() -> None:
    blind = baselines(PROMPTS, DURATIONS, {"multiple_choice": [ChoiceTarget("B"), ChoiceTarget("B")]}, seed=0)
    values = blind.to_json()
    assert values["temporal_grounding"]["whole_video"]["mIoU"] == pytest.approx((1.0 + 0.5) / 2)
    assert values["temporal_grounding"]["first_half"]["mIoU"] == pytest.approx((0.5 + 1.0) / 2)
    assert values["multiple_choice"]["majority"]["accuracy"] == pytest.approx(0.5)
    low, high = blind.intervals_json()["temporal_grounding"]["whole_video"]["mIoU"]
    assert (low, high) == (0.5, 1.0)
    best = blind.best("multiple_choice", "accuracy")
    assert best is not None
    assert best[1].value == 0.5
    assert blind.best("tracking", "overlap") is None


def test_bootstrap_interval_is_that_of_the_mean() -> None:
    draw = np.random.default_rng(1)
    rows = [{"x": float(v), "constant": 2.0} for v in draw.normal(0.3, 0.5, 400)]
    estimate = bootstrap(rows, seed=0)["x"]
    values = np.array([row["x"] for row in rows])
    half = 1.96 * values.std() / np.sqrt(400)
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - half, abs=0.006)
    assert estimate.high == pytest.approx(values.mean() + half, abs=0.006)
    constant = bootstrap(rows, seed=0)["constant"]
    assert (constant.low, constant.high) == (2.0, 2.0)
    assert bootstrap(rows, seed=0) == bootstrap(rows, seed=0) != bootstrap(rows, seed=1)
    assert bootstrap([], seed=0) == {}
    with pytest.raises(ValueError, match="different values"):
        bootstrap([{"x": 1.0}, {"y": 1.0}], seed=0)


def test_change_is_paired_by_row() -> None:
    """Rows differ widely, but each gains the same: unpaired intervals would be wide, the paired one is a point."""
    prompts = [grounding(f"g{i}", 0, 10) for i in range(6)]
    before = run({f"g{i}": span(f"0 to {i + 1}") for i in range(6)}, prompts)
    after = run({f"g{i}": span(f"0 to {i + 2}") for i in range(6)}, prompts[::-1])
    comparison = Comparison(before, after, baselines(prompts, [10.0] * 6, {}, 0))
    change = comparison.change("temporal_grounding", "greedy")["mIoU"]
    assert (change.value, change.low, change.high) == pytest.approx((0.1, 0.1, 0.1))
    assert change.excludes_zero
    assert not comparison.change("temporal_grounding", "greedy")["well_formed"].excludes_zero
    assert comparison.to_json()["temporal_grounding"]["greedy"]["mIoU"]["low"] == pytest.approx(0.1)
    assert comparison.to_json()["temporal_grounding"]["sampled"] == {}
    assert len(comparison.table().rows) == 1
    assert comparison.table().rows[0] == (
        "temporal_grounding",
        "mIoU",
        "greedy",
        "6",
        "1.000 whole_video",
        "0.350",
        "0.450",
        "+0.100 [+0.100, +0.100] *",
    )


def test_other_rows_cannot_be_compared() -> None:
    prompts = [grounding("g1", 0, 10), grounding("g2", 0, 10)]
    texts: dict[str, str | None] = {"g1": span("0 to 5"), "g2": span("0 to 5")}
    comparison = Comparison(run(texts, prompts), run(texts, prompts[:1]), baselines(prompts, [1.0, 1.0], {}, 0))
    with pytest.raises(ValueError, match="share 1 rows"):
        comparison.to_json()


def test_table_of_one_evaluation_tells_of_completions_that_failed() -> None:
    table = result_table(run(GREEDY), baselines(PROMPTS, DURATIONS, {}, 0))
    lines = {(row[0], row[1]): row for row in table.rows}
    assert lines["temporal_grounding", "mIoU*"][2] == "2"
    assert lines["temporal_grounding", "mIoU*"][4].startswith("0.250 [0.000, 0.500]")
    assert "Of 4 completions: 1 failed, 1 truncated, 2 malformed" in table.caption


def test_plain_table_is_aligned() -> None:
    table = TextTable("Title", ("a", "bb"), (("long cell", "1"), ("x", "2")), "Caption.")
    assert plain(table).splitlines() == [
        "Title",
        "a          bb",
        "---------  --",
        "long cell  1",
        "x          2",
        "Caption.",
    ]
