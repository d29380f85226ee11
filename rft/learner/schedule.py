"""The learning rate over the updates of a run."""

import math

from rft.recipe import LearnerRecipe


def learning_rate(recipe: LearnerRecipe, update: int, total_updates: int) -> float:
    """Of the update number `update`, counted from 0: a linear warm-up, then the recipe's schedule.

    Linear and cosine reach min_lr_ratio after the last update, not before it, so no update is without effect.
    """
    if update < recipe.warmup_steps:
        return recipe.learning_rate * (update + 1) / recipe.warmup_steps
    if recipe.lr_scheduler_type == "constant":
        return recipe.learning_rate
    progress = min(1.0, (update - recipe.warmup_steps) / max(1, total_updates - recipe.warmup_steps))
    left = 1 - progress if recipe.lr_scheduler_type == "linear" else (1 + math.cos(math.pi * progress)) / 2
    return recipe.learning_rate * (recipe.min_lr_ratio + (1 - recipe.min_lr_ratio) * left)
