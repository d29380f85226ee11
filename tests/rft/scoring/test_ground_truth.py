"""The target written out beside the group's own completions: its reward, its advantage, and what is counted."""

from pathlib import Path
from typing import Any

import pytest

from rewards.targets.span import SpanTarget
from rft.algorithm.advantage import advantages, advantages_with_ground_truth
from rft.recipe import Recipe
from rft.recipe.algorithm import GroundTruthRecipe
from rft.scoring.group import score_by_recipe
from rft.scoring.group_metrics import train_group_metrics
from rft.scoring.train_groups import train_groups, with_ground_truth
from rft.types import Completion, Group, Prompt, Video, VideoSampling

VIDEO = Video(Path("v.mp4"), VideoSampling(2.0, 4, 8, 784, 784, 7840))
PROMPT = Prompt("p", "temporal_grounding", "when?", VIDEO, SpanTarget(2.0, 4.0))
RIGHT, HALF, WRONG = ("<answer>2 to 4</answer>", "<answer>2 to 3</answer>", "<answer>8 to 9</answer>")


def recipe(think: bool = False, **ground_truth: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "model": "m",
            "tasks": {"temporal_grounding": {"think": think}},
            "data": {"train": ["rows.jsonl"]},
            "steps": 1,
            "algorithm": {"advantage": "mean_only", "ground_truth": ground_truth or None},
        }
    )


def group_of(*texts: str, settings: Recipe, failed: int = 0) -> Group:
    drawn = [Completion(text, (1, 2), (-0.5, -0.5), 7, "stop", 3) for text in texts]
    none = [Completion("", (), (), 0, "error", 0)] * failed
    return with_ground_truth(score_by_recipe(PROMPT, [*none, *drawn], settings), settings)


@pytest.mark.parametrize("think", [False, True])
def test_the_ground_truth_has_the_form_of_the_task_and_earns_everything(think: bool) -> None:
    ground_truth = group_of(WRONG, settings=recipe(think, advantage="anchored"), failed=1).ground_truth
    assert ground_truth is not None
    assert ground_truth.reward == 2.0
    assert ground_truth.completion.text.startswith("<think>") == think
    assert (ground_truth.completion.num_prompt_tokens, ground_truth.completion.token_ids) == (7, ())


def test_no_ground_truth_joins_by_default_or_where_no_engine_answered() -> None:
    assert group_of(WRONG, settings=recipe()).ground_truth is None
    assert group_of(settings=recipe(advantage="anchored"), failed=2).ground_truth is None


def test_an_anchored_ground_truth_stays_out_of_the_statistics() -> None:
    settings = recipe(advantage="anchored")
    groups = [group_of(RIGHT, HALF, WRONG, settings=settings)]
    (learned,) = train_groups(groups, settings.algorithm, {})
    # Rewards 2, 1.5, 1: advantages 0.5, 0, -0.5, and 1.2 times the best.
    assert learned.advantages == pytest.approx((0.5, 0.0, -0.5, 0.6))
    assert learned.has_ground_truth
    assert [len(completion.token_ids) for completion in learned.completions] == [2, 2, 2, 0]
    metrics = train_group_metrics(groups, [learned])
    assert metrics["num_ground_truths"] == 1
    assert metrics["ground_truth_advantage"] == pytest.approx(0.6)


def test_an_anchored_ground_truth_does_not_join_a_zero_std_group() -> None:
    settings = recipe(advantage="anchored")
    groups = [group_of(WRONG, WRONG, settings=settings)]
    assert train_groups(groups, settings.algorithm, {}) == ()
    metrics = train_group_metrics(groups, ())
    assert metrics["num_zero_std_groups"] == 1
    assert "num_ground_truths" not in metrics


def test_a_ground_truth_with_a_scaled_reward_is_a_member_like_the_others() -> None:
    settings = recipe(advantage="scaled_reward")
    groups = [group_of(WRONG, WRONG, settings=settings)]
    (learned,) = train_groups(groups, settings.algorithm, {})
    # Rewards 1, 1 and 0.8 * 2.
    assert learned.advantages == pytest.approx((-0.2, -0.2, 0.4))
    assert train_group_metrics(groups, [learned])["num_zero_std_groups"] == 0
    (better,) = train_groups([group_of(RIGHT, RIGHT, settings=settings)], settings.algorithm, {})
    assert better.advantages[-1] < 0 < better.advantages[0]


@pytest.mark.parametrize("name", ["group_norm", "mean_only", "rloo"])
def test_factors_are_the_recipes(name: str) -> None:
    rewards = (0.0, 1.0, 0.25)
    anchored = GroundTruthRecipe(factor=2.0)
    plain = advantages(rewards, name)
    assert advantages_with_ground_truth(rewards, 1.0, anchored, name) == (plain, 2 * max(plain))
    half = GroundTruthRecipe(advantage="scaled_reward", factor=0.5)
    together = advantages((*rewards, 0.5), name)
    assert advantages_with_ground_truth(rewards, 1.0, half, name) == (together[:3], together[3])
    assert advantages_with_ground_truth((), 1.0, anchored, name) == ((), 0.0)
    assert advantages_with_ground_truth((), 1.0, half, name) == ((), 0.0)
