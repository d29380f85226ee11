"""The target written out as one more member of its group, which no engine drew.

Completions of the policy rarely hit a precise time span; the truth among them shows where to go. Source: TempSamp-R1,
arXiv:2509.18056. What keeps it from upsetting the group: rft/algorithm/advantage.py.
"""

from dataclasses import replace

from rft.recipe import Recipe
from rft.scoring.group import score_by_recipe
from rft.tasks import TASKS
from rft.types import Completion, Group


def with_ground_truth(group: Group, recipe: Recipe) -> Group:
    """The group with its truth, where the recipe asks for it, an engine answered and the rewards can judge it."""
    drawn = [r.completion for r in group.rollouts if r.completion.finish_reason != "error"]
    if recipe.algorithm.ground_truth is None or not drawn:
        return group
    prompt = group.prompt
    text = TASKS[prompt.task].target_completion(prompt.target, recipe.tasks[prompt.task].think)
    written = Completion(text, (), (), drawn[0].num_prompt_tokens, "stop", drawn[0].policy_version)
    (truth,) = score_by_recipe(prompt, [written], recipe).rollouts
    return group if truth.problem else replace(group, ground_truth=truth)
