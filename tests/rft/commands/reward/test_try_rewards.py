"""`rft reward try`: figures worked out by hand, what it prints, what hangs or raises, and a file saved again."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from built_in import BUILT_IN

from rft.__main__ import main
from rft.commands.reward.answers import example_answers
from rft.commands.reward.page import WIDTH
from rft.commands.reward.trial import Limits, named_rewards
from rft.commands.reward.try_rewards import try_on, try_on_example
from rft.errors import DataError, RewardError
from rft.tasks import TASKS

LAST_WORD = """
import time
from rewards.facts import CompletionGroup
from rewards.targets.span import SpanTarget
from rewards.types import Score

def last_word(completion: str, target: SpanTarget) -> Score:
    word = completion.split()[-1]
    if word == "hang":
        time.sleep(60)
    return Score(float(word), word, "the last word")

def seen(completion: str, target: SpanTarget, *, num_tokens: int, group: CompletionGroup) -> Score:
    return Score(group.index / 10 + num_tokens / 1000, None, f"{group.index} of {len(group.texts)}")

def strict(completion: str, target: SpanTarget, *, most: int) -> Score:
    return Score(0.0, None, "")
"""


def line(prompt: str, end_s: float, word: str, tokens: int, reward: float) -> dict[str, Any]:
    return {
        "step": 1,
        "prompt_id": prompt,
        "task": "temporal_grounding",
        "target": {"span": [0.0, 10.0]},
        "duration_s": 20.0,
        "completion": f"<answer>0 to {end_s}</answer> {word}",
        "num_tokens": tokens,
        "reward": reward,
        "scores": {"temporal_iou": {"value": end_s / 10}, "odd": None},
    }


LINES = [line("a", 10, "0.2", 10, 2), line("a", 5, "0.4", 20, 1), line("b", 0, "0", 30, 0), line("b", 2, "0", 40, 1)]


@pytest.fixture
def reward(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(LAST_WORD)
    return f"{tmp_path / 'mine.py'}:last_word"


def write(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    return path


def figures(names: list[str], source: Path, most: int = 9, limit_s: float = 5.0) -> dict[str, Any]:
    limits = Limits(limit_s, 60.0)
    found: dict[str, Any] = json.loads(try_on(named_rewards(names), source, None, most, limits, as_json=True))
    return found["temporal_grounding"]


def test_figures(tmp_path: Path, reward: str) -> None:
    found = figures([reward, "temporal_iou"], write(tmp_path / "in.jsonl", LINES))
    mine = found["rewards"]["last_word"]
    # Ranks of the values 3, 4, 1.5, 1.5; of the metric 4, 3, 1, 2; of the lengths 1 to 4.
    assert mine == {
        "name": "last_word",
        "mean": pytest.approx(0.15),
        "zero": 0.5,
        "spread": 0.5,
        "best": pytest.approx((0.5 + (0.0 + 0.2) / 2) / 2),
        "agrees": -1.0,
        "metric": pytest.approx(3.5 / 22.5**0.5),
        "length": pytest.approx(-3.5 / 22.5**0.5),
        "ms": mine["ms"],
    }
    assert found["rewards"]["temporal_iou"]["mean"] == found["rewards"]["run: temporal_iou"]["mean"] == 0.425
    assert [*found["rewards"]][-3:] == ["run: reward", "run: temporal_iou", "metric: mIoU"]
    tried = found["tried"]["last_word"]
    assert tried["histogram"] == [2, 0, 1, 0, 1, 0, 0, 0, 0, 0]
    # Its own answers end in no number: the reward raises.
    assert tried["without_the_clip"]["whole_video"] == {"value": None, "metric": 0.5}
    assert {one["text"][-3:] for one in tried["notable"]} == {"0.2", "0.4", "> 0"}
    assert (found["groups"], found["groups_stored"], found["completions"]) == (2, 2, 4)


def test_a_reward_gets_its_arguments(tmp_path: Path, reward: str) -> None:
    rewards = named_rewards([reward.replace("last_word", "strict"), "temporal_iou"], ["most=3", "min_iou=0.5"])
    assert [one.args for one in rewards] == [{"most": 3}, {"min_iou": 0.5}]


def test_groups_are_spread_evenly(tmp_path: Path, reward: str) -> None:
    lines = [line(str(i), 10, f"0.{i}", 10, 1) | {"step": step} for step in (1, 2) for i in range(4)]
    found = figures([reward], write(tmp_path / "in.jsonl", lines), most=4)
    assert (found["groups"], found["groups_stored"]) == (4, 8)
    assert found["tried"]["last_word"]["histogram"][:4] == [2, 0, 2, 0]


def test_the_page_is_narrow_and_names_faults_and_what_can_be_hacked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(LAST_WORD.replace("word = completion.split()[-1]", "return half(completion)"))
    with (tmp_path / "mine.py").open("a") as file:
        file.write('def half(text):\n    assert "2" not in text\n')
        file.write('    return Score(0.5 + (" 0.4" not in text) / 4, None, "\\x1b[31m long" * 30, "no_tag")\n')
    source = write(tmp_path / "in.jsonl", LINES)
    assert main(["reward", "try", f"{tmp_path / 'mine.py'}:last_word", "--on", str(source), "--groups", "5"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= WIDTH
    assert out.isascii()
    assert "\x1b" not in out
    assert "temporal_grounding: 4 completions in 2 groups" in out
    said = " ".join(out.split())
    assert "last_word: 2 not judged, 2 no_tag." in said
    assert "AssertionError" in said
    assert "pays an empty text more than the stored" in said


def test_a_reward_that_hangs_is_given_up(tmp_path: Path, reward: str) -> None:
    lines = [line(str(i), 10, "hang", 10, 1) for i in range(5)]
    tried = figures([reward], write(tmp_path / "in.jsonl", lines), limit_s=0.2)["tried"]["last_word"]
    assert tried["judged"] == 3
    assert tried["stopped"] == "3 completions took longer than 0.2 s"
    assert tried["faults"] == {"not judged": 3}


@pytest.mark.parametrize("task", BUILT_IN)
def test_the_answers_to_an_example_are_what_they_are_called(task: str) -> None:
    of_task = TASKS[task]
    target = of_task.target(of_task.example)
    values = {
        kind: of_task.measure(text, target)[of_task.main_metric] for kind, text in example_answers(of_task).items()
    }
    assert values["right"] == values["right, no thought"] == values["right, said twice"] == 1
    assert values["wrong"] == values["empty tags"] == values["no tags"] == values["nothing"] == 0
    assert 0 < values.get("half right", 0.5) < 1
    assert all(value < 1 for kind, value in values.items() if kind.startswith("blind"))


def test_on_an_example() -> None:
    page = try_on_example(named_rewards(["temporal_iou", "think_format"]), "temporal_grounding", 5.0, as_json=False)
    assert 'whose target is {"span": [12.5, 17.25]}' in page
    found = json.loads(try_on_example(named_rewards(["temporal_iou"]), "temporal_grounding", 5.0, as_json=True))
    assert (
        found["half right"]["rewards"]["temporal_iou"]["value"]
        == found["half right"]["mIoU"]
        == pytest.approx(0.6 / 1.4)
    )


def test_a_reward_gets_the_facts_it_asks_for(tmp_path: Path, reward: str) -> None:
    seen = reward.replace("last_word", "seen")
    lines = [*LINES[:3], {**LINES[3], "num_tokens": None}]
    tried = figures([seen], write(tmp_path / "in.jsonl", lines))["tried"]["seen"]
    # 10 tokens at place 0, 20 at 1; 30 at 0; the last line does not say.
    assert sorted(one["value"] for one in tried["notable"] if one["value"] is not None) == pytest.approx(
        [0.01, 0.03, 0.12]
    )
    assert "seen asks for what the line does not hold: `num_tokens`" in {one["note"] for one in tried["notable"]}
    assert tried["without_the_clip"] == {}
    found = json.loads(try_on_example(named_rewards([seen]), "temporal_grounding", 5.0, as_json=True))
    assert found["half right"]["rewards"]["seen"]["note"] == f"1 of {len(found)}"


def test_what_cannot_be_tried(tmp_path: Path, reward: str) -> None:
    source = write(tmp_path / "in.jsonl", LINES)
    with pytest.raises(RewardError, match="choice_accuracy scores ChoiceTarget or GroundedChoiceTarget, but task"):
        figures(["choice_accuracy"], source)
    with pytest.raises(RewardError, match="strict needs the argument most"):
        figures([reward.replace("last_word", "strict")], source)
    with pytest.raises(RewardError, match=r"temporal_io: unknown reward\. Did you mean 'temporal_iou'"):
        figures(["temporal_io"], source)
    with pytest.raises(RewardError) as caught:
        named_rewards(["temporal_iou"], ["min_iou", "most=1"])
    assert str(caught.value).splitlines() == [
        "--args: 2 problems",
        "  min_iou: write KEY=VALUE, such as min_iou=0.5.",
        "  most: no argument of temporal_iou.",
    ]
    with pytest.raises(DataError, match="no completions of task tracking"):
        try_on(named_rewards([reward]), source, "tracking", 9, Limits(5.0, 60.0), as_json=True)
    with pytest.raises(RewardError, match="cannot score task tracking"):
        try_on_example(named_rewards([reward]), "tracking", 5.0, as_json=True)


@pytest.mark.slow
def test_a_saved_file_is_tried_again(tmp_path: Path, reward: str) -> None:
    file, source = tmp_path / "mine.py", write(tmp_path / "in.jsonl", LINES[:1])
    file.write_text("def last_word(:")
    command = [sys.executable, "-m", "rft", "reward", "try", reward, "--on", str(source), "--json", "--watch"]
    watcher = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert watcher.stdout is not None
    try:

        def printed(text: str) -> bool:
            assert watcher.stdout is not None
            return any(text in line for line in watcher.stdout)

        assert printed("SyntaxError")
        file.write_text(LAST_WORD.replace("float(word)", "1 - float(word)"))
        assert printed('"mean": 0.8')
    finally:
        watcher.kill()
        watcher.wait()
        watcher.stdout.close()
