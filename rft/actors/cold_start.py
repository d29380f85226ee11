"""The process of the supervised stage."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import ray

from rft.actors.cluster import get, gpu_options
from rft.actors.cpu import set_cpu_threads
from rft.errors import Interrupted
from rft.files import PARTIAL_PREFIX, read_lines
from rft.recipe import Recipe
from rft.types import Demonstration

POLL_S = 0.3
"""Longest time before a request to stop, or progress, is noticed."""


class ColdStart:
    """The supervised stage in a process of its own, writing a model folder."""

    def __init__(
        self, recipe: Recipe, demonstrations: Sequence[Demonstration], clips_dir: Path, directory: Path
    ) -> None:
        self._directory = directory
        self._partial = directory.with_name(f"{PARTIAL_PREFIX}{directory.name}")
        self._losses = self._partial / "losses.jsonl"
        shutil.rmtree(self._partial, ignore_errors=True)
        self._partial.mkdir(parents=True)
        remote = ray.remote(num_cpus=0, **gpu_options(recipe, 0, 1))(supervise)
        self._done = remote.remote(recipe, demonstrations, clips_dir, self._partial, self._losses)

    def losses(self, should_stop: Callable[[], bool]) -> Iterator[tuple[int, float]]:
        """(step, loss) as the stage goes on; at the end the model folder stands.

        Interrupted: should_stop() became true. RftError: as the stage raised it.
        """
        num_seen, finished = 0, False
        while not finished:
            finished = bool(ray.wait([self._done], timeout=POLL_S)[0])
            if finished:
                get(self._done)
            lines = list(read_lines(self._losses)) if self._losses.exists() else []
            yield from ((line["step"], line["loss"]) for line in lines[num_seen:])
            num_seen = len(lines)
            if should_stop():
                ray.cancel(self._done, force=True)
                raise Interrupted
        os.replace(self._partial, self._directory)


def supervise(
    recipe: Recipe, demonstrations: Sequence[Demonstration], clips_dir: Path, directory: Path, losses: Path
) -> None:
    """Runs in the process of the supervised stage."""
    from rft.data.processor import PromptProcessor
    from rft.data.video import ClipCache
    from rft.learner.cold_start import progress_writer, run_cold_start

    set_cpu_threads(len(os.sched_getaffinity(0)))
    assert recipe.cold_start is not None
    processor = PromptProcessor(recipe.model, recipe.system_prompt)
    clips = ClipCache.of(recipe, clips_dir)
    run_cold_start(recipe, recipe.cold_start, demonstrations, processor, clips, directory, progress_writer(losses))
