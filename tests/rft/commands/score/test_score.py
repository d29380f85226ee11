"""`rft score`: stored completions judged again, by both parsers, by other rewards, and what is said of bad rows."""

import json
import re
import shlex
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rewards import rewards_of
from rewards.judge import JudgeError
from rewards.targets.choice import ChoiceTarget
from rewards.targets.span import SpanTarget
from rewards.types import Score, Target
from rft.cli import main
from rft.commands.score.reward_choice import RewardChoice
from rft.commands.score.score import CHUNK, Scorer, outcomes_of, score
from rft.errors import DataError, RecipeError, RewardError
from rft.files import JsonLine
from rft.recipe import DataRecipe, Recipe, TaskRecipe
from rft.runs.rollout_files import write_rollouts
from rft.runs.run_dir import RunDir
from rft.scoring.group import WeightedReward, own_reward, score_by_recipe
from rft.types import Completion, FinishReason, Prompt, Video, VideoSampling

ROOT = Path(__file__).parents[4]
ODD = ROOT / "tests" / "rft" / "scoring" / "odd_rewards.py"
VIDEO = Video(Path("clip.mp4"), VideoSampling(2.0, 4, 8, 784, 784, 7840))
SPAN = {"span": [10.0, 20.0]}
BOX = [0.1, 0.1, 0.5, 0.5]
THINK = "<think>a</think>"


def span(start: float, end: float) -> dict[str, Any]:
    return {"completion": f"{THINK}<answer>{start} to {end}</answer>", "target": SPAN}


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def scored(
    folder: Path, rows: list[Any], task: str | None = "temporal_grounding", **settings: Any
) -> list[dict[str, Any]]:
    source = write(folder / "in.jsonl", *rows)
    score(source, folder / "out.jsonl", task=task, **settings)
    return read(folder / "out.jsonl")


def test_each_row_gets_scores_notes_answer_reward_and_fault(tmp_path: Path) -> None:
    assert scored(tmp_path, [{"id": "a", "task": None, **span(10, 15), "duration_s": 30}]) == [
        {
            "id": "a",
            "task": None,
            "completion": "<think>a</think><answer>10 to 15</answer>",
            "target": {"span": [10.0, 20.0]},
            "duration_s": 30,
            "scores": {"iou": 0.5, "format": 1.0},
            "notes": {"iou": "IoU 0.500", "format": "well formed"},
            "answer": "10 to 15",
            "reward": 1.5,
            "fault": None,
            "problem": "",
        }
    ]


@pytest.mark.parametrize(
    ("task", "target", "answer", "scores"),
    [
        ("tracking", {"boxes": [BOX] * 8}, f"<answer>{[BOX] * 8}</answer>", {"iou": 1.0, "format": 1.0}),
        ("multiple_choice", {"choice": "C"}, "<answer>C</answer>", {"accuracy": 1.0, "format": 1.0}),
        (
            "grounded_qa",
            {"choice": "C", "spans": [[1, 3]]},
            "<answer>B</answer><glue>[(1, 2)]</glue>",
            {"iou": 0.5, "accuracy": 0.0, "format": 1.0},
        ),
        ("quality", {"label": "high quality"}, "<answer>High quality</answer>", {"accuracy": 1.0, "format": 1.0}),
        ("caption", {"events": ["a cat jumps"]}, "<answer>a cat jumps</answer>", {"event_recall": 1.0, "format": 1.0}),
    ],
)
def test_every_task(tmp_path: Path, task: str, target: dict[str, Any], answer: str, scores: dict[str, float]) -> None:
    (row,) = scored(tmp_path, [{"completion": THINK + answer, "target": target}], task)
    assert row["scores"] == scores
    assert row["reward"] == sum(scores.values())


def test_the_answer_is_what_the_first_reward_read(tmp_path: Path) -> None:
    row = {"completion": "<answer>B</answer><glue>[(1, 2)]</glue>", "target": {"choice": "C", "spans": [[1, 3]]}}
    for rewards, answer in ((("iou=1", "accuracy=1"), "[(1, 2)]"), (("accuracy=1", "iou=1"), "B")):
        assert scored(tmp_path, [row], "grounded_qa", rewards=rewards)[0]["answer"] == answer
    unclosed = {**row, "completion": "<answer>B</answer>"}
    assert scored(tmp_path, [unclosed], "grounded_qa", rewards=("iou=1", "accuracy=1"))[0]["answer"] == "B"


