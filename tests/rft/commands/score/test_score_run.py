"""`rft score` on a run folder: its rollouts judged again."""

from pathlib import Path
from typing import Any

import pytest
from completion_files import THINK, read

from rewards.targets.choice import ChoiceTarget
from rewards.targets.span import SpanTarget
from rewards.types import Target
from rft.commands.score.score import score
from rft.errors import DataError, RecipeError
from rft.recipe import DataRecipe, Recipe, TaskRecipe
from rft.runs.rollout_files import write_rollouts
from rft.runs.run_dir import RunDir
from rft.scoring.group import score_by_recipe
from rft.types import Completion, FinishReason, Prompt, Video, VideoSampling

VIDEO = Video(Path("clip.mp4"), VideoSampling(2.0, 4, 8, 784, 784, 7840))


def run_folder(path: Path, **scoring: object) -> list[float]:
    """A run of two tasks and one step; what its rollouts earned."""
    recipe = Recipe(
        model="m",
        tasks={"temporal_grounding": TaskRecipe(), "multiple_choice": TaskRecipe(think=False)},
        data=DataRecipe(train=()),
        steps=1,
        scoring=scoring,
        sampling={"max_completion_length": 100},
    )
    run = RunDir.create(path, resume=False)
    run.write_recipe(recipe)
    run.release()

    def group(task: str, target: Target, *texts: tuple[str, FinishReason, int]) -> Any:
        completions = [Completion(text, (1,) * n, (0.0,) * n, 5, reason, 0) for text, reason, n in texts]
        return score_by_recipe(Prompt(task, task, "?", VIDEO, target), completions, recipe)

    groups = [
        group(
            "temporal_grounding",
            SpanTarget(10.0, 20.0, duration_s=30.0),
            (f"{THINK}<answer>10 to 15</answer>", "stop", 95),
            (f"{THINK}<answer>10 to 20</answer>", "length", 100),
            ("", "error", 0),
        ),
        group("multiple_choice", ChoiceTarget("A"), ("<answer>A</answer>", "stop", 50), ("A", "stop", 3)),
    ]
    write_rollouts(run.rollouts_file(1), 1, groups)
    return [rollout.reward for group in groups for rollout in group.rollouts]


@pytest.mark.parametrize(
    "scoring",
    [
        {},
        {"truncated": "zero", "overlong_buffer": 20},
        {"length_bonus": {"reward": "choice_accuracy", "tokens_low": 40, "tokens_high": 60}},
    ],
)
def test_a_run_scored_again_earns_what_it_earned(tmp_path: Path, scoring: dict[str, Any]) -> None:
    earned = run_folder(tmp_path / "run", **scoring)
    score(tmp_path / "run", tmp_path / "out.jsonl")
    assert [row["reward"] for row in read(tmp_path / "out.jsonl")] == earned
    if scoring:
        assert earned != [1.5, 2.0, 0.0, 2.0, 0.0]


def test_a_run_under_other_rewards(tmp_path: Path) -> None:
    run_folder(tmp_path / "run")
    result = score(tmp_path / "run", tmp_path / "out.jsonl", rewards=("endpoint_iou=1", "accuracy=3"))
    rows = read(tmp_path / "out.jsonl")
    assert [row["scores"] for row in rows] == [
        {"endpoint_iou": pytest.approx(0.5 * 25 / 30)},
        {"endpoint_iou": 1.0},
        {},
        {"accuracy": 1.0},
        {"accuracy": 0.0},
    ]
    assert result.to_json()["tasks"]["multiple_choice"]["reward"]["mean"] == 1.5
    only = score(tmp_path / "run", tmp_path / "out.jsonl", task="multiple_choice")
    assert (only.left_out, list(only.tallies)) == (3, ["multiple_choice"])


def test_a_run_whose_recipe_has_keys_of_another_time(tmp_path: Path) -> None:
    earned = run_folder(tmp_path / "run", truncated="zero")
    recipe = RunDir(tmp_path / "run").recipe
    recipe.write_text(recipe.read_text() + "gone_since: 1\n")
    score(tmp_path / "run", tmp_path / "out.jsonl")
    assert [row["reward"] for row in read(tmp_path / "out.jsonl")] == earned
    recipe.write_text(recipe.read_text().replace("truncated: zero", "truncated: never"))
    with pytest.raises(RecipeError, match=r"recipe.yaml: 1 problem\n  scoring.truncated"):
        score(tmp_path / "run")


def test_a_folder_without_rollouts(tmp_path: Path) -> None:
    run_folder(tmp_path / "run")
    RunDir(tmp_path / "run").rollouts_file(1).unlink()
    with pytest.raises(DataError, match="run: no rollouts here"):
        score(tmp_path / "run")
