"""Every shipped recipe loads and fits its tasks; those of real models pass the whole check, in both fidelities."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rft.commands.check.check import check_file
from rft.commands.check.rewards import reward_findings
from rft.recipe import Recipe
from rft.recipe.load import load_recipe

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
REAL = [path for path in RECIPES if path.stem.startswith("videochat_r1_")]
OF_PACKS = [path for path in RECIPES if path.stem.endswith(("_7b", "_8b")) and path not in REAL]
QWEN3_VL = {
    "model_type": "qwen3_vl",
    "architectures": ["Qwen3VLForConditionalGeneration"],
    "vision_config": {"patch_size": 16, "spatial_merge_size": 2},
}
"""What config.json of Qwen3-VL-8B says that the check reads."""


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_loads_and_its_rewards_like_the_example_answers(path: Path) -> None:
    recipe = load_recipe(path)
    assert list(reward_findings(recipe)) == []


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_short_and_says_how_to_run_it(path: Path) -> None:
    lines = path.read_text().splitlines()
    comments = [line for line in lines if line.startswith("#")]
    assert lines[: len(comments)] == comments
    assert any(f"rft train recipes/{path.name}" in line for line in comments)
    assert len([line for line in lines if line and not line.startswith("#")]) <= 40
    assert max(map(len, lines)) <= 120


def test_all_that_the_paper_trained_is_there() -> None:
    names = {path.stem.removeprefix("videochat_r1_") for path in REAL}
    joint = {f"joint_{kind}" for kind in ("7b", "7b_thinking", "7b_lora", "3b", "3b_lora")}
    single = {f"{task}_7b" for task in ("temporal_grounding", "nextgqa", "got10k", "quality", "caption")}
    assert names == joint | single | {f"sft_{data}_7b" for data in ("charades_sta", "got10k", "nextgqa")}


@pytest.mark.parametrize("fidelity", ["corrected", "as_published"])
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_a_real_recipe_passes_the_check_with_a_local_model(
    path: Path,
    fidelity: str,
    model_folder: Path,
    data_of: Callable[[Recipe], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    data_of(load_recipe(path))
    checked = check_file(path, [f"model={model_folder}", f"fidelity={fidelity}"])
    recipe = checked.recipe
    assert (recipe.learner.lora is not None) == path.stem.endswith("_lora")
    assert (recipe.algorithm.beta, recipe.sampling.top_k) == (0.04, 50 if fidelity == "as_published" else 0)
    # One of the two stages: the supervised baselines have no GRPO step.
    assert (recipe.steps == 0) == path.stem.startswith("videochat_r1_sft_") == (recipe.cold_start is not None)
    if fidelity == "corrected":
        assert [note for note in checked.notes if "safetensors" not in note] == []
    assert dict(checked.plan)["model"] == str(model_folder)


@pytest.mark.parametrize("path", OF_PACKS, ids=lambda path: path.stem)
def test_a_recipe_of_a_pack_passes_the_check_with_a_local_model(
    path: Path,
    model_folder: Path,
    data_of: Callable[[Recipe], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    data_of(load_recipe(path))
    if path.stem.endswith("_8b"):
        (model_folder / "config.json").write_text(json.dumps(QWEN3_VL))
    checked = check_file(path, [f"model={model_folder}"])
    assert [note for note in checked.notes if "safetensors" not in note] == []
    assert dict(checked.plan)["model"] == str(model_folder)
