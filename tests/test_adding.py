"""What can be added from outside, in how many lines, with no other file touched.

Rewards and losses stand in files of their own, which a recipe names. Tasks, kinds of target and data formats are new
files in a copy of the source tree.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
import torch

from rft.algorithm.loss import LossInputs, grpo, loss_function
from rft.commands.check.rewards import reward_findings
from rft.errors import RecipeError, RewardError
from rft.recipe.algorithm import AlgorithmRecipe
from rft.recipe.load import load_recipe, parse_recipe, recipe_text
from rft.scoring.group import score_by_recipe
from rft.tasks import TASKS
from rft.types import Completion, Prompt

ROOT = Path(__file__).parents[1]

REWARD = '''\
from rewards.parsing import answer_text, parse_span
from rewards.targets.span import SpanTarget
from rewards.types import Score


def near_start(completion: str, target: SpanTarget, *, within_s: float = 5.0) -> Score:
    """1 at the true start, falling to 0 at `within_s` seconds away from it."""
    span = parse_span(answer_text(completion) or "")
    if span is None:
        return Score(0.0, None, "no 'start to end' inside <answer>", "unreadable")
    off_s = abs(span[0] - target.start_s)
    return Score(max(0.0, 1.0 - off_s / within_s), str(span), f"start off by {off_s:.2f} s")
'''

LOSS = '''\
from rft.algorithm.loss import LossInputs, LossOutput, clipped, per_token, token_ratios


def half_token_mean(inputs: LossInputs) -> LossOutput:
    """Half of the mean over all tokens."""
    losses, held = clipped(inputs, token_ratios(inputs))
    return per_token(inputs, (losses / 2, held))
'''

KNOWN_KIND = '''\
"""Where a clip was filmed: a list of places in, one of them out."""

from collections.abc import Mapping

from pydantic import Field

from rewards import RewardFn
from rewards.targets.label import LabelTarget
from rft.tasks.types import Row, Task


class PlaceRow(Row):
    places: tuple[str, ...] = Field(min_length=2)


class Place(Task):
    name = "place"
    row_type = PlaceRow
    target_type = LabelTarget
    example = PlaceRow(id="e", task="place", video="a.mp4", places=("beach", "town"), target={"label": "beach"})
    rewards = (("label_match", 1.0),)
    main_metric = "accuracy"

    def question(self, row: PlaceRow, target: LabelTarget) -> str:
        return f"Where was this filmed: {', '.join(row.places)}?"

    def row_problems(self, row: PlaceRow, target: LabelTarget) -> list[str]:
        return [] if target.label in row.places else [f"label: {target.label!r} is not among the places"]

    def metrics(self, completion: str, target: LabelTarget, rewards: Mapping[str, RewardFn]) -> dict[str, float]:
        return {"accuracy": rewards["label_match"](completion, target).value}
'''

NEW_KIND = '''\
"""How often something happens."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from rewards.types import Fault, Target


@dataclass(frozen=True, slots=True)
class CountTarget(Target):
    """How often something happens: CountTarget(3)."""

    json_form = '{"count": 3}'
    json_keys = (("count",),)
    answer_form = "<answer>number</answer>"

    count: int

    @classmethod
    def from_json(cls, data: Mapping[str, object], problems: list[str]) -> Self:
        count = data["count"]
        if not isinstance(count, int):
            problems.append(f"count: {count!r} is no whole number")
            return cls(0)
        return cls(count)

    def to_json(self) -> dict[str, object]:
        return {"count": self.count}

    def written(self) -> str:
        return f"<answer>{self.count}</answer>"

    def format_problem(self, answer: str, completion: str) -> tuple[str, Fault] | None:
        return None if answer.isdigit() else ("the answer is no whole number", "unreadable")
'''

TASK_OF_NEW_KIND = '''\
"""How often something happens: an event in, a number out."""

from collections.abc import Mapping

from rewards import RewardFn
from rewards.parsing import answer_text
from rewards.targets.count import CountTarget
from rewards.types import Score
from rft.tasks.types import Row, Task


def right_count(completion: str, target: CountTarget) -> Score:
    """1 if the last <answer> is the number, else 0."""
    answer = answer_text(completion)
    return Score(float(answer == str(target.count)), answer, f"{target.count} times")


class CountRow(Row):
    query: str