def test_the_two_fidelities(tmp_path: Path) -> None:
    rows = [{"completion": f"{THINK}<answer>10s to 20s</answer>", "target": SPAN}]
    assert scored(tmp_path, rows, fidelity="as_published")[0]["scores"]["iou"] == 0
    assert scored(tmp_path, rows, fidelity="corrected")[0]["scores"]["iou"] == 1
    assert scored(tmp_path, rows)[0]["scores"]["iou"] == 1
    recipe = write(tmp_path / "r.yaml", "model: m\ntasks: {}\ndata: {train: []}\nsteps: 1\nfidelity: as_published\n")
    assert scored(tmp_path, rows, recipe_path=recipe)[0]["scores"]["iou"] == 0


def test_the_format_reward_is_chosen_by_think(tmp_path: Path) -> None:
    rows = [span(10, 20), {"completion": "<answer>10 to 20</answer>", "target": SPAN}]
    formats = {
        think: [row["scores"]["format"] for row in scored(tmp_path, rows, think=think)] for think in (True, False)
    }
    assert formats == {True: [1, 0], False: [0, 1]}


def test_rewards_named_on_the_command_line_take_the_place_of_the_tasks(tmp_path: Path) -> None:
    (row,) = scored(tmp_path, [span(10, 15)], rewards=("iou=0.5", "format=2"), think=False)
    assert (row["scores"], row["reward"]) == ({"iou": 0.5, "format": 0.0}, 0.25)
    (row,) = scored(tmp_path, [{**span(10, 15), "duration_s": 30}], rewards=("temporal_iou=1", "endpoint_iou=1"))
    assert row["scores"].keys() == {"iou", "endpoint_iou"}
    (row,) = scored(tmp_path, [span(10, 15)], rewards=("think_format=1", "answer_format=1"))
    assert row["scores"] == {"think_format": 1.0, "answer_format": 0.0}


def test_a_reward_out_of_a_file(tmp_path: Path) -> None:
    rows = [{"completion": "x", "target": {"choice": "A"}}]
    (row,) = scored(tmp_path, rows, "multiple_choice", rewards=(f"{ODD}:fine=3",))
    assert (row["scores"], row["reward"], row["notes"]) == ({"fine": 0.5}, 1.5, {"fine": "fine"})
    rows[0]["completion"] = "raise"
    with pytest.raises(RewardError, match=r"odd_rewards.py:odd: raised ValueError: no such thing"):
        scored(tmp_path, rows, "multiple_choice", rewards=(f"{ODD}:odd=1",))


def test_all_that_is_wrong_with_the_requested_rewards() -> None:
    own_file = own_reward(f"{ODD}:odd").__module__
    with pytest.raises(RewardError) as caught:
        score(Path("in.jsonl"), rewards=("iou", "temporal_io=1", "format=much", "gone.py:f=1", f"{ODD}:g=1"))
    assert str(caught.value).splitlines() == [
        "--reward: 5 problems",
        "  iou: write NAME=WEIGHT, such as iou=1.",
        "  temporal_io: unknown reward. Did you mean 'temporal_iou'?",
        "  format=much: write NAME=WEIGHT, such as iou=1.",
        "  gone.py:f: no such file.",
        f"  {ODD}:g: AttributeError: module '{own_file}' has no attribute 'g'.",
    ]


def test_rewards_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(RewardError, match="none of accuracy scores it"):
        scored(tmp_path, [span(1, 2)], rewards=("accuracy=1",))
    tasks = "tasks: {temporal_grounding: {rewards: {union_iou: 1, temporal_iou: {args: {least: 1}}}}}"
    recipe = write(tmp_path / "r.yaml", f"model: m\n{tasks}\ndata: {{train: []}}\nsteps: 1\n")
    with pytest.raises(RewardError) as caught:
        scored(tmp_path, [span(1, 2)], recipe_path=recipe)
    assert str(caught.value).splitlines() == [
        "rewards of task temporal_grounding: 2 problems",
        "  union_iou scores GroundedChoiceTarget, but task temporal_grounding yields SpanTarget.",
        "  temporal_iou has no argument least. Known: min_iou.",
    ]


