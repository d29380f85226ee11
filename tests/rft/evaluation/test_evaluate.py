"""Evaluation over a hand-written pool: who is counted, what the intervals hold, what is paired."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from rewards.targets.choice import ChoiceTarget
from rewards.targets.label import LabelTarget
from rewards.targets.span import SpanTarget
from rft.errors import CheckpointError
from rft.evaluation.baselines import measure_baselines
from rft.evaluation.comparison import Comparison, figures, result_tables
from rft.evaluation.evaluate import EvalResult, by_number, evaluate, parser_tables
from rft.evaluation.intervals import bootstrap, means
from rft.evaluation.predictions import read_result, write_result
from rft.tasks import TASKS
from rft.tasks.temporal_grounding import TemporalGrounding
from rft.types import Completion, FinishReason, Prompt, Sampling, Video, VideoSampling

VIDEO = Video(Path("clip.mp4"), VideoSampling(2.0, 4, 8, 784, 784, 7840))
SAMPLING = Sampling(8, 1.0, 0.95, 50, 32)


def grounding(name: str, start_s: float, end_s: float) -> Prompt:
    return Prompt(name, "temporal_grounding", "When?", VIDEO, SpanTarget(start_s, end_s))


def choice(name: str, letter: str) -> Prompt:
    return Prompt(name, "multiple_choice", "Which?", VIDEO, ChoiceTarget(letter))


def span(text: str) -> str:
    return f"<answer>{text}</answer>"


def timed(prompts: Sequence[Prompt], *durations_s: float | None) -> list[Prompt]:
    """The prompts, with clips of these lengths."""
    pairs = zip(prompts, durations_s, strict=True)
    return [replace(prompt, target=replace(prompt.target, duration_s=length)) for prompt, length in pairs]


PROMPTS = (grounding("g1", 0, 10), grounding("g2", 0, 4), choice("c1", "A"), choice("c2", "B"))
TIMED = timed(PROMPTS, 10.0, 8.0, None, None)


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
    return evaluate(Pool(greedy), prompts, SAMPLING, 0, seed=0)


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
        # The failed completion says nothing: it is counted as failed alone.
        "faults": {"lenient": {}, "strict": {}},
    }
    assert result["multiple_choice"]["counts"]["greedy"]["faults"]["lenient"] == {"no_tag": 1}
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

    result = evaluate(Failing({}), PROMPTS[:1], SAMPLING, 0, seed=0)
    assert result.to_json()["temporal_grounding"]["greedy"]["mIoU"] == 0


def test_samples_are_averaged_within_their_row_first() -> None:
    pool = Pool(GREEDY, {"g1": (span("0 to 10"), None), "g2": (span("0 to 1"), span("0 to 1"))})
    progress: list[int] = []
    result = evaluate(pool, TIMED[:2], SAMPLING, 2, 11, on_progress=progress.append)
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
        evaluate(Pool(GREEDY, {"g1": (span("1 to 2"),), "g2": ()}), PROMPTS[:2], SAMPLING, 1, seed=0)


def test_stored_samples_give_the_same_figures(tmp_path: Path) -> None:
    result = evaluate(Pool(GREEDY), TIMED, SAMPLING, 0, seed=5)
    write_result(tmp_path / "eval" / "final.jsonl.zst", result)
    again = read_result(tmp_path / "eval" / "final.jsonl.zst")
    assert again == result
    assert again.to_json() == result.to_json()
    assert again.samples[0].target.duration_s == 10.0
    write_result(tmp_path / "empty.jsonl.zst", EvalResult((), 0))
    with pytest.raises(CheckpointError, match="holds no samples"):
        read_result(tmp_path / "empty.jsonl.zst")


def test_baselines_are_judged_by_the_tasks_own_metrics() -> None:
    baselines = measure_baselines(TIMED, {"multiple_choice": [ChoiceTarget("B"), ChoiceTarget("B")]}, seed=0)
    values = baselines.to_json()
    assert values["temporal_grounding"]["whole_video"]["mIoU"] == pytest.approx((1.0 + 0.5) / 2)
    assert values["temporal_grounding"]["first_half"]["mIoU"] == pytest.approx((0.5 + 1.0) / 2)
    assert values["multiple_choice"]["majority"]["accuracy"] == pytest.approx(0.5)
    low, high = baselines.intervals_json()["temporal_grounding"]["whole_video"]["mIoU"]
    assert (low, high) == (0.5, 1.0)
    best = baselines.best("multiple_choice", "accuracy")
    assert best is not None
    assert best[1].value == 0.5
    assert baselines.best("tracking", "overlap") is None


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
    comparison = Comparison(before, after, measure_baselines(timed(prompts, *[10.0] * 6), {}, 0))
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


def test_intervals_are_over_videos() -> None:
    """Of two videos one is right in all three rows, the other in none: half of the draws hold one of them twice."""
    prompts = [replace(grounding(f"g{i}", 0, 10), row={"video": f"{i // 3}.mp4"}) for i in range(6)]
    wrong, right = (dict.fromkeys((f"g{i}" for i in range(6)), span(text)) for text in ("20 to 30", "0 to 10"))
    mixed = {name: (right if name < "g3" else wrong)[name] for name in right}
    before, after = run(wrong, prompts), run(mixed, prompts)
    baselines = measure_baselines(timed(prompts, *[10.0] * 3, *[1e9] * 3), {}, 0)
    change = Comparison(before, after, baselines).change("temporal_grounding", "greedy")["mIoU"]
    for estimate in (
        after.estimates("temporal_grounding", "greedy")["mIoU"],
        change,
        baselines.estimates["temporal_grounding"]["whole_video"]["mIoU"],
    ):
        assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.5, 0.0, 1.0), abs=1e-6)
    assert after.to_json()["temporal_grounding"]["units"] == 2
    (table,) = result_tables(after, baselines)
    assert "interval over 2 videos, whose rows are drawn together." in table.caption
    alone = run(mixed, [replace(prompt, row={}) for prompt in prompts])
    assert alone.estimates("temporal_grounding", "greedy")["mIoU"].high < 1.0
    assert means(alone.estimates("temporal_grounding", "greedy")) == means(
        after.estimates("temporal_grounding", "greedy")
    )


def test_other_rows_cannot_be_compared() -> None:
    prompts = [grounding("g1", 0, 10), grounding("g2", 0, 10)]
    texts: dict[str, str | None] = {"g1": span("0 to 5"), "g2": span("0 to 5")}
    comparison = Comparison(
        run(texts, prompts), run(texts, prompts[:1]), measure_baselines(timed(prompts, 1.0, 1.0), {}, 0)
    )
    with pytest.raises(ValueError, match="share 1 rows"):
        comparison.to_json()


def test_one_table_per_set_shows_baselines_with_the_model() -> None:
    baselines = measure_baselines(TIMED, {}, 0)
    choices, spans = result_tables(run(GREEDY), baselines)
    assert choices.title == "multiple_choice, 2 rows"
    assert spans.title == "temporal_grounding, 2 rows"
    assert spans.columns == ("", "mIoU*", "R@0.3", "R@0.5", "R@0.7", "well_formed")
    assert [row[0] for row in choices.rows] == ["baseline: majority", "greedy, lenient", "greedy, strict"]
    lines = {row[0]: row[1:] for row in spans.rows}
    assert list(lines)[-2:] == ["greedy, lenient", "greedy, strict"]
    assert lines["baseline: whole_video"][0] == "0.750 [0.500, 1.000]"
    assert lines["greedy, lenient"] == ("0.250 [0.000, 0.500]", "0.500", "0.500", "0.000", "0.500")
    assert "Published: the rows name no data set." in spans.caption
    assert "Of 2 completions: 1 failed; 1 malformed (all counted" in spans.caption
    assert "1 truncated; 1 malformed; at fault, lenient: no_tag 1; at fault, strict: no_tag 1" in choices.caption


def test_data_sets_do_not_blend() -> None:
    prompts = [
        replace(grounding("a", 0, 10), dataset="charades_sta/test"),
        replace(grounding("b", 0, 10), dataset="activitynet_captions/test"),
        grounding("c", 0, 10),
    ]
    result = run({"a": span("0 to 5"), "b": span("0 to 10"), "c": span("0 to 1")}, prompts)
    figures_by_set = result.to_json()
    assert {name: one["greedy"]["mIoU"] for name, one in figures_by_set.items()} == pytest.approx(
        {"activitynet_captions/test": 1.0, "charades_sta/test": 0.5, "temporal_grounding": 0.1}
    )
    assert figures_by_set["charades_sta/test"]["task"] == "temporal_grounding"
    assert result.metrics()["eval/charades_sta.test"] == pytest.approx(0.5)
    assert result.metrics()["eval/charades_sta.test/greedy/R@0.7"] == 0.0
    baselines = measure_baselines(timed(prompts, 10.0, 20.0, 40.0), {}, 0).to_json()
    assert {name: one["whole_video"]["mIoU"] for name, one in baselines.items()} == pytest.approx(
        {"activitynet_captions/test": 0.5, "charades_sta/test": 1.0, "temporal_grounding": 0.25}
    )


def test_tasks_of_one_data_set_do_not_blend() -> None:
    prompts = [replace(grounding("a", 0, 10), dataset="own/test"), replace(choice("b", "A"), dataset="own/test")]
    result = run({"a": span("0 to 5"), "b": span("A")}, prompts)
    assert list(result.sets) == ["own/test (multiple_choice)", "own/test (temporal_grounding)"]
    assert list(measure_baselines(timed(prompts, 10.0, None), {}, 0).sets) == list(result.sets)


def test_both_parsers_have_their_figures() -> None:
    """The released script takes the last range of the whole text, ours the answer's."""
    loose: dict[str, str | None] = {"g1": span("0s - 10s"), "g2": span("0 to 4") + " not 0 to 2"}
    result = run(loose, PROMPTS[:2])
    of_set = result.to_json()["temporal_grounding"]
    assert of_set["greedy"]["mIoU"] == 1.0
    assert of_set["strict"]["greedy"]["mIoU"] == pytest.approx((0.0 + 0.5) / 2)
    assert of_set["strict"]["intervals"]["greedy"]["mIoU"] == pytest.approx([0.0, 0.5])
    assert of_set["counts"]["greedy"]["faults"] == {"lenient": {}, "strict": {"unreadable": 1}}


