"""How processes share the cores of a machine."""

import os

from rft.recipe import Recipe


def learner_threads(recipe: Recipe, cores: int) -> int:
    """Of one learning process, on a machine without GPUs: all cores, over the processes.

    Engines that sample ahead run at the same time, so where they have their number of threads the learner takes the
    other cores.
    """
    rollout = recipe.rollout
    if rollout.ahead and rollout.threads_per_worker:
        cores -= rollout.num_workers * rollout.threads_per_worker
    return max(1, cores // recipe.learner.num_ranks)


def lower_priority() -> None:
    """From now on this thread runs only on cores that nobody else wants, where the system knows how."""
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def set_cpu_threads(num_threads: int) -> None:
    """Ray gives a process one thread; without GPUs it gets `num_threads`."""
    import torch

    if not torch.cuda.is_available():
        torch.set_num_threads(num_threads)
