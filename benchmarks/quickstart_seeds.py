"""What does the quickstart learn beyond its cold start, against supervision of equal seconds, and out of domain?

    python -m benchmarks.quickstart_seeds --seeds 20 21 22            # runs what has not run, then prints the tables
    python -m benchmarks.quickstart_seeds --seeds 20 --arms grpo      # some of it
    python -m benchmarks.quickstart_seeds --seeds 20 21 22 --tables   # only the tables of what has run

Each seed draws its own clips, rows and initial policy. All arms start from the same cold start, or take its
demonstrations, and answer the same held-out rows: the test rows, and as many about clips drawn otherwise. A seed with
all arms takes about half an hour on two cores; finished runs are not run again. Figures go to
benchmarks/results/quickstart_seeds.json.
"""

import argparse
import json
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.learning import RECIPE, changes_over_seeds, rft
from benchmarks.report import markdown, processor, store
from rft.data.dataset import read_rows
from rft.evaluation.evaluate import MODES, EvalResult, Mode
from rft.evaluation.predictions import read_result
from rft.recipe.load import load_recipe
from rft.tasks import TASKS

RESULTS = Path("benchmarks/results/quickstart_seeds.json")
OOD = "drawn_otherwise"
"""Data set name of the rows out of domain."""

COLD_START, GRPO, MORE_SUPERVISION = "cold_start", "grpo", "more_supervision"
TRUE_TARGETS, GROUNDING_ONLY, GROUNDING_ONLY_KL = "true_targets", "grounding_only", "grounding_only_kl"
GROUNDING = "temporal_grounding"
KL = 0.04
"""algorithm.beta of the arm with KL; VideoChat-R1's."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[20, 21, 22])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--folder", type=Path, default=Path("runs/quickstart_seeds"))
    parser.add_argument("--tables", action="store_true", help="run nothing")
    args = parser.parse_args()
    if not args.tables:
        for seed in args.seeds:
            for arm in args.arms:
                run(Seed(args.folder, seed), arm)
    seeds = [Seed(args.folder, seed) for seed in args.seeds]
    report = summary([seed for seed in seeds if seed.has_run(GRPO)])
    store(RESULTS, report)
    for title, text in tables(report):
        print(f"\n{title}\n\n{text}")


class Seed:
    """Data and run folders of one seed."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.seed, self.data, self.folder = seed, Path(f"data/quickstart_{seed}"), folder / f"seed_{seed}"

    def run_dir(self, arm: str) -> Path:
        return self.folder / arm

    def summary(self, arm: str) -> dict[str, Any]:
        path = self.run_dir(arm) / "summary.json"
        found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return found

    def has_run(self, arm: str) -> bool:
        return "final" in self.summary(arm).get("eval", {})

    @property
    def cold_start(self) -> Path:
        """The model that GRPO starts from."""
        return self.run_dir(GRPO) / "cold_start"

    def result(self, arm: str) -> EvalResult:
        name = "cold_start" if arm == COLD_START else "final"
        return read_result(self.run_dir(GRPO if arm == COLD_START else arm) / "eval" / f"{name}.jsonl.zst")

    def equal_steps(self) -> int:
        """Supervised steps that take as many seconds as this seed's GRPO."""
        seconds = self.summary(GRPO)["seconds"]
        return round(grpo_seconds(seconds) / seconds["cold_start"] * cold_steps())


def grpo_seconds(seconds: Mapping[str, float]) -> float:
    return sum(s for name, s in seconds.items() if name.startswith("grpo/"))


def cold_steps() -> int:
    cold = load_recipe(RECIPE, []).cold_start
    assert cold is not None
    return cold.steps


