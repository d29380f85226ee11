"""How long does a step take on machines that are not here, and what bounds it?

    python -m benchmarks.simulate --results benchmarks/results               # 7B and 72B on 1, 8, 64 and 512 GPUs
    python -m benchmarks.simulate --fit RUN --predict RUN RUN --cores 1      # against runs that were recorded

Steps are simulated event by event (benchmarks/step_model.py). What their parts cost is arithmetic of the model's shape
at the shares of a GPU's peak that `rft check --gpu` assumes (benchmarks/paper_costs.py); with `--fit` it is what
explains the record of those runs, and steps of other runs are compared with their simulation.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.paper_costs import CONFIGS, Job, Way, paper_costs, states_that_fit
from benchmarks.recorded_steps import RecordedRun, fit, read_run
from benchmarks.report import add_output_arguments, finish
from benchmarks.step_model import Costs, Layout, Steps, simulate
from rft.commands.check.estimate import GPUS, find_gpu
from rft.tables import TextTable

SLOTS = 64
"""Sequences that an engine decodes at a time, per GPU of its own."""

WAYS = (
    Way("in turns", shared=True),
    Way("apart, 1 ahead", shared=False, ahead=1),
    Way("+ one broadcast", shared=False, ahead=1, broadcast=True),
    Way("+ partial rollouts, 1 behind", shared=False, ahead=1, partial=True, broadcast=True),
    Way("+ partial rollouts, 2 behind", shared=False, ahead=2, partial=True, broadcast=True),
)


@dataclass(frozen=True, slots=True)
class Found:
    """The best split of the GPUs of one way."""

    layout: Layout
    steps: Steps
    states: str
    """Data type of weights, gradients and moments with which it fits."""


def best(job: Job, way: Way) -> Found | None:
    """The fastest split into engines and ranks of those that fit; None: no split does."""
    found = []
    for layout in layouts(job, way):
        states = states_that_fit(job, way, layout) if 1 <= layout.ranks <= job.prompts else None
        if states is not None:
            found.append(Found(layout, simulate(paper_costs(job, way, layout), layout, job.batches()), states))
    return min(found, key=lambda one: one.steps.step, default=None)


def layouts(job: Job, way: Way) -> Iterator[Layout]:
    """All GPUs for engines and ranks in turns, or up to six eighths of them for engines."""
    width, slots = job.engine_gpus, SLOTS * job.engine_gpus
    if way.shared:
        shares = {job.num_gpus // width}
    else:
        shares = {job.num_gpus * eighths // 8 // width for eighths in range(1, 7)}
    for engines in sorted(shares - {0}):
        ranks = job.num_gpus if way.shared else job.num_gpus - engines * width
        yield Layout(engines, slots, ranks, way.ahead, way.partial)


def paper_row(job: Job, way: Way) -> tuple[str, ...]:
    found, known = best(job, way), (job.model, f"{job.num_gpus}", f"{job.prompts}", way.name)
    if found is None:
        return *known, *["-"] * 5, "does not fit"
    layout, steps = found.layout, found.steps
    return (
        *known,
        f"{layout.engines}, {layout.ranks}",
        found.states,
        f"{steps.step:.1f}",
        f"{steps.step * job.num_gpus / job.prompts:.1f}",
        f"{1 - steps.engine_idle / steps.step:.0%}, {1 - steps.learner_idle / steps.step:.0%}",
        steps.bound,
    )


COLUMNS = (
    *("model", "GPUs", "prompts", "way", "engines, ranks", "states"),
    *("step, s", "GPU-s a prompt", "busy: engines, ranks", "bound"),
)


def predicted(costs: Costs, runs: Sequence[RecordedRun]) -> list[tuple[str, float, float]]:
    """(run, its median step, its simulated step)."""
    return [(run.name, run.median_s, simulate(costs, run.layout, [s.groups for s in run.steps]).step) for run in runs]


def compare_with_runs(arguments: argparse.Namespace) -> int:
    costs = fit([read_run(folder, arguments.cores) for folder in arguments.fit])
    found = predicted(costs, [read_run(folder, arguments.cores) for folder in arguments.predict])
    rows = tuple((name, f"{real:.3f}", f"{told:.3f}", f"{told / real - 1:+.1%}") for name, real, told in found)
    table = TextTable("Steps of recorded runs", ("run", "median, s", "simulated, s", "difference"), rows)
    return finish("simulate_recorded", {"costs": asdict(costs), "runs": found}, [table], arguments)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--gpu", default="H200", help="a name of `rft check --gpu`")
    parser.add_argument("--models", nargs="+", choices=tuple(CONFIGS), default=tuple(CONFIGS))
    parser.add_argument("--gpus", type=int, nargs="+", default=(1, 8, 64, 512))
    parser.add_argument("--prompts-per-gpu", type=int, default=1, help="of a step; at least 8 prompts in all")
    parser.add_argument("--fit", type=Path, nargs="+", help="run folders that the costs are taken from")
    parser.add_argument("--predict", type=Path, nargs="+", default=(), help="run folders to compare")
    parser.add_argument("--cores", type=float, default=float("inf"), help="that the processes of these runs had")
    add_output_arguments(parser)
    arguments = parser.parse_args(argv)
    if arguments.fit:
        return compare_with_runs(arguments)
    gpu = find_gpu(arguments.gpu)
    jobs = [
        Job(model, GPUS[gpu], num_gpus, arguments.prompts_per_gpu)
        for model in arguments.models
        for num_gpus in arguments.gpus
    ]
    rows = tuple(paper_row(job, way) for job in jobs for way in WAYS if way.shared or job.num_gpus > job.engine_gpus)
    table = TextTable(f"Steps on {gpu}, on paper", COLUMNS, rows)
    result = {"gpu": gpu, "prompts_per_gpu": arguments.prompts_per_gpu, "columns": COLUMNS, "rows": rows}
    return finish("simulate", result, [table], arguments, f"{arguments.prompts_per_gpu}_prompts_per_gpu")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
