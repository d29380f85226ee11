"""A process for engines without Ray: torch and vLLM read its environment as they are imported there."""

import gc
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

import pytest

from rft.actors.rollout import engine_environment
from rft.recipe import RolloutRecipe


@contextmanager
def engine_process() -> Iterator[ProcessPoolExecutor]:
    """Runs functions of test files one after another; what they keep in their module stays from one to the next."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in engine_environment(RolloutRecipe(), use_gpu=False, offline=True, threads=2).items():
                patch.setenv(name, value)
            process.submit(gc.disable).result()  # what it imports stays
        yield process
