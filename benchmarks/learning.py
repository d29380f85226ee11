"""Which settings make the quickstart's policy learn, at an equal number of completions and from the same cold start?

    python -m benchmarks.learning --seeds 10 11 12              # runs what has not run, then prints the tables
    python -m benchmarks.learning --seeds 10 --only lr_2e-4 kl  # some cells
    python -m benchmarks.learning --seeds 10 11 12 --tables     # only the tables of what has run

Each seed draws its own clips, rows and policy and takes the quickstart's supervised stage once; each cell then trains
that policy by GRPO under its own settings and answers the *validation* rows, greedy and sampled. A cell takes some five
minutes on one core; finished cells are not run again, a stopped one continues, and several processes may share the
work. Figures go to benchmarks/results/learning.json.
"""

import argparse
import fcntl
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.report import markdown, store
from rft.evaluation.evaluate import MODES, EvalResult, Mode
from rft.evaluation.intervals import bootstrap
from rft.evaluation.predictions import read_result
from rft.tasks import TASKS

RECIPE = Path("recipes/quickstart.yaml")
RESULTS = Path("benchmarks/results/learning.json")

COMPLETIONS = 25_600
"""Of a cell's whole run."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One set of settings."""

    question: str
    """What it is compared for."""
    prompts: int = 16
    """P, groups per step."""
    completions: int = 8
    """G, per prompt."""
    rate: float = 4e-4
    cost: float = 1.0
    """Seconds per completion over those of the base cell, as measured: the steps are fewer by it."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Further keys of the recipe."""

    @property
    def steps(self) -> int:
        return round(COMPLETIONS / (self.prompts * self.completions * self.cost))

    def overrides(self) -> Iterator[str]:
        given = {
            "steps": self.steps,
            "prompts_per_step": self.prompts,
            "sampling.num_generations": self.completions,
            "learner.learning_rate": self.rate,
            "algorithm.loss_type": "dapo",
            "save_every": self.steps,
        }
        yield from (f"{key}={value}" for key, value in (given | self.settings).items())


BASE = "base"
CELLS = {
    BASE: Cell("all others are compared with it: the quickstart's settings"),
    "before": Cell("the settings before this study", prompts=8, rate=5e-4, settings={"algorithm.loss_type": "grpo"}),
    "lr_2e-4": Cell("learning rate", rate=2e-4),
    "lr_8e-4": Cell("learning rate", rate=8e-4),
    "prompts_8": Cell("prompts per step", prompts=8),
    "prompts_32": Cell("prompts per step", prompts=32),
    "group_4": Cell("prompts against completions per prompt", prompts=32, completions=4),
    "group_16": Cell("prompts against completions per prompt", prompts=8, completions=16),
    "loss_grpo": Cell("loss", settings={"algorithm.loss_type": "grpo"}),
    "dr_grpo": Cell("loss", settings={"algorithm.loss_type": "dr_grpo", "algorithm.advantage": "mean_only"}),
    "mean_only": Cell("advantage", settings={"algorithm.advantage": "mean_only"}),
    "task_std": Cell("advantage", settings={"algorithm.advantage": "per_task_running_std"}),
    "kl": Cell("KL to the cold start", settings={"algorithm.beta": 0.02}),
    "ahead": Cell("sampled one step ahead", settings={"rollout.ahead": 1}),
    "mini_batches": Cell("two updates a batch, of half of it each", settings={"algorithm.num_mini_batches": 2}),
    "two_updates": Cell("two updates a batch", settings={"algorithm.num_iterations": 2}),
    "cooler": Cell("temperature", settings={"sampling.temperature": 0.8}),
    "resampled": Cell("other prompts for groups without signal", settings={"algorithm.max_resamples": 8}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[10, 11, 12])
    parser.add_argument("--only", nargs="+", choices=CELLS, default=list(CELLS), metavar="CELL")
    parser.add_argument("--folder", type=Path, default=Path("runs/learning"))
    parser.add_argument("--tables", action="store_true", help="run nothing")
    args = parser.parse_args()
    if not args.tables:
        for name in args.only:
            for seed in args.seeds:
                run_cell(args.folder, seed, name)
    finished = {
        name: {seed: outcome(args.folder, seed, name) for seed in args.seeds if has_run(args.folder, seed, name)}
        for name in args.only
    }
    finished = {name: runs for name, runs in finished.items() if runs}
    report = {name: summary(name, runs, finished.get(BASE, {})) for name, runs in finished.items()}
    store(RESULTS, report)
    for mode in MODES:
        print(f"\n{mode}: change over the cold start, mean over seeds\n\n{table(report, mode)}")


def run_cell(folder: Path, seed: int, name: str) -> None:
    """Train and measure one cell, unless it has run or another process is at it."""
    with only_here(folder / f"seed_{seed}.lock", wait=True):
        start = cold_start(folder, seed)
    run_dir = folder / f"seed_{seed}" / name
    with only_here(run_dir.with_suffix(".lock"), wait=False) as is_free:
        if is_free and not has_run(folder, seed, name):
            # The figures before GRPO are the same in all cells: measured once, taken over.
            (run_dir / "eval").mkdir(parents=True, exist_ok=True)
            shutil.copy(start / "eval" / "cold_start.jsonl.zst", run_dir / "eval")
            train(seed, run_dir, "cold_start=null", *CELLS[name].overrides(), model=start / "cold_start", resume=True)


def cold_start(folder: Path, seed: int) -> Path:
    """Run folder of the supervised stage and its evaluation."""
    run_dir, data = folder / f"seed_{seed}" / "cold_start", data_folder(seed)
    if not (data / "policy" / "config.json").exists():
        rft("data", "synthetic", str(data), "--seed", str(seed))
    if not (run_dir / "checkpoints" / "step_000001").exists():
        shutil.rmtree(run_dir, ignore_errors=True)
        train(seed, run_dir, "steps=1", "learner.warmup_steps=0", model=data / "policy")
    return run_dir


def train(seed: int, run_dir: Path, *overrides: str, model: Path, resume: bool = False) -> None:
    data = data_folder(seed)
    files = {"train": [f"{data}/train.jsonl"], "eval": [f"{data}/validation.jsonl"]}
    rft(
        *("train", str(RECIPE), *(["--resume"] if resume else []), f"run_dir={run_dir}", f"seed={seed}"),
        *(f"model={model}", f"data={json.dumps(files)}", f"cold_start.data=[{data}/cold_start.jsonl]"),
        *(f"video.cache_dir={data}/decoded", "rollout.threads_per_worker=1", *overrides),
    )


def data_folder(seed: int) -> Path:
    return Path(f"data/quickstart_{seed}")


def rft(*arguments: str) -> None:
    # One run per core is faster than one on all cores.
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "rft", *arguments], check=True, env=environment)


