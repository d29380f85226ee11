"""Every shipped recipe loads and fits its tasks; those of real models pass the whole check."""

from collections.abc import Callable
from pathlib import Path

import pytest

from rft.check import check_file
from rft.check_rewards import reward_problems
from rft.recipe import Recipe
from rft.recipe_file import load_recipe

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
REAL = [path for path in RECIPES if path.stem.startswith("videochat_r1_")]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_loads_and_its_rewards_like_the_example_answers(path: Path) -> None:
    recipe = load_recipe(path)
    assert reward_problems(recipe) == []


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_short_and_says_how_to_run_it(path: Path) -> None:
    lines = path.read_text().splitlines()
    comments = [line for line in lines if line.startswith("#")]
    assert lines[: len(comments)] == comments
    assert any(f"rft train recipes/{path.name}" in line for line in comments)
    assert len([line for line in lines if line and not line.startswith("#")]) <= 40


def test_both_sizes_are_there_full_and_lora() -> None:
    assert [path.stem.removeprefix("videochat_r1_joint_") for path in REAL] == ["3b", "3b_lora", "7b", "7b_lora"]


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_a_real_recipe_passes_the_check_with_a_local_model(
    path: Path,
    model_folder: Path,
    data_of: Callable[[Recipe], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    data_of(load_recipe(path))
    checked = check_file(path, [f"model={model_folder}"])
    assert (checked.recipe.learner.lora is not None) == path.stem.endswith("_lora")
    assert [note for note in checked.notes if "safetensors" not in note] == []
    assert len([line for line in path.read_text().splitlines() if not line.startswith("#")]) <= 25
    plan = dict(checked.plan)
    assert plan["model"] == str(model_folder)
    assert plan["steps"].startswith("3,138 x 8 prompts x 8 completions = 200,832 completions")
