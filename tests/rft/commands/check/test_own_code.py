"""rft check tries rewards of one's own in a process of its own, and says all that is wrong with them."""

import re
from pathlib import Path

import pytest

from rft.commands.check.rewards import reward_findings
from rft.errors import Problem, RewardError
from rft.own_code import load_own
from rft.recipe.load import parse_recipe
from rft.scoring.reward_worker import RewardWorker
from rft.tasks import TASKS

REWARDS = """\
import time

from rewards.facts import CompletionGroup
from rewards.judge import JudgeError
from rewards.targets.choice import ChoiceTarget
from rewards.targets.span import SpanTarget
from rewards.types import Score


def fine(completion: str, target: SpanTarget, *, scale: float = 1.0) -> Score:
    return Score(1.0, None, "")


def many(completion: str, target: SpanTarget, *, group: CompletionGroup, row: dict) -> Score:
    return Score(1 / len(group.texts), None, row["query"])


def half(completion: str, target: SpanTarget) -> Score:
    return Score(0.5, None, "never sure")


def fragile(completion: str, target: SpanTarget) -> Score:
    value = completion.split("<answer>")[1]
    return Score(2.0 if value.startswith("nan") else 1.0, None, "")


def slow(completion: str, target: SpanTarget) -> Score:
    time.sleep(0.1 if "12.5" in completion else len(completion) / 1e5)
    return Score(1.0, None, "")


def greedy(completion: str, target: SpanTarget) -> Score:
    return Score(float(len(bytes(1 << 40)) > 0), None, "")


def away(completion: str, target: SpanTarget) -> Score:
    raise JudgeError("no reply")


def needing(completion: str, target: SpanTarget, *, scale: float) -> Score:
    return Score(1.0, None, "")


def other(completion: str, target: ChoiceTarget) -> Score:
    return Score(1.0, None, "")
"""

FOUND = {
    "fine": [r"note: fine\(completion, target, \*, scale=1.0\) scores SpanTarget, sees text, target; .* ms per "],
    "many": [r"note: many\(.*\) scores SpanTarget, sees text, target, row, group; .* ms per completion"],
    "half": [r"half gives 0.5 to the example answer of task temporal_grounding with think \(never sure\): prompt and",
             r"note: half\("],
    "fragile": [r"fragile raised IndexError: list index out of range \(mine.py:\d+\), on an empty text, a million ",
                r"fragile returned the value 2.0, not a number in \[0, 1\], on numbers beyond all bounds."],
    "slow": [r"slow took longer than 2 s and was stopped, on a million brackets."],
    "greedy": [r"greedy raised MemoryError:  \(mine.py:\d+\), on the example answer, an empty text, "],
    "away": [r"note: away raised JudgeError: no reply .*, on the example answer, .* The run needs its judge."],
    "needing": [r"needing needs the argument scale. Set it under args."],
    "other": [r"other scores ChoiceTarget, but task temporal_grounding yields SpanTarget."],
}  # fmt: skip
"""Reward -> its findings, as patterns; notes begin with "note: "."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(REWARDS)
    return path


def findings(file: Path, rewards: str, more: str = "") -> list[str]:
    text = (
        f"model: m\ntasks: {{temporal_grounding: {{rewards: {{{rewards}}}}}}}\ndata: {{train: [r.jsonl]}}\nsteps: 1\n"
    )
    recipe = parse_recipe(f"{text}scoring: {{reward_timeout_s: 2}}\n{more}", "r.yaml", folder=file.parent)
    found = list(reward_findings(recipe))
    key = "tasks.temporal_grounding.rewards."
    return [
        str(one).removeprefix(key) if isinstance(one, Problem) else f"note: {one.removeprefix(key)}" for one in found
    ]


def test_all_that_is_wrong_with_rewards_is_told_at_once(file: Path) -> None:
    found = findings(file, ", ".join(f"mine.py:{name}: 1" for name in FOUND))
    expected = [
        pattern.replace("note: ", f"note: {name}: ") if pattern.startswith("note: ") else f"{name}: {pattern}"
        for name, patterns in FOUND.items()
        for pattern in patterns
    ]
    assert len(found) == len(expected), found
    for text, pattern in zip(found, expected, strict=True):
        assert re.match(pattern, text), text


def test_a_reward_that_sees_tokens_cannot_judge_the_ground_truth(file: Path) -> None:
    problem, note = findings(file, "mine.py:many: 1", "algorithm: {ground_truth: {}}")
    assert problem == "many: asks for group, but no policy wrote the ground truth of algorithm.ground_truth."
    assert note.startswith("note: many: ")


def test_a_file_that_changed_does_not_judge_the_rest_of_a_run(file: Path) -> None:
    fine, target = load_own(f"{file}:fine"), TASKS["temporal_grounding"].target(TASKS["temporal_grounding"].example)
    worker = RewardWorker()
    assert not isinstance(worker.judge(fine, ["x"], target, {}, 2.0)[0], str)
    file.write_text(REWARDS.replace("1.0, None", "0.9, None"))
    assert not isinstance(worker.judge(fine, ["x"], target, {}, 2.0)[0], str)
    worker.child.close()
    with pytest.raises(RewardError, match=r"mine.py changed since the run loaded it"):
        worker.judge(fine, ["x"], target, {}, 2.0)
    worker.child.close()
