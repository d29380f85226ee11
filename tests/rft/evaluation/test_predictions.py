"""Stored completions: what is read and refused, shards against one run, and the commands that need no model."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rewards.targets.grounded_choice import GroundedChoiceTarget
from rewards.targets.span import SpanTarget
from rft.__main__ import main
from rft.data.dataset import read_rows
from rft.errors import DataError
from rft.evaluation.baselines import measure_baselines
from rft.evaluation.comparison import figures
from rft.evaluation.evaluate import EvalResult, Mode, judge, parser_tables
from rft.evaluation.predictions import read_predictions, write_result
from rft.tasks import TASKS
from rft.types import Prompt, Video, VideoSampling

VIDEO = Video(Path("clip.mp4"), VideoSampling(2.0, 4, 8, 784, 784, 7840))


def grounding(name: str, dataset: str | None = None) -> Prompt:
    return Prompt(name, "temporal_grounding", "When?", VIDEO, SpanTarget(1.0, 9.5), dataset)


def grounded(name: str) -> Prompt:
    return Prompt(
        name, "grounded_qa", "Which?", VIDEO, GroundedChoiceTarget("B", ((1.0, 2.5),), num_options=5), "nextgqa/test"
    )


def samples_of(prompt: Prompt, *texts: str, duration_s: float | None = 30.7) -> list[Any]:
    timed = replace(prompt, target=replace(prompt.target, duration_s=duration_s))
    """One greedy and two sampled completions."""
    places: list[tuple[Mode, int]] = [("greedy", 0), ("sampled", 0), ("sampled", 1)]
    return [judge(timed, mode, number, text, "stop", 2, 7) for (mode, number), text in zip(places, texts, strict=True)]


def whole(seed: int = 4) -> EvalResult:
    samples = []
    for i in range(9):
        prompt = grounding(f"g{i}", "charades_sta/test" if i % 2 else None)
        texts = [f"<answer>{i / 3} to {i + k}</answer>" for k in range(2)]
        samples += samples_of(prompt, *texts, "no tag", duration_s=20 + i / 7)
    for i in range(4):
        text = f"<think>0 to 3</think><answer>{'ABCD'[i]}</answer><glue>[(0.1, {i}.7)]</glue>"
        samples += samples_of(grounded(f"q{i}"), text, text + "\n", f"<answer>b</answer> {i} to 9")
    samples[4] = replace(samples[4], finish_reason="length")
    return EvalResult(tuple(samples), seed)


def baselines(result: EvalResult) -> Any:
    once = {sample.prompt_id: sample for sample in result.samples}
    return measure_baselines(list(once.values()), {}, result.seed)


@pytest.mark.parametrize(("ending", "order"), [("jsonl", (0, 1, 2)), ("jsonl.zst", (2, 0, 1))])
def test_shards_give_the_very_figures_of_one_run(tmp_path: Path, ending: str, order: tuple[int, ...]) -> None:
    result = whole()
    ids = sorted({sample.prompt_id for sample in result.samples})
    paths = [tmp_path / f"part{i}.{ending}" for i in range(3)]
    for i, path in enumerate(paths):
        part = [sample for sample in result.samples if ids.index(sample.prompt_id) % 3 == i]
        write_result(path, EvalResult(tuple(part), result.seed))
    merged = read_predictions([paths[i] for i in order], None)[0]
    assert merged.samples != result.samples
    assert sorted(merged.samples, key=str) == sorted(result.samples, key=str)
    found = figures(merged, baselines(merged))
    assert found == figures(result, baselines(result))
    assert found["eval"]["charades_sta/test"]["sampled"]["mIoU"] > 0.1


def lines(path: Path, *rows: dict[str, Any] | str) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


SPAN = {"completion": "<answer>0 to 5</answer>", "target": {"span": [0, 10]}}


def test_lines_of_another_program_need_three_keys(tmp_path: Path) -> None:
    path = lines(tmp_path / "p.jsonl", {"id": 7, **SPAN, "model": "theirs"}, {"id": "8", **SPAN, "duration_s": 20})
    result = read_predictions([path], "temporal_grounding")[0]
    assert result.to_json()["temporal_grounding"]["greedy"]["mIoU"] == 0.5
    assert [sample.target.duration_s for sample in result.samples] == [None, 20.0]


def test_lines_without_ids_are_rows_of_their_own(tmp_path: Path, rows: Path) -> None:
    path = lines(tmp_path / "p.jsonl", SPAN, SPAN, {"completion": "", "target": {"span": [0, 1]}})
    result = read_predictions([path], "temporal_grounding")[0]
    assert result.to_json()["temporal_grounding"]["rows"] == 3
    assert result.to_json()["temporal_grounding"]["greedy"]["mIoU"] == pytest.approx(1 / 3)
    with pytest.raises(DataError, match=r"p.jsonl:3: id: missing; it names the row of --data"):
        read_predictions([path], None, read_rows([rows], None, TASKS))


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "p.jsonl",
        "nonsense",
        {"id": "a", "target": {"span": [0, 1]}},
        {"id": "b", **SPAN},
        {"id": "b", **SPAN},
        {"id": "c", "completion": "x"},
        {"id": "d", "completion": "x", "target": {"choice": "A"}},
        {"id": "e", **SPAN, "task": "nonsense"},
        {"id": "f", **SPAN, "finish_reason": "odd"},
        "[]",
    )
    with pytest.raises(DataError) as caught:
        read_predictions([path, tmp_path / "gone.jsonl"], None)
    errors = str(caught.value)
    for message in (
        "p.jsonl:1: not JSON",
        "p.jsonl:2: completion: missing",
        "p.jsonl:3: task: missing; give --task",
        "p.jsonl:4: greedy completion 0 of 'b' is at",
        "p.jsonl:7: task: unknown: 'nonsense'",
        "p.jsonl:8: finish_reason: Invalid enum value 'odd'",
        "p.jsonl:9: a row is a JSON object, not list",
        "gone.jsonl: cannot be read: No such file",
    ):
        assert message in errors
    with pytest.raises(DataError) as caught:
        read_predictions([path], "temporal_grounding")
    assert "p.jsonl:5: target: missing. Write the target into each line, or give the rows with --data." in str(
        caught.value
    )
    assert 'p.jsonl:6: target: has choice, but temporal_grounding needs {"span"' in str(caught.value)


def test_a_shard_given_twice_is_refused(tmp_path: Path) -> None:
    write_result(tmp_path / "a.jsonl", whole())
    with pytest.raises(DataError, match=r"a.jsonl:1: greedy completion 0 of 'g0' is at .*a.jsonl:1 already"):
        read_predictions([tmp_path / "a.jsonl", tmp_path / "a.jsonl"], None)
    write_result(tmp_path / "b.jsonl", EvalResult(tuple(samples_of(grounding("z"), "", "", "")), seed=5))
    with pytest.raises(DataError, match=r"different seeds: \[4, 5\]"):
        read_predictions([tmp_path / "a.jsonl", tmp_path / "b.jsonl"], None)


def test_no_predictions_are_no_figures(tmp_path: Path) -> None:
    write_result(tmp_path / "a.jsonl", whole())
    with pytest.raises(DataError, match="no predictions of task tracking"):
        read_predictions([tmp_path / "a.jsonl"], "tracking")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    row = {"task": "temporal_grounding", "video": "v.mp4", "query": "it rains", "duration_s": 20.0}
    return lines(
        tmp_path / "rows.jsonl",
        *({"id": name, "dataset": "own/test", **row, "target": {"span": [0, 10]}} for name in "abc"),
    )


def test_rows_give_the_target_and_what_is_missing_is_reported(
    tmp_path: Path, rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = lines(tmp_path / "p.jsonl", {"id": "a", "completion": "<answer>0 to 5</answer>"}, {"id": "b", **SPAN})
    command = ["eval", "--predictions", str(path), "--data", str(rows), "--task", "temporal_grounding"]
    assert main([*command, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["eval"]["own/test"]["greedy"]["mIoU"] == 0.5
    assert printed["eval"]["own/test"]["rows"] == 2
    assert printed["missing"] == {"rows": 1, "ids": ["c"]}
    assert printed["baselines"]["own/test"]["first_half"]["mIoU"] == 1.0
    assert main(command) == 0
    assert "1 rows of --data have no prediction and are in no mean (c)." in capsys.readouterr().out
    lines(path, {"id": "a", **SPAN, "target": {"span": [0, 9]}}, {"id": "x", **SPAN})
    assert main(command) == 2
    errors = capsys.readouterr().err
    assert 'p.jsonl:1: target: {"span": [0, 9]} is not that of the row: {"span": [0, 10]}' in errors
    assert "p.jsonl:2: id: 'x' is no row of --data." in errors


def test_rows_that_name_a_video_are_drawn_with_it(tmp_path: Path, rows: Path) -> None:
    named = [{"id": i, "video": f"{i % 2}.mp4", **SPAN, "target": {"span": [0, 10]}} for i in range(6)]
    path = lines(tmp_path / "p.jsonl", *named, {"id": 6, **SPAN, "target": {"span": [0, 10]}})
    result, _ = read_predictions([path], "temporal_grounding")
    assert result.sets["temporal_grounding"].num_units == 3
    assert [sample.video for sample in result.samples][-2:] == ["1.mp4", None]
    write_result(tmp_path / "again.jsonl", result)
    assert read_predictions([tmp_path / "again.jsonl"], None)[0] == result
    # The rows of --data know better than the lines.
    path = lines(tmp_path / "p.jsonl", {"id": "a", "video": "other.mp4", **SPAN})
    (sample,) = read_predictions([path], None, read_rows([rows], None, TASKS))[0].samples
    assert sample.video == str(tmp_path / "v.mp4")


def test_rows_that_a_difference_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Values 1, 0, 1, 0 (variance 1/3) against 0.5 in each row: two policies of that spread, or their differences."""
    texts = {"half": ["0 to 5"] * 4, "split": ["0 to 10", "20 to 30"] * 2}
    before, after = (
        lines(
            tmp_path / f"{name}.jsonl",
            *(
                {"id": i, **SPAN, "completion": f"<answer>{one}</answer>", "task": "temporal_grounding"}
                for i, one in enumerate(of_rows)
            ),
        )
        for name, of_rows in texts.items()
    )
    assert main(["eval", "--power", str(before), str(after), "--points", "10", "--json"]) == 0
    paired, unpaired = json.loads(capsys.readouterr().out)
    assert (paired["compared"], paired["num_rows"], unpaired["num_rows"]) == ("paired", 262, 524)
    assert main(["eval", "--power", str(after)]) == 0
    out = capsys.readouterr().out
    assert "greedy  4     4       unpaired  13,082" in out
    assert "give the answers of two policies" in out
    lines(before, before.read_text().replace('"id": 3', '"id": 9'))
    assert main(["eval", "--power", str(before), str(after)]) == 2
    assert "the two evaluations share 3 rows of 4" in capsys.readouterr().err
    assert main(["eval", "--power", str(tmp_path)]) == 2
    assert "holds no evaluation" in capsys.readouterr().err
    write_result(tmp_path / "eval" / "cold_start.jsonl.zst", read_predictions([after], None)[0])
    write_result(tmp_path / "eval" / "final.jsonl.zst", read_predictions([after], None)[0])
    assert main(["eval", "--power", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["num_rows"] == 0  # two policies that answer alike


def test_baselines_alone(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--baseline", "all", "--data", str(rows), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert "eval" not in printed
    assert list(printed["baselines"]["own/test"]) == ["whole_video", "first_half", "middle_half", "first_30"]
    assert printed["baselines"]["own/test"]["first_30"]["mIoU"] == pytest.approx(0.6)
    assert main(["eval", "--baseline", "whole_video", "--data", str(rows)]) == 0
    out = capsys.readouterr().out
    assert "baseline: whole_video  0.500 [0.500, 0.500]" in out
    assert "first_half" not in out
    assert main(["eval", "--baseline", "start_box", "--data", str(rows)]) == 2
    assert "'start_box' fits none of these rows" in capsys.readouterr().err
    assert main(["eval", "--baseline", "all", "--data", str(rows), "--task", "tracking"]) == 2
    assert "no rows of task tracking" in capsys.readouterr().err
    assert main(["eval", "--baseline", "all", "--data", str(rows), "--task", "trackin"]) == 2
    assert "unknown task 'trackin'" in capsys.readouterr().err


def test_a_baseline_that_needs_lengths_says_so(tmp_path: Path, rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bare = lines(tmp_path / "bare.jsonl", rows.read_text().replace('"duration_s": 20.0, ', ""))
    assert main(["eval", "--baseline", "whole_video", "--data", str(bare)]) == 2
    assert "3 of 3 rows have no duration_s" in capsys.readouterr().err


@pytest.mark.parametrize("name", list(TASKS))
def test_every_task_can_be_measured_without_a_model(
    tmp_path: Path, example_rows: Callable[..., Path], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = example_rows(tmp_path / "rows.jsonl", [name], copies=2)
    answers = [
        {
            "id": json.loads(line)["id"],
            "completion": TASKS[name].target_completion(TASKS[name].target(TASKS[name].example), True),
        }
        for line in data.read_text().splitlines()
    ]
    path = lines(tmp_path / "p.jsonl", *answers)
    assert main(["eval", "--predictions", str(path), "--data", str(data), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)["eval"][name]
    assert printed["greedy"][TASKS[name].main_metric] == 1.0
    is_read = "strict" in parser_tables(TASKS[name])
    assert printed["strict"]["greedy"].get(TASKS[name].main_metric) == (1.0 if is_read else None)
