"""T-GRPO's contrast: do answers get worse when the clip's frames are shuffled? Right ones earn more where they do.

Source: Video-R1, arXiv:2503.21776.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import fmean

from rewards.types import Score
from rft.recipe import OrderBonusRecipe, Recipe
from rft.scoring.group import chosen_rewards, score_by_recipe
from rft.types import Group, Prompt, Rollout, Sampler, Video

SCORE_NAME = "frame_order"
"""Of the score that says whether a completion earned the bonus, among those of the rewards."""


def with_order_bonus(
    groups: Sequence[Group],
    recipe: Recipe,
    sampler: Sampler,
    seed: int,
    on_progress: Callable[[str, int, int], None],
) -> list[Group]:
    """The groups, each compared with one that is sampled here on shuffled frames, where the recipe asks for it."""
    asked, compared = recipe.scoring.order_bonus, list(groups)
    if asked is None:
        return compared
    places = [i for i, group in enumerate(groups) if asked.reward in chosen_rewards(recipe.tasks, group.prompt.task)]
    prompts = [shuffled_prompt(groups[i].prompt, seed) for i in places]
    whole = recipe.sampling.sampling()
    sampling = replace(whole, num_generations=asked.num_generations or whole.num_generations // 2)
    on_progress("rollout, shuffled", 0, len(prompts))
    for num_done, (index, completions) in enumerate(sampler.generate(prompts, sampling, seed), start=1):
        shuffled = score_by_recipe(prompts[index], completions, recipe)
        compared[places[index]] = rewarded(groups[places[index]], shuffled, asked)
        on_progress("rollout, shuffled", num_done, len(prompts))
    return compared


def shuffled_prompt(prompt: Prompt, seed: int) -> Prompt:
    """The same question about the same frames in an order drawn with `seed`."""
    assert isinstance(prompt.media, Video)  # rft/commands/check/data.py refuses other rows
    return replace(prompt, media=replace(prompt.media, shuffle_seed=seed))


def rewarded(group: Group, shuffled: Group, asked: OrderBonusRecipe) -> Group:
    """The group, its right answers rewarded more where its mean score is at least that of `shuffled`.

    As it is where either has no answer that could be judged.
    """
    ordered_score, shuffled_score = _mean(group, asked.reward), _mean(shuffled, asked.reward)
    if ordered_score is None or shuffled_score is None:
        return group
    helps = ordered_score >= shuffled_score
    note = f"{asked.reward}: {ordered_score:.3f} in order, {shuffled_score:.3f} on shuffled frames"

    def with_bonus(rollout: Rollout) -> Rollout:
        if asked.reward not in rollout.scores:
            return rollout
        ended = rollout.completion.finish_reason == "stop"
        earns = helps and ended and rollout.scores[asked.reward].value >= asked.least
        scores = rollout.scores | {SCORE_NAME: Score(float(earns), None, note)}
        return replace(rollout, scores=scores, reward=rollout.reward + asked.bonus * earns)

    rollouts = tuple(with_bonus(rollout) for rollout in group.rollouts)
    return replace(group, rollouts=rollouts, shuffled_score=shuffled_score)


def _mean(group: Group, reward: str) -> float | None:
    values = [rollout.scores[reward].value for rollout in group.rollouts if reward in rollout.scores]
    return fmean(values) if values else None
