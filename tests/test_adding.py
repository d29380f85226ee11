"""What can be added from outside, in how many lines, with no file of the packages touched.

Rewards, losses, tasks with their kinds of target, and data formats stand in files of one's own, or in an installed
package that registers them.
"""

import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from rewards.trl import as_trl_reward
from rft import own_code
from rft.__main__ import main
from rft.algorithm.loss import LossInputs, grpo, loss_function
from rft.commands.check.own_code import import_problems
from rft.commands.check.rewards import reward_findings
from rft.errors import Problem, RecipeError, RewardError
from rft.own_code import load_own
from rft.recipe import Recipe
from rft.recipe.algorithm import AlgorithmRecipe
from rft.recipe.load import load_recipe, named_own_code, parse_recipe, read_recipe, recipe_text
from rft.runs.run_dir import RunDir
from rft.scoring.group import score_by_recipe
from rft.tasks import TASKS
from rft.tasks.types import Task
from rft.types import Completion, Prompt

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

TASK_OF_NEW_KIND = '''\
"""How often something happens: an event in, a number out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from rewards import RewardFn
from rewards.parsing import answer_text
from rewards.types import Fault, Score, Target
from rft.tasks.types import Row, Task


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

from rft.data.convert.source import Draft, Format, Published, SourceRequest


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


PLACES = """\
model: any
tasks: {own/place.py:Place: {}}
data: {train: [rows.jsonl]}
steps: 1
"""


def num_lines(text: str) -> int:
    return len(text.splitlines())


@pytest.fixture(autouse=True)
def no_tasks_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TASKS, "_tasks", dict(TASKS._tasks))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of recipes with files beside and below them; commands run in another one."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    files = {
        "near_start.py": REWARD,
        "own_loss.py": LOSS,
        "recipe.yaml": RECIPE,
        "own/place.py": KNOWN_KIND,
        "own/counting.py": TASK_OF_NEW_KIND,
        "own/repetitions.py": FORMAT,
        "places.yaml": PLACES,
        "counts.yaml": PLACES.replace("own/place.py:Place", "own/counting.py:Counting"),
    }
    (tmp_path / "own").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def problems(recipe: Recipe) -> list[Problem]:
    return [finding for finding in reward_findings(recipe) if isinstance(finding, Problem)]


def rewards_of(recipe: Recipe, task: Task, texts: list[str]) -> list[float]:
    prompt = Prompt("p", task.name, task.prompt_text(task.example, True), None, task.target(task.example))
    group = score_by_recipe(prompt, [Completion(text, (), (), 0, "stop", 0) for text in texts], recipe)
    return [rollout.reward for rollout in group.rollouts]


def test_a_reward_in_one_file(folder: Path) -> None:
    assert num_lines(REWARD) <= 12
    recipe = load_recipe(folder / "recipe.yaml")
    assert problems(recipe) == []
    texts = [f"<think>x</think><answer>{answer}</answer>" for answer in ("12.5 to 17.25", "13.5 to 14", "later")]
    assert rewards_of(recipe, TASKS["temporal_grounding"], texts) == [3.0, 2.0, 0.0]
    assert parse_recipe(recipe_text(recipe), "saved") == recipe


def test_where_files_are_looked_for(folder: Path) -> None:
    """Beside the recipe, then in the current directory; of an override in the current directory alone."""
    key = "tasks.temporal_grounding.rewards"
    (folder / "elsewhere/here.py").write_text(REWARD)
    (folder / "recipe.yaml").write_text(RECIPE.replace("near_start.py", "here.py"))
    assert named_own_code(folder / "recipe.yaml")[0] == f"{folder}/elsewhere/here.py:near_start"
    (folder / "here.py").write_text(REWARD)
    assert named_own_code(folder / "recipe.yaml")[0] == f"{folder}/here.py:near_start"
    overridden = load_recipe(folder / "recipe.yaml", [f"{key}={{here.py:near_start: 1}}"])
    assert list(overridden.tasks["temporal_grounding"].rewards or ()) == [f"{folder}/elsewhere/here.py:near_start"]


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
    recipe = parse_recipe(RECIPE.replace("near_start.py:near_start", reward), "r.yaml", folder=folder)
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


def test_a_task_with_a_known_kind_of_answer_in_one_file(folder: Path) -> None:
    assert num_lines(KNOWN_KIND) <= 40
    recipe = load_recipe(folder / "places.yaml", ["tasks.place.think=false"])
    assert (list(recipe.tasks), recipe.tasks["place"].think) == (["place"], False)
    assert recipe.tasks["place"].source == f"{folder}/own/place.py:Place"
    assert parse_recipe(recipe_text(recipe), "saved") == recipe
    assert problems(recipe) == []
    assert rewards_of(recipe, TASKS["place"], ["<answer>beach</answer>", "<answer>town</answer>"]) == [2.0, 1.0]


def test_a_task_with_a_new_kind_of_answer_in_one_file(folder: Path) -> None:
    assert num_lines(TASK_OF_NEW_KIND) <= 75
    recipe = load_recipe(folder / "counts.yaml")
    task = TASKS["counting"]
    texts = [task.target_completion(task.target(task.example), think=True), "<think>x</think><answer>no</answer>"]
    assert problems(recipe) == []
    assert rewards_of(recipe, task, texts) == [2.0, 0.0]
    assert task.measure(texts[0], task.target(task.example)) == {"accuracy": 1.0, "well_formed": 1.0}


def test_trl_takes_a_reward_of_an_own_kind(folder: Path) -> None:
    reward = as_trl_reward(load_own(f"{folder}/own/counting.py:right_count"))
    targets = [{"count": 3, "span": None}, {"count": 4, "span": None}, {"count": None, "span": [1, 2]}]
    assert reward(prompts=["?"] * 3, completions=["<answer>3</answer>"] * 3, target=targets) == [1.0, 0.0, None]


def test_any_process_reads_what_is_of_an_own_kind(folder: Path) -> None:
    """As engines and learning processes get it: by the name of its class, in a process that loaded no recipe."""
    load_recipe(folder / "counts.yaml")
    task = TASKS["counting"]
    (folder / "sent").write_bytes(pickle.dumps((task.target(task.example), task.example, task)))
    code = "import pickle, sys, rft.own_code; print(pickle.load(open(sys.argv[1], 'rb')))"
    done = subprocess.run([sys.executable, "-c", code, folder / "sent"], capture_output=True, text=True, timeout=60)
    assert "CountTarget(duration_s=None, num_options=None, count=3)" in done.stdout, done.stderr


UNUSABLE = (
    ("class Place(Task)", "class Other(Task)", "place_0.py has no 'Place'"),
    ('    main_metric = "accuracy"\n', "", "lacks main_metric"),
    ("def question", "def ask", "lacks question"),
    ('name = "place"', 'name = "tracking"', "the task of its example is 'place', not its name 'tracking'"),
    ('"place"', '"tracking"', "there is another task tracking, in rft.tasks.tracking"),
    ("from pydantic", "from pydantik", "ModuleNotFoundError: No module named 'pydantik'"),
    ('{"accuracy": r', '{"share": r', "metrics has no 'accuracy', the main_metric; it has share"),
    ("return f", "return 1 / 0, f", "prompt_text of its example raises ZeroDivisionError"),
    ('{"label": "beach"}', '{"label": "sea"}', "target of its example raises ValueError"),
    ("class PlaceRow", "while True: pass\n\n\nclass PlaceRow", "loading it took longer than 3 s"),
    ("class PlaceRow", "import os\nos._exit(3)\n\n\nclass PlaceRow", "ended its process (exit code 3)"),
    ("class PlaceRow", "x = bytes(1 << 40)\n\n\nclass PlaceRow", "MemoryError"),
)
"""Text of a task's file, what stands there instead, and how it is refused."""


@pytest.mark.slow
def test_a_task_that_cannot_be_used_is_refused_before_it_is_loaded(folder: Path) -> None:
    names = []
    for i, (old, new, _) in enumerate(UNUSABLE):
        # A name each: they are loaded in one process.
        text = KNOWN_KIND.replace(old, new).replace(
            '"place"', f'"place_{i}"' if '"place"' not in old + new else '"place"'
        )
        (folder / f"place_{i}.py").write_text(text)
        names.append(f"{folder}/place_{i}.py:Place")
    refused = import_problems(names, limit_s=3.0)
    for name, (_, _, message) in zip(names, UNUSABLE, strict=True):
        assert message in refused[name]
    (folder / "places.yaml").write_text(PLACES.replace("own/place.py", "place_3.py"))
    loaded = read_recipe(folder / "places.yaml", (), refused)
    assert [str(problem) for problem in loaded.problems] == [f"tasks.{names[3]} (line 2): {refused[names[3]]}"]
    assert loaded.recipe is not None
    assert loaded.recipe.tasks == {}
    with pytest.raises(RecipeError, match="PlaceRow: is no task"):
        parse_recipe(PLACES.replace("Place:", "PlaceRow:"), "r.yaml", folder=folder)


def test_every_tool_takes_rows_of_the_new_kind(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Converted by a format of one's own and by columns, inspected, scored, measured."""
    assert num_lines(FORMAT) <= 20
    task = ["--task", f"{folder}/own/counting.py:Counting"]
    (folder / "counts.json").write_text(json.dumps({"a.mp4": ["the ball bounces", 3], "b.mp4": ["a dog barks", 1]}))
    (folder / "mine.csv").write_text("video,query,count\nc.mp4,a door opens,2\n")
    completions = [
        {"task": "counting", "completion": "<think>x</think><answer>3</answer>", "target": {"count": count}}
        for count in (3, 4)
    ]
    stored, rows, mine = folder / "completions.jsonl", folder / "rows.jsonl", folder / "mine.jsonl"
    stored.write_text("".join(json.dumps(row) + "\n" for row in completions))
    own_format = f"{folder}/own/repetitions.py:FORMAT"
    assert main(["data", "convert", own_format, f"{folder}/counts.json", "-o", str(rows)]) == 2
    assert "its rows are of task counting, which is not known. Give --task FILE.py:TASK" in capsys.readouterr().err
    assert main(["data", "convert", own_format, f"{folder}/counts.json", "-o", str(rows), *task]) == 0
    assert main(["data", "convert", "generic", f"{folder}/mine.csv", "-o", str(mine), *task]) == 0
    assert json.loads(mine.read_text())["target"] == {"count": 2}
    assert main(["data", "inspect", str(rows), str(mine), *task]) == 0
    assert main(["score", str(stored), "-o", f"{folder}/scored.jsonl", *task]) == 0
    scored = [json.loads(line) for line in (folder / "scored.jsonl").read_text().splitlines()]
    assert [row["scores"]["right_count"] for row in scored] == [1.0, 0.0]
    capsys.readouterr()
    assert main(["eval", "--predictions", str(stored), "--json", *task]) == 0
    assert json.loads(capsys.readouterr().out)["eval"]["counting"]["greedy"]["accuracy"] == 0.5


def test_a_run_makes_its_tasks_known(folder: Path) -> None:
    run = RunDir(folder)
    run.write_recipe(load_recipe(folder / "places.yaml"))
    TASKS._tasks.pop("place")
    run.load_tasks()
    assert "place" in TASKS


@pytest.fixture
def package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package that brings a reward, a task and a format."""
    (folder / "outside.py").write_text(REWARD + TASK_OF_NEW_KIND + FORMAT)
    info = folder / "outside-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[rft.rewards]\nnear = outside:near_start\ngone = outside:gone\n"
        "[rft.tasks]\ncounting = outside:Counting\n[rft.formats]\nrepetitions = outside:FORMAT\n"
    )
    monkeypatch.syspath_prepend(folder)
    own_code._entry_points.cache_clear()
    yield folder
    own_code._entry_points.cache_clear()
    sys.modules.pop("outside", None)


def test_an_installed_package_registers_names(package: Path) -> None:
    text = RECIPE.replace("near_start.py:near_start", "near").replace("tasks: {", "tasks: {counting: {}, ")
    recipe = parse_recipe(text, "r.yaml", folder=package)
    assert problems(recipe) == []
    assert rewards_of(recipe, TASKS["temporal_grounding"], ["<answer>13.5 to 14</answer>"]) == [1.0]
    assert rewards_of(recipe, TASKS["counting"], ["<think>x</think><answer>3</answer>"]) == [2.0]
    (package / "counts.json").write_text(json.dumps({"a.mp4": ["the ball bounces", 3]}))
    rows = package / "rows.jsonl"
    assert main(["data", "convert", "repetitions", f"{package}/counts.json", "-o", str(rows)]) == 0
    (problem,) = problems(parse_recipe(text.replace("near:", "gone:"), "r.yaml", folder=package))
    assert "gone (rft.rewards: outside:gone): AttributeError" in problem.message


def test_packages_are_not_searched_for_what_is_built_in(folder: Path) -> None:
    own_code._entry_points.cache_clear()
    assert problems(parse_recipe(PLACES.replace("own/place.py:Place", "tracking"), "r.yaml")) == []
    assert own_code._entry_points.cache_info().misses == 0
    assert "no_such_task" not in TASKS
    assert own_code._entry_points.cache_info().misses == 1


def test_a_file_is_executed_as_it_stands(folder: Path) -> None:
    """No byte code is left beside it, and none of an earlier text is used."""
    assert load_own(f"{folder}/near_start.py:near_start").__module__.startswith("own_file:")
    assert not list(folder.rglob("__pycache__"))