def run(seed: Seed, arm: str) -> None:
    """Train and measure one arm, unless it has run."""
    if seed.has_run(arm):
        return
    if not (seed.data / "held_out.jsonl").exists():
        rft("data", "synthetic", str(seed.data), "--seed", str(seed.seed))
        write_rows(seed.data)
    if arm != GRPO:
        # Measured already, and the same for all arms; the run takes its own measurement from here.
        evals = seed.run_dir(arm) / "eval"
        evals.mkdir(parents=True, exist_ok=True)
        for name in ("base", "cold_start"):
            shutil.copy(seed.run_dir(GRPO) / "eval" / "cold_start.jsonl.zst", evals / f"{name}.jsonl.zst")
    train(seed, arm, ARMS[arm](seed))


def write_rows(data: Path) -> None:
    """held_out.jsonl: the test rows and those out of domain, which name their data set; and the grounding rows."""
    otherwise = [json.loads(line) | {"dataset": OOD} for line in (data / "test_ood.jsonl").read_text().splitlines()]
    rows = [json.loads(line) for line in (data / "train.jsonl").read_text().splitlines()]
    grounding = [row for row in rows if row["task"] == GROUNDING]
    (data / "train_grounding.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in grounding))
    held_out = (data / "test.jsonl").read_text() + "".join(f"{json.dumps(row)}\n" for row in otherwise)
    (data / "held_out.jsonl").write_text(held_out)


def train(seed: Seed, arm: str, overrides: Mapping[str, Any]) -> None:
    given = {
        "run_dir": seed.run_dir(arm),
        "seed": seed.seed,
        "data": rows(seed, "train"),
        "video.cache_dir": f"{seed.data}/decoded",
    }
    rft("train", str(RECIPE), "--resume", *(f"{key}={value}" for key, value in (given | dict(overrides)).items()))


def rows(seed: Seed, train: str) -> str:
    """The recipe's `data`."""
    return json.dumps({"train": [f"{seed.data}/{train}.jsonl"], "eval": [f"{seed.data}/held_out.jsonl"]})


def from_scratch(seed: Seed) -> dict[str, Any]:
    return {"model": f"{seed.data}/policy", "cold_start.data": f"[{seed.data}/cold_start.jsonl]"}


def grounding_only(seed: Seed) -> dict[str, Any]:
    return {"model": seed.cold_start, "cold_start": "null", "data": rows(seed, "train_grounding")}


ARMS: dict[str, Callable[[Seed], dict[str, Any]]] = {
    GRPO: from_scratch,
    MORE_SUPERVISION: lambda seed: (
        from_scratch(seed) | {"steps": 0, "cold_start.steps": cold_steps() + seed.equal_steps()}
    ),
    TRUE_TARGETS: lambda seed: {
        "steps": 0,
        "model": seed.cold_start,
        "cold_start.data": f"[{seed.data}/true_demonstrations.jsonl]",
        "cold_start.steps": seed.equal_steps(),
    },
    GROUNDING_ONLY: grounding_only,
    GROUNDING_ONLY_KL: lambda seed: grounding_only(seed) | {"algorithm.beta": KL},
}
"""Name -> keys of the recipe that differ from the quickstart's; GRPO first, whose cold start the others share."""


def summary(seeds: Sequence[Seed]) -> dict[str, Any]:
    """What the tables show: by arm the mean values over seeds, and changes over the cold start and to GRPO."""
    arms = [arm for arm in ARMS if all(seed.has_run(arm) for seed in seeds)]
    results = {arm: [seed.result(arm) for seed in seeds] for arm in (COLD_START, *arms)}

    def compared(before: str, after: str) -> dict[str, Any]:
        pairs = list(zip(results[before], results[after], strict=True))
        return {mode: changes_over_seeds(pairs, mode) for mode in MODES}

    return {
        "machine": {"cpu": processor(), "cores": os.cpu_count()},
        "seeds": [seed.seed for seed in seeds],
        "seconds": {arm: [seed.summary(arm)["seconds"] for seed in seeds] for arm in arms},
        "blind": blind([seed.summary(GRPO)["baselines"] for seed in seeds]),
        "demonstrations": mean_by_task([demonstrated(seed.data) for seed in seeds]),
        "values": {arm: {mode: mean_values(of_arm, mode) for mode in MODES} for arm, of_arm in results.items()},
        "over_cold_start": {arm: compared(COLD_START, arm) for arm in arms},
        "grpo_over": {arm: compared(arm, GRPO) for arm in arms if arm in (MORE_SUPERVISION, TRUE_TARGETS)},
    }


def mean_values(results: Sequence[EvalResult], mode: Mode) -> dict[str, float]:
    """Set of rows -> its main metric, mean over seeds."""
    return {
        name: fmean(result.estimates(name, mode)[TASKS[rows.task].main_metric].value for result in results)
        for name, rows in results[0].sets.items()
    }


def blind(baselines: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Set of rows -> value of the best answer that never looks at the clip, mean over seeds."""
    metrics = {name: TASKS[task_of(name)].main_metric for name in baselines[0]}
    return {
        name: fmean(max(v[metric] for v in of_seed[name].values() if metric in v) for of_seed in baselines)
        for name, metric in metrics.items()
    }


def task_of(name: str) -> str:
    """The task of a set of rows, from its name: "task" or "data set (task)"."""
    return name.partition("(")[2].removesuffix(")") or name


def mean_by_task(values: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {task: fmean(of_seed[task] for of_seed in values) for task in values[0]}


def demonstrated(data: Path) -> dict[str, float]:
    """Task -> main metric of the cold start's own demonstrations: what a perfect imitator would score."""
    values: dict[str, list[float]] = defaultdict(list)
    for row in read_rows([data / "cold_start.jsonl"], None, list(TASKS)):
        task = TASKS[row.task]
        assert row.demonstration is not None
        values[row.task].append(task.measure(row.demonstration, task.target(row))[task.main_metric])
    return {task: fmean(found) for task, found in values.items()}


def tables(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(title, Markdown) of each table whose arms have run."""
    sets = list(report["values"][COLD_START]["greedy"])
    seen, otherwise = [name for name in sets if OOD not in name], [name for name in sets if OOD in name]
    found = [("Held-out clips of the training's kind", arms_table(report, seen))]
    found.append(("Held-out clips drawn otherwise", arms_table(report, otherwise)))
    if GROUNDING_ONLY in report["values"]:
        found.append(("GRPO on temporal grounding alone: change over the cold start", forgetting_table(report, seen)))
    return found


def arms_table(report: Mapping[str, Any], sets: Sequence[str]) -> str:
    arms = [arm for arm in (COLD_START, MORE_SUPERVISION, TRUE_TARGETS, GRPO) if arm in report["values"]]
    header = ["task", "answers", "best baseline", *(arm.replace("_", " ") for arm in arms), "GRPO - cold start"]
    header += [f"GRPO - {arm.replace('_', ' ')}" for arm in report["grpo_over"]]
    lines = [header]
    for name in sets:
        for mode in MODES:
            values = [report["values"][arm][mode][name] for arm in arms]
            numbers = [f"{value:.3f}" for value in (report["blind"][name], *values)]
            over = [report["over_cold_start"][GRPO], *report["grpo_over"].values()]
            lines.append([task_of(name), mode, *numbers, *(signed(change[mode][name]) for change in over)])
    return markdown(lines)


def forgetting_table(report: Mapping[str, Any], sets: Sequence[str]) -> str:
    arms = [arm for arm in (GROUNDING_ONLY, GROUNDING_ONLY_KL) if arm in report["over_cold_start"]]
    lines = [["task", "answers", *(f"KL {KL}" if arm == GROUNDING_ONLY_KL else "without KL" for arm in arms)]]
    for name in sets:
        for mode in MODES:
            changes = [signed(report["over_cold_start"][arm][mode][name]) for arm in arms]
            lines.append([task_of(name), mode, *changes])
    return markdown(lines)


def signed(change: Mapping[str, float]) -> str:
    """Mean over seeds, its 95 % interval, and the worst seed's."""
    return f"{change['change']:+.3f} [{change['low']:+.3f}, {change['high']:+.3f}], worst {change['worst_seed']:+.3f}"


if __name__ == "__main__":
    main()
