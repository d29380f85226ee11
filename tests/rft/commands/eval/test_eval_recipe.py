"""The recipe by which `rft eval` asks a model."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from checkpoints import save_checkpoint

from rft.commands.eval.request import eval_recipe
from rft.errors import CheckpointError, RecipeError
from rft.recipe.video import VideoRecipe
from rft.runs.checkpoint import TrainState
from rft.runs.run_dir import RunDir
from rft.tasks import TASKS


@pytest.fixture
def rows(tmp_path: Path, example_rows: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return example_rows(tmp_path / "held: out.jsonl", ["temporal_grounding", "tracking"])


def test_eval_asks_as_the_run_did(rows: Path, tmp_path: Path, model_folder: Path) -> None:
    run = tmp_path / "runs" / "r"
    checkpoint = run / "checkpoints" / "step_4"
    checkpoint.mkdir(parents=True)
    model_folder.rename(checkpoint / "policy")
    (run / "recipe.yaml").write_text(
        "model: elsewhere\ntasks: {temporal_grounding: {think: false}}\ndata: {train: [gone.jsonl]}\nsteps: 4\n"
        "cold_start: {data: [gone.jsonl], steps: 1}\nvideo: {fps: 1.0}\n"
    )
    recipe = eval_recipe(str(checkpoint), [rows], None, None, 3, ["video.max_frames=16"])
    assert recipe.model == str(checkpoint / "policy")
    assert recipe.data.eval == (rows,)
    assert (recipe.data.train, recipe.cold_start, recipe.eval.num_samples) == ((), None, 3)
    assert (recipe.video.fps, recipe.video.max_frames) == (1.0, 16)
    assert recipe.tasks["temporal_grounding"].think is False
    assert set(recipe.tasks) == set(TASKS)
    with pytest.raises(RecipeError, match=r"--task: no row of --data has task caption. Known: .*, tracking."):
        eval_recipe(str(checkpoint), [rows], None, None, 3, [], "caption")


def test_eval_names_a_damaged_file_of_a_policy(model_folder: Path, tmp_path: Path) -> None:
    def write(partial: Path) -> None:
        shutil.copytree(model_folder, partial / "policy")

    state = TrainState(step=4, data_position=0, seed=0, policy_version=4)
    checkpoint = save_checkpoint(RunDir(tmp_path / "run"), 4, write, state, keep=1)
    damaged = checkpoint / "policy" / "config.json"
    damaged.write_text(f"{damaged.read_text()} ")
    for model in (checkpoint, checkpoint / "policy"):
        with pytest.raises(CheckpointError, match=r"policy/config.json: differs from what was saved"):
            eval_recipe(str(model), [Path("rows.jsonl")], None, None, None, [])


def test_eval_without_a_run_takes_the_defaults_and_reports_all(rows: Path, model_folder: Path) -> None:
    recipe = eval_recipe(str(model_folder), [rows], None, None, None, [])
    assert recipe.video == VideoRecipe()
    with pytest.raises(RecipeError) as caught:
        eval_recipe("gone/deep/model", [Path("gone.jsonl")], None, None, None, [])
    lines = str(caught.value).splitlines()
    assert lines[0] == "rft eval: 2 problems"
    assert lines[1].startswith("  model: folder gone/deep/model not found")
    assert lines[2].startswith("  data.eval: gone.jsonl not found")
