"""Steps that a run recorded, and the costs of their parts that explain them best."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.step_model import Costs, Layout, SampledGroup
from rft.files import read_lines
from rft.recipe.load import load_recipe
from rft.runs.rollout_files import read_rollouts
from rft.runs.run_dir import RunDir

WARM_UP = 5
"""Steps that are not counted."""

REWEIGHTINGS = 30
"""Rounds of least squares that make up one of least absolute errors."""


@dataclass(frozen=True, slots=True)
class RecordedStep:
    seconds: float
    """From the end of the step before to its own."""
    rollout: float
    update: float
    groups: tuple[SampledGroup, ...]

    @property
    def hand_over(self) -> float:
        """Where nothing is sampled during an update: all the rest of the step."""
        return self.seconds - self.rollout - self.update


@dataclass(frozen=True, slots=True)
class RecordedRun:
    name: str
    layout: Layout
    steps: tuple[RecordedStep, ...]

    @property
    def median_s(self) -> float:
        return median(step.seconds for step in self.steps)


def read_run(folder: Path, cores: float) -> RecordedRun:
    """A run folder, with its rollouts. `cores`: that its processes had."""
    run = RunDir(folder)
    recipe = load_recipe(run.recipe)
    lines = [line for line in read_lines(run.metrics) if line["stage"] == "train"]
    steps = []
    for before, line in list(pairwise(lines))[WARM_UP - 1 :]:
        rows = read_rollouts(run.rollouts / f"step_{line['step']:06d}.jsonl.zst")
        groups = []
        for _, members in groupby(rows, key=lambda row: row["prompt_id"]):
            of_group = list(members)
            learned = of_group[0]["advantage"] is not None
            groups.append(SampledGroup(tuple(row["num_tokens"] for row in of_group), learned))
        seconds = line["time"] - before["time"]
        steps.append(RecordedStep(seconds, line.get("seconds/rollout", 0.0), line["seconds/update"], tuple(groups)))
    rollout = recipe.rollout
    ranks, ahead = recipe.learner.num_ranks, (rollout.ahead, rollout.partial)
    layout = Layout(rollout.num_workers, rollout.max_num_seqs, ranks, *ahead, cores=cores)
    return RecordedRun(f"{folder.parent.name}/{folder.name}", layout, tuple(steps))


def fit(runs: Sequence[RecordedRun]) -> Costs:
    """Costs that explain the recorded seconds with the least errors.

    The runs sample and learn in turns, with one rank, and one engine that has room for all completions of a step.
    """
    steps = [step for run in runs for step in run.steps]
    vision_and_prefill, decode_step, decode_token = _units(
        [(len(step.groups), max(_lengths(step)), sum(_lengths(step))) for step in steps],
        [step.rollout for step in steps],
    )
    update_prompt, update_token = _units(
        [(sum(group.is_learned for group in step.groups), sum(_lengths(step, learned=True))) for step in steps],
        [step.update for step in steps],
    )
    return Costs(
        vision=0.0,
        prefill=vision_and_prefill,
        decode_step=decode_step,
        decode_token=decode_token,
        update=0.0,
        update_prompt=update_prompt,
        update_token=update_token,
        update_floor=0.0,
        hand_over=median(step.hand_over for step in steps),
    )


def _lengths(step: RecordedStep, *, learned: bool = False) -> list[int]:
    return [length for group in step.groups if group.is_learned or not learned for length in group.lengths]


def _units(counts: Sequence[Sequence[float]], seconds: Sequence[float]) -> list[float]:
    """Seconds per unit of each column, with the least sum of absolute errors: outliers count like any other step."""
    columns, wanted = np.array(counts, dtype=float), np.array(seconds)
    weights = np.ones(len(wanted))
    for _ in range(REWEIGHTINGS):
        found, *_ = np.linalg.lstsq(columns * weights[:, None], wanted * weights, rcond=None)
        weights = np.abs(columns @ found - wanted).clip(1e-3) ** -0.5
    return [float(value) for value in found]
