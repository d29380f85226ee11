"""What holds for the tasks of every pack; what is true of one alone is tested beside this file."""

import json
import re
import time
from pathlib import Path

import pytest

from rewards import REWARDS, accepted_targets
from rewards.discovery import modules_named
from rewards.parsing import LONGEST_ANSWER
from rft.commands.list import listing
from rft.data.convert.conversion import pack_formats
from rft.data.convert.formats import FORMATS
from rft.evaluation.evaluate import parser_tables
from rft.evaluation.suites import all_suites
from rft.tasks import TASKS
from rft.tasks.types import Task

PACKED = [task for task in TASKS.values() if type(task).__module__.startswith("rft.packs.")]


@pytest.mark.parametrize("task", PACKED, ids=lambda task: task.name)
@pytest.mark.parametrize("think", [True, False])
def test_the_parts_of_a_task_fit_together(task: Task, think: bool) -> None:
    target = task.target(task.example)
    assert type(target) is task.target_type
    assert type(target).from_json(json.loads(json.dumps(target.to_json())), []) == target
    written, table = task.target_completion(target, think), {**REWARDS, **task.own_rewards}
    for name in task.default_rewards(think):
        assert issubclass(task.target_type, accepted_targets(table[name]))
        assert (table[name](written, target).value, table[name]("", target).value) == (1.0, 0.0), name
    right, empty = task.measure(written, target), task.measure("", target)
    assert right.keys() == empty.keys()
    assert (right[task.main_metric], empty[task.main_metric]) == (1.0, 0.0)
    assert all(0 <= value <= 1 for value in (*right.values(), *empty.values()))
    prompt = task.prompt_text(task.example, think)
    assert task.target_type.answer_form in prompt
    assert prompt.isascii()


@pytest.mark.parametrize("task", PACKED, ids=lambda task: task.name)
def test_every_parser_can_judge_the_baselines(task: Task) -> None:
    target = task.target(task.example)
    answers = task.baselines([target], [(target, target.duration_s)])
    for baseline, (text,) in answers.items():
        for parser, rewards in parser_tables(task).items():
            assert 0 <= task.measure(text, target, rewards)[task.main_metric] <= 1, (baseline, parser)


ODD_PIECES = ("1 - 2, a. ", "(A) ", "[[0.1, 1:02], ", "start time: 1, end time: 2 description: x\n", "a | b, wait {<")


@pytest.mark.parametrize("task", PACKED, ids=lambda task: task.name)
def test_odd_answers_are_judged_in_bounded_time(task: Task) -> None:
    target = task.target(task.example)
    spent_s = time.process_time()
    for piece in ODD_PIECES:
        # As long as answers that are parsed may be, and a few pieces cut anywhere.
        for length in (LONGEST_ANSWER - 100, *range(1, 3 * len(piece))):
            text = f"<answer>{(piece * length)[:length]}</answer>"
            for parser, rewards in parser_tables(task).items():
                values = task.measure(text, target, rewards)
                assert all(0 <= value <= 1 for value in values.values()), (parser, text[:80])
    assert time.process_time() - spent_s < 10


def test_suites_take_metrics_that_a_task_measures() -> None:
    measured = set()
    for task in TASKS.values():
        target = task.target(task.example)
        values = task.measure(task.target_completion(target, False), target)
        measured |= values.keys() | task.corpus_metrics([(target, values)]).keys()
    stated = {(suite.name, node.metric) for suite in all_suites() for _, node in suite.nodes if node.sets}
    assert {one for one in stated if one[1] not in measured} == set()


def test_packs_are_listed_with_their_tasks_and_formats() -> None:
    text = listing()
    assert all(pack in text for pack in modules_named("rft.packs", "tasks"))
    (packs,) = re.findall(r"^packs\n((?:  .*\n)+)", text, re.MULTILINE)
    assert sorted(re.findall(r"\w+", " ".join(re.findall(r"Tasks: (.*)", packs)))) == sorted(t.name for t in PACKED)
    assert all(f"  {name} " in text for name in [*(task.name for task in PACKED), *pack_formats()])
    assert not set(pack_formats()) & set(FORMATS)
    named = [name for module in modules_named("rft.packs", "formats").values() for name in module.FORMATS]
    assert sorted(named) == sorted(set(named))


def test_every_drawn_set_has_a_name_and_a_recipe_of_its_own() -> None:
    recipes = (Path(__file__).parents[3] / "recipes").glob("tiny_*.yaml")
    names = [name for module in modules_named("rft.packs", "drawn").values() for name in module.DRAWN]
    assert sorted(names) == sorted(recipe.stem.removeprefix("tiny_") for recipe in recipes)


def test_every_pack_has_its_page_in_the_docs() -> None:
    docs = Path(__file__).parents[3] / "docs"
    index = (docs / "packs.md").read_text(encoding="utf-8")
    packs = modules_named("rft.packs", "tasks")
    assert [pack for pack in packs if f"[{pack}](packs/{pack}.md)" not in index] == []
    assert sorted(page.stem for page in (docs / "packs").glob("*.md")) == sorted(packs)
