"""Groups that were sampled ahead, in a checkpoint: a resumed run learns from the same ones."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rewards.types import Score
from rft.data.dataset import PromptOrder
from rft.errors import CheckpointError
from rft.files import read_records, write_records
from rft.recipe import Recipe
from rft.rollout_batches import RolloutBatch
from rft.scoring.train_groups import running_reward_variances, train_groups
from rft.types import Completion, Group, Prompt, Rollout

NAME = "upcoming.jsonl.zst"
"""Inside a checkpoint; not there where nothing was sampled ahead."""


def write_ahead_batch(checkpoint: Path, batch: RolloutBatch) -> None:
    """One line per group, with everything the learner needs but the prompt, which the data holds."""
    write_records(
        checkpoint / NAME,
        (
            {
                "prompt_id": group.prompt.prompt_id,
                "rollouts": [asdict(rollout) for rollout in group.rollouts],
                "ground_truth": group.ground_truth and asdict(group.ground_truth),
                "shuffled_score": group.shuffled_score,
            }
            for group in batch.groups
        ),
    )


def read_ahead_batch(
    checkpoint: Path, prompts: PromptOrder, recipe: Recipe, variances: Mapping[str, float]
) -> RolloutBatch | None:
    """The groups in a checkpoint whose data position `prompts` has, which is moved behind them; None where none are.

    `variances`: as the last recorded step left them. CheckpointError: the data gives other prompts now.
    """
    path = checkpoint / NAME
    if not path.exists():
        return None
    lines = list(read_records(path))
    taken = prompts.take(len(lines))
    if [line["prompt_id"] for line in lines] != [prompt.prompt_id for prompt in taken]:
        raise CheckpointError(f"{path}: holds groups of other prompts than the data gives. Delete it to sample anew.")
    groups = tuple(_group(prompt, line) for prompt, line in zip(taken, lines, strict=True))
    variances = running_reward_variances(variances, groups)
    learned = train_groups(groups, recipe.algorithm, variances)
    return RolloutBatch(groups, learned, prompts.position, variances, seconds={}, is_ahead=True)


def _group(prompt: Prompt, line: Mapping[str, Any]) -> Group:
    truth = line["ground_truth"]
    rollouts = tuple(_rollout(**rollout) for rollout in line["rollouts"])
    return Group(prompt, rollouts, truth and _rollout(**truth), line["shuffled_score"])


def _rollout(completion: dict, scores: dict, reward: float, problem: str) -> Rollout:  # type: ignore[type-arg]
    completion |= {name: tuple(completion[name]) for name in ("token_ids", "logprobs", "later_versions")}
    return Rollout(Completion(**completion), {name: Score(**s) for name, s in scores.items()}, reward, problem)