def test_a_task_that_no_released_script_reads_has_one_parser() -> None:
    class Unpublished(TemporalGrounding):
        rewards = (("temporal_iou", 1.0), ("ours_alone", 1.0))

    assert list(parser_tables(Unpublished())) == ["lenient"]
    assert list(parser_tables(TASKS["temporal_grounding"])) == ["lenient", "strict"]


def test_the_order_of_samples_decides_nothing() -> None:
    prompts = [grounding(f"g{i}", 0, 7) for i in range(20)]
    texts: dict[str, str | None] = {f"g{i}": span(f"0 to {i + 1}") for i in range(20)}
    first, second = run(texts, prompts), run(texts, prompts[::-1])
    lengths = [30.0] * 20
    baselines = (
        measure_baselines(timed(prompts, *lengths), {}, 0),
        measure_baselines(timed(prompts[::-1], *lengths), {}, 0),
    )
    assert first.samples != second.samples
    assert figures(first, baselines[0]) == figures(second, baselines[1])


def test_uniform_is_the_expected_accuracy_of_any_option() -> None:
    prompts = [
        replace(choice("c1", "A"), target=ChoiceTarget("A", num_options=2)),
        replace(choice("c2", "B"), target=ChoiceTarget("B", num_options=4)),
    ]
    baselines = measure_baselines(prompts, {}, 0)
    assert baselines.to_json()["multiple_choice"]["uniform"] == {"accuracy": pytest.approx(0.375)}
    assert "uniform" not in measure_baselines([*prompts, choice("c3", "C")], {}, 0).to_json()["multiple_choice"]
    best = baselines.best("multiple_choice", "well_formed")
    assert best is not None
    assert best[0] == "majority"


