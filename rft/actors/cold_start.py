"""The processes of the supervised stage: one Ray actor per rank, which end before GRPO's learner starts."""

import os
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from statistics import fmean

from rft.actors.cpu import gpu_process_threads, set_cpu_threads
from rft.actors.imports import large_imports
from rft.actors.joined import use_own_interface
from rft.actors.ranks import Ranks, free_address, set_allocator
from rft.errors import Interrupted
from rft.files import PARTIAL_PREFIX
from rft.recipe import Recipe
from rft.types import Demonstration

REPORT_EVERY = 10
"""Steps between two reports."""


class ColdStartRank:
    """One rank. All ranks get the same calls; rank 0 alone writes files."""

    def __init__(self, rank: int, recipe: Recipe, model: str, clips_dir: Path) -> None:
        set_allocator(recipe)
        use_own_interface()
        cores = len(os.sched_getaffinity(0))
        # All cores, though a recipe may leave some to engines that sample ahead: they wait meanwhile.
        set_cpu_threads(max(1, cores // recipe.learner.num_ranks), gpu_process_threads(recipe, cores))
        self._rank, self._recipe, self._model, self._clips_dir = rank, recipe, model, clips_dir

    def address(self) -> tuple[str, int]:
        return free_address()

    def build(self, address: tuple[str, int] | None) -> None:
        """Load the policy, sharded over the ranks where there are several."""
        with large_imports():
            from rft.data.feature_store import features_in
            from rft.data.processor import PromptProcessor
            from rft.data.video import ClipCache
            from rft.learner.cold_start import SupervisedLearner
            from rft.learner.sharding import init_distributed, own_device

        recipe, device = self._recipe, own_device()
        assert recipe.cold_start is not None
        if address is not None:
            init_distributed(self._rank, recipe.learner.num_ranks, *address, device)
        self._learner = SupervisedLearner(
            self._model,
            recipe,
            recipe.cold_start,
            PromptProcessor.of(self._model, recipe),
            ClipCache.of(recipe, self._clips_dir),
            device=device,
            features_dir=features_in(self._clips_dir),
        )

    def update(self, rows: Sequence[Demonstration]) -> dict[str, float]:
        return self._learner.update(rows)

    def save(self, directory: Path) -> None:
        self._learner.save(directory)


def run_cold_start(
    recipe: Recipe,
    demonstrations: Sequence[Demonstration],
    clips_dir: Path,
    directory: Path,
    should_stop: Callable[[], bool],
) -> Iterator[tuple[int, dict[str, float]]]:
    """Train recipe.model on the demonstrations; at the end its folder stands at `directory`.

    Yields (step, metrics since the last report) every few steps. Interrupted: should_stop() became true. RftError: as
    a rank raised it.
    """
    cold = recipe.cold_start
    assert cold is not None
    partial = directory.with_name(f"{PARTIAL_PREFIX}{directory.name}")
    shutil.rmtree(partial, ignore_errors=True)
    lines: list[dict[str, float]] = []
    with closing(Ranks(ColdStartRank, recipe, recipe.model, clips_dir, should_stop)) as ranks:
        batches = in_batches(demonstrations, cold.rows_per_step, recipe.seed)
        for step in range(1, cold.steps + 1):
            if should_stop():
                raise Interrupted
            lines.append(ranks.call("update", next(batches)))
            if step % REPORT_EVERY == 0 or step == cold.steps:
                yield step, summed_up(lines)
                lines = []
        ranks.call("save", partial.absolute())
    os.replace(partial, directory)


def in_batches(rows: Sequence[Demonstration], num_rows: int, seed: int) -> Iterator[list[Demonstration]]:
    """`num_rows` at a time without end: every row once per round, in the round's own seeded order."""
    waiting: list[Demonstration] = []
    rounds = 0
    while True:
        while len(waiting) < num_rows:
            waiting += random.Random(f"{seed} {rounds}").sample(rows, len(rows))
            rounds += 1
        yield waiting[:num_rows]
        waiting = waiting[num_rows:]


def summed_up(lines: Sequence[dict[str, float]]) -> dict[str, float]:
    """Metrics of several updates: means, the last learning rate, the number of skipped ones."""
    means = {name: fmean(line[name] for line in lines) for name in ("loss", "grad_norm")}
    skipped = sum(line["skipped_updates"] for line in lines)
    return means | {"learning_rate": lines[-1]["learning_rate"], "skipped_updates": skipped}
