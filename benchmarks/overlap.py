"""Does sampling one step ahead hide the shorter of rollout and learner? Step time over the longer of the two.

    python -m benchmarks.overlap

Runs `rft train` twice, over clips that are decoded in the first step. In turns (`rollout.ahead: 0`), bound to
one core, tells what rollout and learner take by themselves on one core each; then one step ahead (`rollout.ahead: 1`)
on two cores, one thread each. The `ratio` is the median step ahead over the longer of the two by themselves; the bound
is 1. `ratio_within` is the same over what the two took while they ran side by side on cores that share their memory.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.report import finish
from benchmarks.tiny import TimedStep, add_arguments, recipe_keys, run_training, workload, write_data
from rft.tables import TextTable

ROLLOUT, LEARNER = ("data", "rollout"), ("update",)
"""Phases that can run side by side; the hand-over of weights can not."""


def seconds_of(steps: Sequence[TimedStep], names: Sequence[str], behind: str = "") -> float:
    """Median over the steps of the sum of these phases."""
    return median(sum(step.metrics.get(f"seconds/{behind}{name}", 0.0) for name in names) for step in steps)


def compare(in_turns: Sequence[TimedStep], ahead: Sequence[TimedStep]) -> dict[str, Any]:
    alone = {"rollout": seconds_of(in_turns, ROLLOUT), "learner": seconds_of(in_turns, LEARNER)}
    within = {"rollout": seconds_of(ahead, ROLLOUT, "ahead_"), "learner": seconds_of(ahead, LEARNER)}
    step = median(one.seconds for one in ahead)
    step_in_turns = median(one.seconds for one in in_turns)
    return {
        "alone": alone,
        "side_by_side": within,
        "hand_over": seconds_of(ahead, ("weights",)),
        "wait": seconds_of(ahead, ("wait",)),
        "step": step,
        "step_in_turns": step_in_turns,
        "balance": alone["rollout"] / alone["learner"],
        "ratio": step / max(alone.values()),
        "ratio_within": step / max(within.values()),
        "in_turns": step_in_turns / max(alone.values()),
    }


def table(found: dict[str, Any]) -> TextTable:
    lines = (
        ("in turns", found["alone"]["rollout"], found["alone"]["learner"], found["step_in_turns"], found["in_turns"]),
        (
            "one ahead",
            found["side_by_side"]["rollout"],
            found["side_by_side"]["learner"],
            found["step"],
            found["ratio"],
        ),
    )
    columns = ("", "rollout, s", "learner, s", "step, s", "step over the longer one")
    caption = (
        f"Medians. Of a step ahead, handing the weights over took {found['hand_over']:.3f} s, waiting for rollouts "
        f"{found['wait']:.3f} s. Over the longer one of the two side by side: {found['ratio_within']:.2f}."
    )
    rows = tuple((name, *(f"{s:.3f}" for s in seconds)) for name, *seconds in lines)
    return TextTable("Sampling one step ahead, one core each", columns, rows, caption)


@contextmanager
def bound_to(num_cores: int) -> Iterator[None]:
    """This process and what it starts meanwhile run on so many of its cores. ValueError: it has fewer."""
    cores = os.sched_getaffinity(0)
    if len(cores) < num_cores:
        raise ValueError(f"{num_cores} cores are needed, and this process has {len(cores)}")
    os.sched_setaffinity(0, set(sorted(cores)[:num_cores]))
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    add_arguments(parser, steps=12)
    parser.add_argument("--beta", type=float, default=0.04, help="0 leaves out the reference pass of the learner")
    arguments = parser.parse_args(argv)
    work = workload(arguments, arguments.beta)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder, work.prompts)
        runs = []
        for ahead in (0, 1):
            keys = recipe_keys(folder, work, ahead=ahead, threads_per_worker=1)
            with bound_to(ahead + 1):
                runs.append(run_training(folder, f"ahead_{ahead}", keys))
    found = compare(*runs)
    result = {
        "question": "step time over the longer of rollout and learner, one core each",
        "prompts": work.prompts,
        "group": work.group,
        "max_completion_tokens": work.completion_tokens,
        "beta": work.beta,
        "steps": work.steps,
        **found,
    }
    return finish("overlap", result, [table(found)], arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
