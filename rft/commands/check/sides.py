"""`rft check --deep`: starts engine and learner, and compares them."""

from rft.actors.session import session
from rft.data.dataset import recipe_rows, to_prompt
from rft.parity.check import compare_engine_and_learner, pick_prompts, report_or_raise
from rft.recipe import Recipe


def check_sides(recipe: Recipe) -> None:
    """Start engine and learner, compare them on the recipe's training rows, and print the outcome.

    Raises ParityError if they differ and parity.on_mismatch is "stop".
    """
    with session(recipe, f"rft check --deep {recipe.model}") as opened:
        view = opened.view
        rows = recipe_rows(recipe.data.train, recipe)
        view.phase("starting engines and learner")
        pool = opened.start_pool(recipe.learner.num_ranks)
        from rft.actors.learner import LearnerActors

        learner = LearnerActors(recipe, recipe.model, opened.clips_dir)
        opened.closing.callback(learner.close)
        pool.load_weights(learner.publish_weights())
        prompts = [to_prompt(row, recipe) for row in rows]
        picked = pick_prompts(prompts, opened.clips, recipe.parity.prompts_per_task, recipe.seed, view.note)
        view.phase("comparing engine and learner")
        report = compare_engine_and_learner(picked, recipe, pool, learner)
        view.table(report.table())
        report_or_raise(report, recipe, view.note)