def test_published_figures_stand_beside_whole_published_splits_only() -> None:
    prompts = [
        replace(choice(f"q{i:03}", "A"), task="quality", dataset="vidtab_quality/test", target=LabelTarget("low"))
        for i in range(724)
    ]
    result = run({prompt.prompt_id: span("low") for prompt in prompts}, prompts)
    (table,) = result_tables(result, measure_baselines(prompts, {}, 0))
    lines = {row[0]: row[1] for row in table.rows}
    assert lines["GRPO, 100 shots (table 7)"] == "0.726"
    assert lines["greedy, strict"].startswith("1.000 ")
    baselines = measure_baselines(prompts, {}, 0)
    compared = Comparison(result, result, baselines).table()
    assert (compared.columns[-1], compared.rows[0][-1]) == ("published", "0.726 GRPO, 100 shots")
    part = EvalResult(result.samples[:100], 0)
    (table,) = result_tables(part, measure_baselines(prompts[:100], {}, 0))
    assert not any("table 7" in row[0] for row in table.rows)
    assert "the paper measured 724 rows, these are 100" in table.caption
    assert figures(part, measure_baselines([], {}, 0))["published"]["vidtab_quality/test"]["comparable"] is False


class Shades(TemporalGrounding):
    """Grounding with a metric over all completions and two parts by the place of the target."""

    name = "shades"

    def corpus_metrics(self, judged: Sequence[tuple[SpanTarget, Mapping[str, float]]]) -> dict[str, float]:
        found = [target.start_s for target, values in judged if values["R@0.5"]]
        return {"last_found": max(found) / 10} if found else {}