def test_every_bad_row_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    source = write(
        tmp_path / "in.jsonl",
        span(10, 20),
        "{nonsense\n",
        "\n",
        [1],
        {"completion": 3, "duration_s": -1, "finish_reason": "odd"},
        {"completion": "x", "target": {"choice": "A"}},
        {"completion": "x", "target": {"span": [5, 5]}},
        {"completion": "x", "target": SPAN, "task": "nonsense"},
        '{"completion": "x", "target": {"span": [NaN, 2]}}\n',
        '{"completion": "x", "target": {"span": [1, 2]}, "completion": "y"}\n',
    )
    with pytest.raises(DataError) as caught:
        score(source, tmp_path / "out.jsonl", task="temporal_grounding")
    problems = [line.removeprefix(f"{source}:") for line in str(caught.value).splitlines()]
    assert problems == [
        "2: not JSON: Expecting property name enclosed in double quotes at column 2",
        "4: a row is a JSON object, not list",
        "9: NaN is not a number JSON allows",
        "10: key 'completion' is written twice",
        "5: completion: Expected `str`, got `int`",
        "5: duration_s: Expected `float` > 0.0",
        "5: finish_reason: Invalid enum value 'odd'",
        '6: target: has choice, but temporal_grounding needs {"span": [start_s, end_s]}',
        "7: target: span: ends at 5.0 s, not after its start at 5.0 s; swap them or drop the row",
    ]
    assert not (tmp_path / "out.jsonl").exists()


def test_what_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone.jsonl: cannot be read: No such file"):
        score(tmp_path / "gone.jsonl", task="tracking")
    with pytest.raises(DataError, match=r"in.jsonl: no completions$"):
        score(write(tmp_path / "in.jsonl"), task="tracking")
    with pytest.raises(DataError, match=r"no completions of task tracking; 1 rows are of others"):
        score(write(tmp_path / "in.jsonl", {"task": "quality"}), task="tracking")
    with pytest.raises(DataError, match=r"in.jsonl:1: task: missing. Say which with --task"):
        score(write(tmp_path / "in.jsonl", span(1, 2)))
    with pytest.raises(DataError, match=r"in.jsonl:1: unknown task 'qualty'. Did you mean 'quality'"):
        score(write(tmp_path / "in.jsonl", {"task": "qualty"}))
    with pytest.raises(DataError, match=r"--task: unknown task 'trackin'. Did you mean 'tracking'"):
        score(tmp_path / "in.jsonl", task="trackin")
    (tmp_path / "in.jsonl").write_bytes(b'{"task": "quality"}\n\xff\n')
    with pytest.raises(DataError, match=r"in.jsonl:2: not UTF-8 text"):
        score(tmp_path / "in.jsonl", task="tracking")