class Counting(Task):
    name = "counting"
    row_type = CountRow
    target_type = CountTarget
    example = CountRow(id="e", task="counting", video="a.mp4", query="the ball bounces", target={"count": 3})
    rewards = (("right_count", 1.0),)
    own_rewards: Mapping[str, RewardFn] = {"right_count": right_count}
    main_metric = "accuracy"

    def question(self, row: CountRow, target: CountTarget) -> str:
        return f"How often does this happen in the video: {row.query}?"

    def metrics(self, completion: str, target: CountTarget, rewards: Mapping[str, RewardFn]) -> dict[str, float]:
        return {"accuracy": rewards["right_count"](completion, target).value}
'''

FORMAT = '''\
"""Repetition counts as JSON: {video: [event, count]}."""

import json

from rft.commands.data.convert.source import Draft, Format, Published, SourceRequest


def read(request: SourceRequest) -> Published:
    drafts = [
        Draft({"id": video, "task": request.task, "video": video, "query": event, "target": {"count": count}})
        for video, (event, count) in json.loads(request.source.read_text()).items()
    ]
    return Published(tuple(drafts))


FORMAT = Format(("counting",), read)
'''

RECIPE = """\
model: any
tasks: {temporal_grounding: {rewards: {think_format: 1, near_start.py:near_start: {weight: 2, args: {within_s: 2.0}}}}}
data: {train: [rows.jsonl]}
steps: 1
algorithm: {loss_type: own_loss.py:half_token_mean}
"""


def num_lines(text: str) -> int:
    return len(text.splitlines())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "near_start.py").write_text(REWARD)
    (tmp_path / "own_loss.py").write_text(LOSS)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path


def test_a_reward_in_one_file(folder: Path) -> None:
    assert num_lines(REWARD) <= 12
    recipe = load_recipe(folder / "recipe.yaml")
    assert list(reward_findings(recipe)) == []
    task = TASKS["temporal_grounding"]
    prompt = Prompt("p", task.name, "", None, task.target(task.example))
    completions = [
        Completion(f"<think>x</think><answer>{answer}</answer>", (), (), 0, "stop", 0)
        for answer in ("12.5 to 17.25", "13.5 to 14", "later")
    ]
    group = score_by_recipe(prompt, completions, recipe)
    assert [rollout.scores["near_start"].value for rollout in group.rollouts] == [1.0, 0.5, 0.0]
    assert [rollout.reward for rollout in group.rollouts] == [3.0, 2.0, 0.0]
    assert parse_recipe(recipe_text(recipe), "saved") == recipe


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        ("gone.py:f", "gone.py:f: no such file"),
        ("near_start.py:f", "near_start.py has no 'f'"),
        ("near_start.py:Score", "annotate its parameter"),
        ("own_loss.py:grpo", "annotate its parameter|has no 'grpo'"),
        ("taken.py:temporal_iou", "there is a reward temporal_iou already"),
    ],
)
def test_a_file_that_holds_no_reward_is_an_error_before_the_run(folder: Path, reward: str, message: str) -> None:
    recipe = parse_recipe(RECIPE.replace("near_start.py:near_start", reward), "r.yaml")
    (problem,) = reward_findings(recipe)
    assert problem.key == "tasks.temporal_grounding.rewards"
    with pytest.raises(RewardError, match=message):
        raise RewardError(problem.message)


def test_two_rewards_of_one_name_are_refused() -> None:
    with pytest.raises(RecipeError, match="two rewards are called f"):
        parse_recipe(RECIPE.replace("think_format: 1", "other.py:f: 1, b.py:f: 1"), "r.yaml")


def test_a_loss_in_one_function_and_one_line(folder: Path) -> None:
    algorithm = load_recipe(folder / "recipe.yaml").algorithm
    given = LossInputs(
        policy_logprobs=torch.tensor([[-1.0, -2.0], [-1.0, -1.0]]),
        old_logprobs=torch.tensor([[-1.0, -2.0], [-1.0, -1.0]]),
        rollout_logprobs=torch.zeros(2, 2),
        reference_logprobs=None,
        advantages=torch.tensor([1.0, -3.0]),
        mask=torch.tensor([[True, True], [True, False]]),
        algorithm=algorithm,
        correction="none",
        max_completion_length=2,
    )
    output = loss_function(algorithm.loss_type)(given)
    # Ratios are 1: half of -(1 + 1 - 3), over three tokens.
    assert (output.loss_sum.item(), output.weight) == (0.5, 3.0)
    assert loss_function("grpo") is grpo
    assert loss_function(AlgorithmRecipe().loss_type) is grpo


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source tree with five new files and none changed."""
    root = tmp_path_factory.mktemp("tree")
    for package in ("rewards", "rft"):
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in {
        "rft/tasks/place.py": KNOWN_KIND,
        "rewards/targets/count.py": NEW_KIND,
        "rft/tasks/counting.py": TASK_OF_NEW_KIND,
        "rft/commands/data/convert/formats/repetitions.py": FORMAT,
    }.items():
        assert not (root / name).exists()
        (root / name).write_text(text)
    return root


def run(tree: Path, code: str) -> None:
    """Run `code` on the tree with the new files."""
    done = subprocess.run(
        [sys.executable, "-c", dedent(code)],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


FITS = """
    import rft
    from rft.cli import main
    from rft.commands.check.rewards import reward_findings
    from rft.recipe.load import parse_recipe
    from rft.scoring.group import score_by_recipe
    from rft.tasks import TASKS
    from rft.types import Completion, Prompt

    assert rft.__path__[0].startswith({tree!r}), rft.__path__
    task = TASKS[{task!r}]
    recipe = parse_recipe("{{model: any, tasks: {{{task}: {{}}}}, data: {{train: [rows.jsonl]}}, steps: 1}}", "r.yaml")
    assert list(reward_findings(recipe)) == []
    target = task.target(task.example)
    texts = [task.target_completion(target, think=True), "<think>x</think><answer>nonsense</answer>"]
    prompt = Prompt("p", task.name, task.prompt_text(task.example, True), None, target)
    group = score_by_recipe(prompt, [Completion(text, (), (), 0, "stop", 0) for text in texts], recipe)
    assert [rollout.reward for rollout in group.rollouts] == {rewards}, group.rollouts
    assert task.measure(texts[0], target) == {{"accuracy": 1.0, "well_formed": 1.0}}
    assert main(["list", "tasks"]) == 0
"""


def test_a_task_with_a_known_kind_of_answer_in_one_file(tree: Path) -> None:
    assert num_lines(KNOWN_KIND) <= 40
    run(tree, FITS.format(tree=str(tree), task="place", rewards=[2.0, 1.0]))


def test_a_task_with_a_new_kind_of_answer_in_one_file_more(tree: Path) -> None:
    assert num_lines(TASK_OF_NEW_KIND) <= 40
    run(tree, FITS.format(tree=str(tree), task="counting", rewards=[2.0, 0.0]))


def test_every_tool_takes_rows_of_the_new_kind(tree: Path, tmp_path: Path) -> None:
    """Converted by a new format and by columns, inspected, scored."""
    assert num_lines(FORMAT) <= 20
    (tmp_path / "counts.json").write_text(json.dumps({"a.mp4": ["the ball bounces", 3], "b.mp4": ["a dog barks", 1]}))
    (tmp_path / "mine.csv").write_text("video,query,count\nc.mp4,a door opens,2\n")
    rows = [
        {"task": "counting", "completion": "<think>x</think><answer>3</answer>", "target": {"count": count}}
        for count in (3, 4)
    ]
    (tmp_path / "completions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code = """
        import json
        from rft.cli import main
        folder = {folder!r}
        convert = ["data", "convert", "repetitions", folder + "/counts.json", "-o", folder + "/rows.jsonl"]
        assert main(convert) == 0
        mine = [folder + "/mine.csv", "-o", folder + "/mine.jsonl", "--task", "counting"]
        assert main(["data", "convert", "generic", *mine]) == 0
        assert json.loads(open(folder + "/mine.jsonl").read())["target"] == {{"count": 2}}
        assert main(["data", "inspect", folder + "/rows.jsonl", folder + "/mine.jsonl"]) == 0
        assert main(["score", folder + "/completions.jsonl", "-o", folder + "/scored.jsonl"]) == 0
        scored = [json.loads(line) for line in open(folder + "/scored.jsonl")]
        assert [row["scores"]["right_count"] for row in scored] == [1.0, 0.0], scored
    """
    run(tree, code.format(folder=str(tmp_path)))
