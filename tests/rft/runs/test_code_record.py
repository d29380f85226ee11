"""A run that continues knows whether the code from outside is still the same."""

import json
from pathlib import Path

import pytest

from rft.errors import CheckpointError
from rft.launch import train
from rft.recipe import Recipe
from rft.recipe.load import parse_recipe
from rft.runs.code_record import changed_code, code_files, refuse_changed_code, write_code_record
from rft.runs.run_dir import RunDir
from rft.tasks import TASKS

REWARD = """\
from rewards.types import Score, Target


def always(completion: str, target: Target) -> Score:
    return Score(1.0, None, "")
"""

TASK = """\
from rft.tasks.quality import Quality


class Sharpness(Quality):
    name = "sharpness"
    example = Quality.example.model_copy(update={"task": "sharpness"})
"""

TEXT = """\
model: any
tasks: {tracking: {rewards: {mine.py:always: 1, mean_box_iou: 1}}, sharp.py:Sharpness: {}}
data: {train: [rows.jsonl]}
steps: 1
algorithm: {loss_type: loss.py:mine}
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    monkeypatch.setattr(TASKS, "_tasks", dict(TASKS._tasks))
    for name, text in {"mine.py": REWARD, "sharp.py": TASK, "loss.py": "mine = None\n"}.items():
        (tmp_path / name).write_text(text)
    return parse_recipe(TEXT, "r.yaml", [f"run_dir={tmp_path}/run"], tmp_path)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir.create(tmp_path / "run", resume=False)
    run.release()
    return run


def test_files_from_outside_are_recorded_and_no_others(recipe: Recipe, run: RunDir, tmp_path: Path) -> None:
    assert code_files(recipe) == tuple(tmp_path / name for name in ("sharp.py", "mine.py", "loss.py"))
    write_code_record(run, recipe)
    hashes = json.loads(run.own_code.read_text())
    # printf 'mine = None\n' | sha256sum
    expected = "sha256:4f38e86993e4bbc522ebe1ec961ae994c75cf54251972e6780f673c5c7c4bd80"
    assert hashes[str(tmp_path / "loss.py")] == expected


def test_nothing_is_written_for_a_recipe_without_code_from_outside(run: RunDir) -> None:
    write_code_record(
        run,
        parse_recipe(
            TEXT.splitlines()[0]
            + "\ntasks: {tracking: {}}\n"
            + "".join(f"{line}\n" for line in TEXT.splitlines()[2:4]),
            "r.yaml",
        ),
    )
    assert not run.own_code.exists()


@pytest.mark.parametrize("name", ["mine.py", "sharp.py", "loss.py"])
def test_a_changed_file_is_refused_by_name(recipe: Recipe, run: RunDir, tmp_path: Path, name: str) -> None:
    write_code_record(run, recipe)
    refuse_changed_code(run, recipe)
    file = tmp_path / name
    before = file.read_text()
    file.write_text(before + "# another line\n")
    with pytest.raises(CheckpointError) as caught:
        train(recipe, "r", resume=True)
    assert str(caught.value).splitlines() == [
        f"{tmp_path}/run: code of the run changed since it began:",
        f"  {file}",
        "Put it back as it was, or continue with the changed code: --resume --accept-changed-code.",
    ]
    file.write_text(before)
    assert changed_code(run, recipe) == ()


def test_what_was_accepted_is_the_record_from_then_on(recipe: Recipe, run: RunDir, tmp_path: Path) -> None:
    write_code_record(run, recipe)
    (tmp_path / "mine.py").write_text(REWARD + "# another line\n")
    assert changed_code(run, recipe) == (f"{tmp_path}/mine.py",)
    write_code_record(run, recipe)
    assert changed_code(run, recipe) == ()


def test_a_run_without_a_record_goes_on(recipe: Recipe, run: RunDir) -> None:
    refuse_changed_code(run, recipe)
