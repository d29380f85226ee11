"""The ground truth written out as one more member of its group, which no engine sampled.

Completions of the policy rarely hit a precise time span; the ground truth among them shows it. Source: TempSamp-R1,
arXiv:2509.18056. What keeps it from upsetting the group: rft/algorithm/advantage.py.
"""

from dataclasses import replace

from rft.recipe import Recipe
from rft.scoring.group import score_by_recipe
from rft.tasks import TASKS
from rft.types import Completion, Group


def with_ground_truth(group: Group, recipe: Recipe) -> Group:
    """The group with its ground truth; without it if the recipe sets none, all completions failed or no reward fits."""
    sampled = [r.completion for r in group.rollouts if r.completion.finish_reason != "error"]
    if recipe.algorithm.ground_truth is None or not sampled:
        return group
    prompt = group.prompt
    text = TASKS[prompt.task].target_completion(prompt.target, recipe.tasks[prompt.task].think)
    written = Completion(text, (), (), sampled[0].num_prompt_tokens, "stop", sampled[0].policy_version)
    (ground_truth,) = score_by_recipe(prompt, [written], recipe).rollouts
    return group if ground_truth.problem else replace(group, ground_truth=ground_truth)