def test_text_is_read_as_json_means_it(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    line = json.dumps({**span(10, 20), "id": "one\u2028line\x85"}, ensure_ascii=False)
    source.write_text(f"\ufeff{line}\r\n\n{line}", encoding="utf-8")
    score(source, tmp_path / "out.jsonl", task="temporal_grounding")
    assert [row["id"] for row in read(tmp_path / "out.jsonl")] == ["one\u2028line\x85"] * 2


@pytest.mark.parametrize("said", ["\u4e16", "\ud800", "a\u2028b", "\U0001f600"])
def test_answers_beyond_ascii_come_out_in_ascii(tmp_path: Path, said: str) -> None:
    row = {**span(10, 20), "completion": f"{THINK}<answer>{said}</answer>"}
    (output,) = scored(tmp_path, [row])
    assert (output["answer"], output["completion"]) == (said, row["completion"])
    assert (tmp_path / "out.jsonl").read_text(encoding="ascii").count("\n") == 1


@pytest.mark.parametrize("number", ["1e400", "-1e-400", "123456789012345678901234567890", "0.1", "-0", "5e-324"])
def test_numbers_are_read_as_the_standard_library_reads_them(tmp_path: Path, number: str) -> None:
    text = f'{{"a": {number}, "h": "\u00e9", "completion": "x", "target": {{"span": [1, 2]}}}}\n'
    (output,) = scored(tmp_path, [text])
    assert repr(output["a"]) == repr(json.loads(number))


def test_a_row_comes_out_as_it_went_in_with_its_scores_added(tmp_path: Path) -> None:
    before = '{"z": 1e2, "completion": "x", "target": {"span": [1, 2.50]} , "a": "\\u00e9" }'
    again = json.dumps({**span(10, 20), "reward": 7, "scores": {"old": 1}, "note": "kept"})
    source = write(tmp_path / "in.jsonl", f" {before} \n", f"{again}\n")
    score(source, tmp_path / "out.jsonl", task="temporal_grounding")
    first, second = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert first.startswith(before[:-1] + ", ")
    assert json.loads(first)["reward"] == 0
    figures = json.loads(second)
    assert (figures["reward"], figures["scores"], figures["note"]) == (2.0, {"iou": 1.0, "format": 1.0}, "kept")
    assert second.count('"reward"') == 1


def test_what_was_wrong_is_counted(tmp_path: Path) -> None:
    def row(completion: str, **more: object) -> dict[str, Any]:
        return {"completion": completion, "target": SPAN, "duration_s": 30.0, **more}

    rows = [
        *[row("no idea")] * 3,
        row("no idea, cut", finish_reason="length"),
        row(f"{THINK}<answer>soon</answer>"),
        row(f"{THINK}<answer>20 to 10</answer>"),
        row(f"{THINK}<answer>40 to 50</answer>"),
        row("", finish_reason="error"),
        row(f"{THINK}<answer>10 to 20</answer>", finish_reason="length"),
    ]
    result = score(write(tmp_path / "in.jsonl", *rows), task="temporal_grounding")
    figures = result.to_json()["tasks"]["temporal_grounding"]
    assert figures["faults"] == result.to_json()["faults"]
    assert figures["faults"] == {
        "no_tag": 4,
        "unreadable": 1,
        "reversed": 1,
        "out_of_range": 1,
        "wrong_count": 0,
        "truncated": 2,
        "failed": 1,
    }
    assert figures["examples"]["no_tag"][0] == {"text": "no idea", "note": "no <answer>", "rows": 3}
    assert figures["examples"]["reversed"][0]["text"] == "20 to 10"
    assert figures["left_out"] == {"failed": 1}
    assert (figures["rows"], figures["well_formed"]) == (9, pytest.approx(2 / 8))
    assert figures["reward"]["mean"] == pytest.approx((2 + 1) / 9)
    assert figures["scores"]["iou"] == {
        "reward": "temporal_iou",
        "weight": 1.0,
        "mean": pytest.approx(1 / 8),
        "quantiles": {"0.1": 0.0, "0.5": 0.0, "0.9": 1.0},
        "zero": pytest.approx(7 / 8),
        "full": pytest.approx(1 / 8),
    }


def test_a_wrong_number_of_boxes_is_a_fault(tmp_path: Path) -> None:
    rows = [{"completion": f"{THINK}<answer>{[BOX] * n}</answer>", "target": {"boxes": [BOX] * 8}} for n in (7, 8)]
    assert [row["fault"] for row in scored(tmp_path, rows, "tracking")] == ["wrong_count", None]


def run_folder(path: Path, **scoring: object) -> list[float]:
    """A run of two tasks and one step; what its rollouts earned."""
    recipe = Recipe(
        model="m",
        tasks={"temporal_grounding": TaskRecipe(), "multiple_choice": TaskRecipe(think=False)},
        data=DataRecipe(train=()),
        steps=1,
        scoring=scoring,
        sampling={"max_completion_length": 100},
    )
    run = RunDir.create(path, resume=False)
    run.write_recipe(recipe)
    run.release()

    def group(task: str, target: Target, *texts: tuple[str, FinishReason, int]) -> Any:
        completions = [Completion(text, (1,) * n, (0.0,) * n, 5, reason, 0) for text, reason, n in texts]
        return score_by_recipe(Prompt(task, task, "?", VIDEO, target), completions, recipe)

    groups = [
        group(
            "temporal_grounding",
            SpanTarget(10.0, 20.0, duration_s=30.0),
            (f"{THINK}<answer>10 to 15</answer>", "stop", 95),
            (f"{THINK}<answer>10 to 20</answer>", "length", 100),
            ("", "error", 0),
        ),
        group("multiple_choice", ChoiceTarget("A"), ("<answer>A</answer>", "stop", 50), ("A", "stop", 3)),
    ]
    write_rollouts(run.rollouts_file(1), 1, groups)
    return [rollout.reward for group in groups for rollout in group.rollouts]


@pytest.mark.parametrize(
    "scoring",
    [
        {},
        {"truncated": "zero", "overlong_buffer": 20},
        {"length_bonus": {"reward": "choice_accuracy", "tokens_low": 40, "tokens_high": 60}},
    ],
)
def test_a_run_scored_again_earns_what_it_earned(tmp_path: Path, scoring: dict[str, Any]) -> None:
    earned = run_folder(tmp_path / "run", **scoring)
    score(tmp_path / "run", tmp_path / "out.jsonl")
    assert [row["reward"] for row in read(tmp_path / "out.jsonl")] == earned
    if scoring:
        assert earned != [1.5, 2.0, 0.0, 2.0, 0.0]


def test_a_run_under_other_rewards(tmp_path: Path) -> None:
    run_folder(tmp_path / "run")
    result = score(tmp_path / "run", tmp_path / "out.jsonl", rewards=("endpoint_iou=1", "accuracy=3"))
    rows = read(tmp_path / "out.jsonl")
    assert [row["scores"] for row in rows] == [
        {"endpoint_iou": pytest.approx(0.5 * 25 / 30)},
        {"endpoint_iou": 1.0},
        {},
        {"accuracy": 1.0},
        {"accuracy": 0.0},
    ]
    assert result.to_json()["tasks"]["multiple_choice"]["reward"]["mean"] == 1.5
    only = score(tmp_path / "run", tmp_path / "out.jsonl", task="multiple_choice")
    assert (only.left_out, list(only.tallies)) == (3, ["multiple_choice"])


def test_a_run_whose_recipe_has_keys_of_another_time(tmp_path: Path) -> None:
    earned = run_folder(tmp_path / "run", truncated="zero")
    recipe = RunDir(tmp_path / "run").recipe
    recipe.write_text(recipe.read_text() + "gone_since: 1\n")
    score(tmp_path / "run", tmp_path / "out.jsonl")
    assert [row["reward"] for row in read(tmp_path / "out.jsonl")] == earned
    recipe.write_text(recipe.read_text().replace("truncated: zero", "truncated: never"))
    with pytest.raises(RecipeError, match=r"recipe.yaml: 1 problem\n  scoring.truncated"):
        score(tmp_path / "run")


def test_a_folder_without_rollouts(tmp_path: Path) -> None:
    run_folder(tmp_path / "run")
    RunDir(tmp_path / "run").rollouts_file(1).unlink()
    with pytest.raises(DataError, match="run: no rollouts here"):
        score(tmp_path / "run")


def test_length_rules_need_the_number_of_tokens(tmp_path: Path) -> None:
    text = "model: m\ntasks: {}\ndata: {train: []}\nsteps: 1\nscoring: {overlong_buffer: 10}\n"
    with pytest.raises(DataError, match=r"in.jsonl:1: num_tokens: missing, but the recipe has a length rule"):
        scored(tmp_path, [span(1, 2)], recipe_path=write(tmp_path / "r.yaml", text))


def test_rewards_with_concurrency_judge_side_by_side() -> None:
    meeting = threading.Barrier(3, timeout=60)

    def together(completion: str, target: ChoiceTarget, *, concurrency: int = 3) -> Score:
        meeting.wait()
        return Score(1.0, completion, "")

    pairs: list[tuple[str, Target]] = [(str(i), ChoiceTarget("A")) for i in range(6)]
    outcomes = outcomes_of(WeightedReward("together", together, 1.0, {}), pairs, 5.0)
    assert [outcome.answer for outcome in outcomes if isinstance(outcome, Score)] == list("012345")


def test_a_judge_that_is_away_ends_the_command_and_a_row_that_lacks_something_is_named() -> None:
    def away(completion: str, target: ChoiceTarget) -> Score:
        raise JudgeError("no reply")

    def choosy(completion: str, target: ChoiceTarget) -> Score:
        raise ValueError("give duration_s")

    pairs: list[tuple[str, Target]] = [("A", ChoiceTarget("A"))]
    with pytest.raises(RewardError, match="reward away: no reply"):
        outcomes_of(WeightedReward("away", away, 1.0, {}), pairs, 5.0)
    assert outcomes_of(WeightedReward("choosy", choosy, 1.0, {}), pairs, 5.0) == ["give duration_s"]


def test_a_row_that_a_reward_cannot_judge_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"in.jsonl:2: reward endpoint_iou: .*duration_s"):
        scored(tmp_path, [{**span(1, 2), "duration_s": 9}, span(1, 2)], rewards=("endpoint_iou=1",))


