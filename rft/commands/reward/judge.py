"""Rewards that ask a judge, with that of a recipe, which is started for them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rft.errors import RewardError
from rft.recipe.load import load_recipe
from rft.runs.run_dir import RunDir
from rft.scoring.group import WeightedReward
from rft.scoring.judge import asks, endpoint


@contextmanager
def with_judge_of(
    recipe: Path | None, source: Path, rewards: Sequence[WeightedReward]
) -> Iterator[list[WeightedReward]]:
    """The rewards; those of `judge=model` without an address ask the recipe's judge, which runs as long as the block.

    `recipe`: None: that of `source`, if it is a run folder. Raises RewardError where there is no judge to ask.
    """
    asking = [reward.name for reward in rewards if asks(reward.args)]
    if not asking:
        yield list(rewards)
        return
    run = RunDir(source)
    if recipe is None and run.recipe.exists():
        recipe = run.recipe
    judge = load_recipe(recipe).judge if recipe else None
    if judge is None:
        raise RewardError(
            f"{', '.join(asking)}: judge=model, but {f'{recipe} has no section judge' if recipe else 'of no recipe'}. "
            "Give a recipe with that section, --recipe R: its judge is started. Or give the address of one that runs: "
            "--args judge=model judge_url=http://127.0.0.1:8000/v1 judge_model=NAME"
        )
    from rft.actors.judge import served

    with served(judge, run.judge_cache) as where:
        found = endpoint(judge, *where)
        yield [replace(one, args={**one.args, **found}) if asks(one.args) else one for one in rewards]
