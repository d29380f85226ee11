"""`rft score`: stored completions judged again, by both parsers and by other rewards."""

import threading
from pathlib import Path
from typing import Any

import pytest
from completion_files import SPAN, THINK, scored, span, write

from rewards.judge import JudgeError
from rewards.targets.choice import ChoiceTarget
from rewards.types import Score, Target
from rft.commands.score.score import outcomes_of, score
from rft.errors import RewardError
from rft.scoring.group import WeightedReward

ROOT = Path(__file__).parents[4]
ODD = ROOT / "tests" / "rft" / "scoring" / "odd_rewards.py"
BOX = [0.1, 0.1, 0.5, 0.5]


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


def test_a_reward_that_one_task_alone_has(tmp_path: Path) -> None:
    target = {"captions": [{"span": [0, 4], "text": "cut"}, {"span": [4, 8], "text": "fry"}]}
    rows = [{"completion": "<answer>0 - 4, fry.</answer>", "target": target}]
    (row,) = scored(tmp_path, rows, "timed_captions", rewards=("event_times=1",))
    assert row["scores"] == {"event_times": pytest.approx(2 / 3)}
    with pytest.raises(RewardError, match="none of event_times scores it"):
        scored(tmp_path, [span(1, 2)], rewards=("event_times=1",))


def test_a_reward_out_of_a_file(tmp_path: Path) -> None:
    rows = [{"completion": "x", "target": {"choice": "A"}}]
    (row,) = scored(tmp_path, rows, "multiple_choice", rewards=(f"{ODD}:fine=3",))
    assert (row["scores"], row["reward"], row["notes"]) == ({"fine": 0.5}, 1.5, {"fine": "fine"})
    rows[0]["completion"] = "raise"
    with pytest.raises(RewardError, match=r"odd_rewards.py:odd: raised ValueError: no such thing"):
        scored(tmp_path, rows, "multiple_choice", rewards=(f"{ODD}:odd=1",))


def test_all_that_is_wrong_with_the_requested_rewards() -> None:
    with pytest.raises(RewardError) as caught:
        score(Path("in.jsonl"), rewards=("iou", "temporal_io=1", "format=much", "gone.py:f=1", f"{ODD}:g=1"))
    assert str(caught.value).splitlines() == [
        "--reward: 5 problems",
        "  iou: write NAME=WEIGHT, such as iou=1.",
        "  temporal_io: unknown reward. Did you mean 'temporal_iou'?",
        "  format=much: write NAME=WEIGHT, such as iou=1.",
        "  gone.py:f: no such file.",
        f"  {ODD}:g: odd_rewards.py has no 'g'.",
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
