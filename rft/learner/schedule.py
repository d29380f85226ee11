"""The learning rate over the updates of a run."""

import math

from rft.recipe import ColdStartRecipe, LearnerRecipe


def learning_rate(recipe: LearnerRecipe, update: int, total_updates: int) -> float:
    """Of the update number `update`, counted from 0: a linear warm-up, then the recipe's schedule.

    Linear and cosine reach min_lr_ratio after the last update, not before it, so no update is without effect.
    """
    if update < recipe.warmup_steps:
        return recipe.learning_rate * (update + 1) / recipe.warmup_steps
    if recipe.lr_scheduler_type == "constant":
        return recipe.learning_rate
    is_linear = recipe.lr_scheduler_type == "linear"
    left = _falling(update - recipe.warmup_steps, total_updates - recipe.warmup_steps, is_linear=is_linear)
    return recipe.learning_rate * (recipe.min_lr_ratio + (1 - recipe.min_lr_ratio) * left)


def cold_start_rate(recipe: ColdStartRecipe, update: int) -> float:
    """Of the supervised update number `update`, counted from 0, as transformers' trainer has it.

    The warm-up begins at 0. Then linearly to 0, or by half a cosine to a tenth, reached after the last update.
    """
    if update < recipe.warmup_steps:
        return recipe.learning_rate * update / recipe.warmup_steps
    is_linear = recipe.lr_scheduler_type == "linear"
    left = _falling(update - recipe.warmup_steps, recipe.steps - recipe.warmup_steps, is_linear=is_linear)
    return recipe.learning_rate * (left if is_linear else 0.1 + 0.9 * left)


def _falling(update: int, num_updates: int, *, is_linear: bool) -> float:
    """1 at the first of `num_updates`, 0 after the last."""
    progress = min(1.0, update / max(1, num_updates))
    return 1 - progress if is_linear else (1 + math.cos(math.pi * progress)) / 2
