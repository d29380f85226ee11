"""How processes share the cores of a machine."""

import os

from rft.actors.imports import large_imports
from rft.recipe import Recipe

MOST_THREADS = 8
"""Of a process beside a GPU: what prepares a prompt gains little from more."""

MOST_DECODERS = 16
"""Clips decoded at one time by default: each is a process."""


def learner_threads(recipe: Recipe, cores: int) -> int:
    """Of one learning process, on a machine without GPUs: all cores, over the processes.

    Engines that sample ahead run at the same time, so where they have their number of threads the learner takes the
    other cores.
    """
    rollout = recipe.rollout
    if rollout.ahead and rollout.threads_per_worker:
        cores -= rollout.num_workers * rollout.threads_per_worker
    return max(1, cores // recipe.learner.num_ranks)


def gpu_process_threads(recipe: Recipe, cores: int) -> int:
    """Of each engine and learning process on a machine with GPUs, where they prepare prompts at the same time."""
    processes = recipe.rollout.num_workers + recipe.learner.num_ranks
    return max(1, min(MOST_THREADS, cores // processes))


def decode_processes(recipe: Recipe, cores: int) -> int:
    """Clips of the next step that are decoded at one time: the recipe's number, else a quarter of the cores."""
    given = recipe.video.decode_ahead
    return max(2, min(MOST_DECODERS, cores // 4)) if given is None else given


def clips_at_once(recipe: Recipe, cores: int) -> int:
    """Clips that an engine loads at one time: its share of those that a machine decodes."""
    return max(2, decode_processes(recipe, cores) // recipe.rollout.num_workers)


def lower_priority() -> None:
    """From now on this thread runs only on cores that nobody else wants, where the system knows how."""
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def set_cpu_threads(num_threads: int, num_beside_gpu: int = 1) -> None:
    """Ray gives a process one thread; it gets `num_threads`, or `num_beside_gpu` on a machine with GPUs."""
    with large_imports():
        import torch

    torch.set_num_threads(num_beside_gpu if torch.cuda.is_available() else num_threads)
