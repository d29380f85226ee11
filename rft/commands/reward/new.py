"""`rft reward new`: a reward that works, its test, and a recipe that trains with it."""

import json
import keyword
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from string import Template
from textwrap import indent

from rewards import REWARDS
from rewards.types import Score, Target
from rft.commands.reward.answers import example_answers
from rft.commands.reward.sketches import OTHER, SKETCHES
from rft.errors import refuse
from rft.files import write_text
from rft.own_code import comes_from_own_file, load_own
from rft.tasks import TASKS, requested_task
from rft.tasks.types import Task

QUICKSTART_TASKS = ("temporal_grounding", "multiple_choice", "grounded_qa", "tracking")
"""Tasks that the quickstart's clips have rows of."""

REWARD = Template('''\
"""Reward $name of task $task."""

${imports}from rewards.parsing import $parsers
from $module import $target
from rewards.types import Score


def $name(completion: str, target: $target$keywords) -> Score:
    """$says"""
    answer = answer_text(completion)
    if answer is None:
        return Score(0.0, None, "no <answer>", "no_tag")
$body''')

TEST = Template('''\
"""Reward $name: a table of completions about one target, and what each earns."""

import pytest
from $name import $name

from $module import $target

TARGET = $value


@pytest.mark.parametrize(
    ("completion", "value"),
    [
$rows
    ],
)
def test_$name(completion: str, value: float) -> None:
    score = $name(completion, TARGET)
    assert score.value == pytest.approx(value, abs=0.001)
    assert score.note


@pytest.mark.parametrize("text", ["<answer>" * 1000, "[(" * 10_000, "9" * 10_000, "\\0\\ud800"])
def test_any_text_is_judged(text: str) -> None:
    assert 0 <= ${name}(f"<answer>{text}</answer>", TARGET).value <= 1
''')

RECIPE = Template("""\
# Reward $name on task $task: a tiny policy on the quickstart's clips, on 2 CPU cores.
#   rft data synthetic data/quickstart      (once: draws the clips)
#   rft train $recipe
# After `make quickstart`, without its supervised stage: model=runs/quickstart/cold_start cold_start=null
model: data/quickstart/policy
tasks:
$tasks
data:
  train: [data/quickstart/train.jsonl]
  eval: [data/quickstart/test.jsonl]
cold_start:
  {data: [data/quickstart/cold_start.jsonl], steps: 600, learning_rate: 1.5e-3, warmup_steps: 30, weight_decay: 0.01,
   adam_beta2: 0.98}
steps: 60
prompts_per_step: 16
sampling: {num_generations: 8, max_completion_length: 80}
video: {fps: 2, max_frames: 16, min_pixels: 3136, max_pixels: 3136}
algorithm: {loss_type: dapo}
rollout: {max_model_len: 384, max_num_seqs: 128, kv_cache_gib: 0.5}
learner: {learning_rate: 4.0e-4, warmup_steps: 5, min_lr_ratio: 0.1, adam_beta2: 0.95, dtype: float32}
""")


def write_new(name: str, task_name: str, folder: Path) -> str:
    """Write NAME.py, test_NAME.py and NAME.yaml; returns what to do with them.

    Raises DataError for a name or a task that cannot be used, and for a file that is there already.
    """
    task = TASKS[requested_task(task_name)]
    problems = []
    if comes_from_own_file(task.target_type):
        problems.append(f"--task: {task_name} has a kind of target of its own. Begin with the one in docs/rewards.md.")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        problems.append(f"{name}: write a name like start_distance.")
    if name in {*REWARDS, *sys.stdlib_module_names, *keyword.kwlist}:
        problems.append(f"{name}: a reward, a module or a word of Python is called so. Choose another name.")
    code, test, recipe = folder / f"{name}.py", folder / f"test_{name}.py", folder / f"{name}.yaml"
    problems += [
        f"{path}: is there already. Delete it, or choose another name."
        for path in (code, test, recipe)
        if path.exists()
    ]
    refuse(problems)
    remedy = "give another folder with --folder"
    write_text(code, reward_text(name, task), remedy)
    write_text(test, test_text(name, task, code), remedy)
    write_text(recipe, recipe_text(name, task_name, code, recipe), remedy)
    return "\n".join(
        [
            f"{code}: the reward. Try it: rft reward try {code}:{name} --task {task_name}",
            f"{test}: its test. Run it: python -m pytest {test}",
            f"{recipe}: a recipe. Check it: rft check {recipe}. Train by it: rft train {recipe}",
            *_without_rows(task_name, recipe),
        ]
    )


def _without_rows(task: str, recipe: Path) -> Sequence[str]:
    if task in QUICKSTART_TASKS:
        return ()
    return (f"The quickstart's clips have no rows of {task}: name your own in {recipe} under data.",)


def reward_text(name: str, task: Task) -> str:
    target = task.target_type
    sketch = SKETCHES.get(target, OTHER)
    return REWARD.substitute(
        name=name,
        task=task.name,
        imports=sketch.imports,
        parsers=sketch.parsers,
        module=target.__module__,
        target=target.__name__,
        keywords=sketch.keywords,
        says=sketch.says,
        body=indent(sketch.body.lstrip(), "    "),
    )


def test_text(name: str, task: Task, code: Path) -> str:
    """The test table: what the reward as written gives to the answers to the task's example."""
    reward, target = load_own(f"{code}:{name}"), task.target(task.example)
    rows = []
    for kind, text in example_answers(task).items():
        score: Score = reward(text, target)
        rows.append(f"        ({json.dumps(text)}, {round(score.value, 3)}),  # {kind}")
    of_kind = task.target_type
    return TEST.substitute(
        name=name, module=of_kind.__module__, target=of_kind.__name__, value=_written(target), rows="\n".join(rows)
    )


def recipe_text(name: str, task: str, code: Path, recipe: Path) -> str:
    """The quickstart's recipe with the reward for the task, fewer steps, and the other tasks as they are."""
    own = f"  {task}:\n    rewards:\n      {code.name}:{name}: 1.0\n      think_format: 1.0"
    tasks = [own, *(f"  {other}: {{}}" for other in QUICKSTART_TASKS if other != task)]
    return RECIPE.substitute(name=name, task=task, tasks="\n".join(tasks), recipe=recipe)


def _written(target: Target) -> str:
    """Python that makes the target: of its JSON form, whatever values it has inside."""
    facts = {"duration_s": target.duration_s, "num_options": target.num_options}
    known = "".join(f", {name}={value!r}" for name, value in facts.items() if value is not None)
    return f"{type(target).__name__}.read({target.to_json()!r}{known})"