def test_rows_are_not_kept() -> None:
    taken = 0

    def stored() -> Iterator[JsonLine]:
        nonlocal taken
        while True:
            taken += 1
            yield JsonLine("here", 1, span(1, 2), "")

    recipe = Recipe(model="m", tasks={"temporal_grounding": TaskRecipe()}, data=DataRecipe(train=()), steps=1)
    next(Scorer(recipe, RewardChoice(rewards_of(None)), "temporal_grounding").rows(stored()))
    assert taken == CHUNK


def test_the_command_prints_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [span(10, 20), {"completion": "caf\u00e9", "target": SPAN}, {"task": "tracking"}]
    source = write(tmp_path / "in.jsonl", *rows)
    assert main(["score", str(source), "--task", "temporal_grounding", "-o", str(tmp_path / "out.jsonl")]) == 0
    out = capsys.readouterr().out
    assert out.isascii()
    lines = [line.split() for line in out.splitlines()]
    assert "temporal_grounding: 2 completions" in out
    assert ["iou", "(temporal_iou)", "1", "0.500", "0.000", "0.000", "1.000", "50.0%", "50.0%"] in lines
    assert ["reward", "1.000", "0.000", "0.000", "2.000", "50.0%", "50.0%"] in lines
    assert "Well formed: 50.0%." in out
    assert ["no_tag", "1", "50.0%", "1", "x", r"'caf\xe9'", "no", "<answer>"] in lines
    assert "1 rows of other tasks left out." in out
    assert len(read(tmp_path / "out.jsonl")) == 2