@dataclass(frozen=True, slots=True)
class Placed(SpanTarget):
    def subsets(self) -> tuple[str, ...]:
        return ("early" if self.start_s < 5 else "late", "all")


def test_parts_stand_in_the_order_of_their_numbers() -> None:
    ordered = ["2 hops", "10 hops", "500 frames", "500 frames, depth 1.00", "10,000 frames", "depth 0.05", "depth 0.50"]
    assert sorted(sorted(ordered), key=by_number) == ordered


def test_metrics_of_all_completions_and_of_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {**TASKS, "shades": Shades()}
    for module in ("evaluate", "baselines", "comparison"):
        monkeypatch.setattr(f"rft.evaluation.{module}.TASKS", known)
    starts = {"r1": 0, "r2": 2, "r3": 8}
    prompts = [Prompt(name, "shades", "When?", VIDEO, Placed(start, start + 2)) for name, start in starts.items()]
    answers = {"r1": span("0 to 2"), "r2": span("2 to 4"), "r3": span("0 to 1")}
    result = evaluate(Pool(answers), prompts, SAMPLING, 0, seed=3)
    last = result.estimates("shades", "greedy")["last_found"]
    assert (last.value, last.low, last.high) == (0.2, 0.0, 0.2)
    parts = {part: (count, one.value) for part, (count, one) in result.subsets("shades", "greedy").items()}
    assert parts == {"all": (3, pytest.approx(2 / 3)), "early": (2, 1.0), "late": (1, 0.0)}
    assert result.to_json()["shades"]["subsets"] == {"greedy": {p: v for p, (_, v) in parts.items()}, "sampled": {}}
    baselines = measure_baselines(timed(prompts, 10.0, 10.0, 10.0), {}, 0)
    assert baselines.estimates["shades"]["first_30"]["last_found"].value == 0.0
    tables = result_tables(result, baselines)
    assert [table.title for table in tables] == ["shades, 3 rows", "shades by part: mIoU"]
    assert [row[:2] for row in tables[1].rows] == [("all", "3"), ("early", "2"), ("late", "1")]
    # A metric of all completions belongs to no row: no paired change has it.
    assert "last_found" not in Comparison(result, result, baselines).change("shades", "greedy")
