"""`rft reward new`: what it writes passes as written, for every task."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rft.__main__ import main
from rft.commands.check.check import check_file
from rft.commands.reward.new import QUICKSTART_TASKS, write_new
from rft.errors import DataError
from rft.recipe.load import load_recipe
from rft.tasks import TASKS

ROOT = Path(__file__).parents[4]


@pytest.mark.slow
def test_the_tests_pass_as_written(tmp_path: Path) -> None:
    for task in TASKS:
        write_new(f"my_{task}", task, tmp_path)
        assert "1.0),  # right\n" in (tmp_path / f"test_my_{task}.py").read_text()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("task", TASKS)
def test_the_recipe_is_the_quickstarts_with_the_reward(tmp_path: Path, task: str) -> None:
    write_new("mine", task, tmp_path)
    recipe, quickstart = load_recipe(tmp_path / "mine.yaml"), load_recipe(ROOT / "recipes" / "quickstart.yaml")
    assert set(recipe.tasks) == {task, *QUICKSTART_TASKS}
    ours = {"tasks": {}, "steps": 1, "save_every": 100}
    assert recipe.model_copy(update=ours) == quickstart.model_copy(update=ours)


def test_the_recipe_passes_the_check(
    tmp_path: Path, model_folder: Path, example_rows: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["reward", "new", "mine", "--task", "tracking", "--folder", "own"]) == 0
    example_rows(tmp_path / "rows.jsonl", QUICKSTART_TASKS, copies=4)
    # The examples' prompts are longer than the clips'.
    given = [f"model={model_folder}", "data={train: [rows.jsonl]}", "cold_start.data=[rows.jsonl]"]
    checked = check_file(Path("own/mine.yaml"), [*given, "rollout.max_model_len=600"])
    assert ("task", "tracking, think: mine 1, think_format 1; rows: 4 train, 4 cold_start") in checked.plan


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    write_new("mine", "tracking", tmp_path)
    (tmp_path / "mine.py").write_text("# changed\n")
    with pytest.raises(DataError) as caught:
        write_new("mine", "tracking", tmp_path)
    assert str(caught.value).splitlines() == [
        f"{tmp_path / name}: is there already. Delete it, or choose another name."
        for name in ("mine.py", "test_mine.py", "mine.yaml")
    ]
    assert (tmp_path / "mine.py").read_text() == "# changed\n"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Mine", "write a name like start_distance"),
        ("a-b", "write a name like start_distance"),
        ("../mine", "write a name like start_distance"),
        ("json", "is called so"),
        ("class", "is called so"),
        ("temporal_iou", "is called so"),
    ],
)
def test_names_that_cannot_be(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        write_new(name, "tracking", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_task(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"unknown task 'trackin'\. Did you mean 'tracking'"):
        write_new("mine", "trackin", tmp_path)