def test_the_command_prints_one_json_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "in.jsonl", span(10, 20))
    arguments = ["score", str(source), "--task", "temporal_grounding", "--fidelity", "as_published", "--no-think"]
    assert main([*arguments, "--json", "--reward", "iou=1", "format=0.5"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["rows"], figures["fidelity"], figures["left_out"]) == (1, "as_published", 0)
    assert figures["tasks"]["temporal_grounding"]["scores"]["format"]["reward"] == "answer_format"
    assert main(["score", str(tmp_path / "gone.jsonl"), "--task", "tracking"]) == 2
    assert "gone.jsonl: cannot be read" in capsys.readouterr().err


def test_a_disk_that_refuses_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "in.jsonl", span(10, 20))
    assert main(["score", str(source), "--task", "temporal_grounding", "-o", str(tmp_path / "gone" / "o.jsonl")]) == 2
    assert "o.jsonl: cannot be written: No such file" in capsys.readouterr().err


def test_the_page_shows_what_the_command_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "scoring.md").read_text()
    (tmp_path / "in.jsonl").write_text(re.findall(r"```jsonl\n(.*?)```", page, re.DOTALL)[0])
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```console\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        shown = [line for line in block.splitlines() if not line.startswith("$ ")]
        for command in re.findall(r"^\$ (.*)$", block, re.MULTILINE):
            words = shlex.split(command.partition(" >")[0])
            if words[0] == "rft":
                assert main(words[1:]) == 0
                printed = capsys.readouterr().out.splitlines()
            else:
                assert words[:3] == ["head", "-n", "1"]
                printed = (tmp_path / words[3]).read_text().splitlines()[:1]
        assert shown == printed