@contextmanager
def only_here(path: Path, wait: bool) -> Iterator[bool]:
    """Whether no other process holds the lock `path`; with `wait`, once none does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


def has_run(folder: Path, seed: int, name: str) -> bool:
    path = folder / f"seed_{seed}" / name / "summary.json"
    return path.exists() and "change" in json.loads(path.read_text())


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one cell made of one seed's cold start."""

    before: EvalResult
    after: EvalResult
    seconds: float
    """Of rollouts, updates and hand-over."""
    rewards: dict[str, list[float]]
    """"train": mean reward of each tenth of the steps; "entropy": likewise."""


def outcome(folder: Path, seed: int, name: str) -> Outcome:
    run_dir = folder / f"seed_{seed}" / name
    seconds = json.loads((run_dir / "summary.json").read_text())["seconds"]
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if line.get("stage") == "train" and "reward" in line]
    return Outcome(
        read_result(run_dir / "eval" / "cold_start.jsonl.zst"),
        read_result(run_dir / "eval" / "final.jsonl.zst"),
        sum(s for phase, s in seconds.items() if phase in {f"grpo/{p}" for p in ("rollout", "update", "weights")}),
        {key: tenths([line[key] for line in steps]) for key in ("reward", "entropy")},
    )


def tenths(values: Sequence[float]) -> list[float]:
    edges = [round(len(values) * i / 10) for i in range(11)]
    return [round(fmean(values[a:b]), 4) for a, b in itertools.pairwise(edges) if b > a]


def summary(name: str, runs: Mapping[int, Outcome], base: Mapping[int, Outcome]) -> dict[str, Any]:
    """What the tables show of a cell: per task and mode the change over the cold start and over the base cell."""
    shared = [seed for seed in runs if seed in base]
    over_cold = [(run.before, run.after) for run in runs.values()]
    over_base = [(base[seed].after, runs[seed].after) for seed in shared]
    return {
        "settings": asdict(CELLS[name]) | {"steps": CELLS[name].steps},
        "seeds": list(runs),
        "seconds": round(fmean(run.seconds for run in runs.values()), 1),
        "change": {mode: changes_over_seeds(over_cold, mode) for mode in MODES},
        "over_base": {mode: changes_over_seeds(over_base, mode) for mode in MODES} if shared and name != BASE else {},
        "curves": {seed: run.rewards for seed, run in runs.items()},
    }


def changes_over_seeds(pairs: Sequence[tuple[EvalResult, EvalResult]], mode: Mode) -> dict[str, dict[str, float]]:
    """Set of rows -> mean of after minus before over the rows of all pairs, with its interval and the worst pair's.

    In each set's main metric; "mean": over the sets, which count alike.
    """
    found: dict[str, dict[str, float]] = {}
    everywhere: list[dict[str, float]] = []
    sets = pairs[0][1].sets
    for name, rows in sets.items():
        metric = TASKS[rows.task].main_metric
        of_seeds = [
            [last[row][metric] - first[row][metric] for row in last]
            for before, after in pairs
            for first, last in [(before.rows(name, mode), after.rows(name, mode))]
        ]
        changes = [change for of_seed in of_seeds for change in of_seed]
        found[name] = mean_change([{"change": change} for change in changes]) | {
            "worst_seed": min(map(fmean, of_seeds))
        }
        # So that the mean over all rows is the mean over the sets.
        everywhere += [{"change": change / len(changes)} for change in changes]
    share = len(everywhere) / len(sets)
    return found | {"mean": mean_change([{"change": row["change"] * share} for row in everywhere])}


def mean_change(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """{"change", "low", "high"}."""
    estimate = bootstrap(rows, seed=0)["change"]
    return {"change": estimate.value, "low": estimate.low, "high": estimate.high}


def table(report: Mapping[str, Any], mode: Mode) -> str:
    tasks = [task for task in TASKS if any(task in cell["change"][mode] for cell in report.values())]
    lines = [["cell", "seeds", "seconds", "mean", *tasks, "against base"]]
    for name, cell in sorted(report.items(), key=lambda item: -item[1]["change"][mode]["mean"]["change"]):
        change = cell["change"][mode]
        parts = [with_interval(change[task]) for task in tasks]
        against = with_interval(cell["over_base"][mode]["mean"]) if cell["over_base"] else ""
        cells = [name, str(len(cell["seeds"])), f"{cell['seconds']:.0f}", f"{change['mean']['change']:+.3f}"]
        lines.append([*cells, *parts, against])
    return markdown(lines)


def with_interval(change: Mapping[str, float]) -> str:
    return f"{change['change']:+.3f} [{change['low']:+.3f}, {change['high']:+.3f}]"


if __name__ == "__main__":
    main()
