"""T-GRPO's contrast (Video-R1, arXiv:2503.21776): right answers earn more if answers get worse on shuffled frames."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import fmean

from rewards.types import Score
from rft.recipe import OrderBonusRecipe, Recipe
from rft.scoring.group import ScoreGroup, chosen_rewards, score_by_recipe
from rft.types import Group, Rollout, Sampler, Video

SCORE_NAME = "frame_order"
"""Name of the score that says whether a completion earned the bonus."""


def with_order_bonus(
    groups: Sequence[Group],
    recipe: Recipe,
    sampler: Sampler,
    seed: int,
    on_progress: Callable[[str, int, int], None],
    score: ScoreGroup = score_by_recipe,
    *,
    may_stop: bool = True,
) -> list[Group]:
    """The groups with the bonus of scoring.order_bonus: each is compared with one sampled here on shuffled frames.

    `may_stop`: before the end, by Interrupted, on a request to stop.
    """
    bonus, compared = recipe.scoring.order_bonus, list(groups)
    if bonus is None:
        return compared
    indices = [i for i, group in enumerate(groups) if bonus.reward in chosen_rewards(recipe.tasks, group.prompt.task)]
    prompts = []
    for prompt in (groups[i].prompt for i in indices):
        assert isinstance(prompt.media, Video)  # rft/commands/check/data.py refuses other rows
        prompts.append(replace(prompt, media=replace(prompt.media, shuffle_seed=seed)))
    training = recipe.sampling.sampling()
    sampling = replace(training, num_generations=bonus.num_generations or training.num_generations // 2)
    on_progress("rollout, shuffled", 0, len(prompts))
    sampled = sampler.generate(prompts, sampling, seed, may_stop=may_stop)
    for num_done, (index, completions) in enumerate(sampled, start=1):
        shuffled = score(prompts[index], completions, recipe)
        compared[indices[index]] = with_bonuses(groups[indices[index]], shuffled, bonus)
        on_progress("rollout, shuffled", num_done, len(prompts))
    return compared


def with_bonuses(group: Group, shuffled: Group, bonus: OrderBonusRecipe) -> Group:
    """The group, with the bonus for right answers where its mean score is at least that of `shuffled`.

    Returned unchanged where either has no answer that could be judged.
    """
    ordered_score, shuffled_score = _mean_score(group, bonus.reward), _mean_score(shuffled, bonus.reward)
    if ordered_score is None or shuffled_score is None:
        return group
    helps = ordered_score >= shuffled_score
    note = f"{bonus.reward}: {ordered_score:.3f} in order, {shuffled_score:.3f} on shuffled frames"

    def with_bonus(rollout: Rollout) -> Rollout:
        if bonus.reward not in rollout.scores:
            return rollout
        ended = rollout.completion.finish_reason == "stop"
        earns = helps and ended and rollout.scores[bonus.reward].value >= bonus.least
        scores = rollout.scores | {SCORE_NAME: Score(float(earns), None, note)}
        return replace(rollout, scores=scores, reward=rollout.reward + bonus.bonus * earns)

    rollouts = tuple(with_bonus(rollout) for rollout in group.rollouts)
    return replace(group, rollouts=rollouts, shuffled_score=shuffled_score)


def _mean_score(group: Group, reward: str) -> float | None:
    values = [rollout.scores[reward].value for rollout in group.rollouts if reward in rollout.scores]
    return fmean(values) if values else None
