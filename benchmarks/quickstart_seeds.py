"""What does the quickstart learn, on which seeds, and what would more supervised steps have learned instead?

    python -m benchmarks.quickstart_seeds --seeds 0 1 2 --control 0

Each seed draws its own clips, rows and policy and runs recipes/quickstart.yaml; about eight minutes a seed on two
cores. For the seeds named by --control, the seconds that GRPO took go into further steps of the supervised stage
instead. Finished runs are not run again. Prints tables; the figures go to benchmarks/results/quickstart_seeds.json.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from rft.data.dataset import read_rows
from rft.evaluation.evaluate import MODES, Mode
from rft.recipe.load import load_recipe
from rft.tasks import TASKS

RECIPE = Path("recipes/quickstart.yaml")
RESULTS = Path("benchmarks/results/quickstart_seeds.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--control", type=int, nargs="*", default=[0], help="seeds that are also trained without GRPO")
    parser.add_argument("--folder", type=Path, default=Path("runs/quickstart_seeds"))
    args = parser.parse_args()
    summaries = {seed: run(seed, args.folder) for seed in args.seeds}
    controls = {seed: run_control(seed, args.folder, summaries[seed]) for seed in args.control}
    found = {
        "machine": {"cpu": processor(), "cores": os.cpu_count()},
        "seeds": {str(seed): figures(summary, demonstrated(seed)) for seed, summary in summaries.items()},
        "control": {str(seed): control for seed, control in controls.items()},
    }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    for mode in MODES:
        print(f"\n{mode}\n\n{table(found['seeds'], mode)}")
    for seed, control in found["control"].items():
        print(f"\nseed {seed}, {control['steps']} supervised steps and no GRPO\n")
        print(control_table(found["seeds"][seed], control))


def processor() -> str:
    """The processor's own name, where Linux tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def run(seed: int, folder: Path) -> dict[str, Any]:
    """summary.json of the quickstart under `seed`, with data of its own."""
    run_dir = folder / f"seed_{seed}"
    finish(seed, run_dir, [])
    return summary_of(run_dir)


def run_control(seed: int, folder: Path, summary: dict[str, Any]) -> dict[str, Any]:
    """The cold start, longer by as many steps as fit into the seconds of GRPO, and its held-out values."""
    recipe = load_recipe(RECIPE, [])
    assert recipe.cold_start is not None
    each = summary["seconds"]["cold_start"] / recipe.cold_start.steps
    steps = recipe.cold_start.steps + round(grpo_seconds(summary) / each)
    run_dir = folder / f"control_{seed}"
    finish(seed, run_dir, [f"cold_start.steps={steps}", "steps=1", "learner.warmup_steps=0"])
    return {"steps": steps, "eval": summary_of(run_dir)["eval"]["cold_start"]}


def finish(seed: int, run_dir: Path, overrides: list[str]) -> None:
    """Run it unless it has run."""
    data = data_folder(seed)
    if (run_dir / "summary.json").exists() and "final" in summary_of(run_dir).get("eval", {}):
        return
    if not (data / "policy" / "config.json").exists():
        rft("data", "synthetic", str(data), "--seed", str(seed))
    files = {"train": [f"{data}/train.jsonl"], "eval": [f"{data}/test.jsonl"]}
    rft(
        *("train", str(RECIPE), f"run_dir={run_dir}", f"seed={seed}", f"model={data}/policy"),
        *(f"data={json.dumps(files)}", f"cold_start.data=[{data}/cold_start.jsonl]", *overrides),
    )


def data_folder(seed: int) -> Path:
    return Path(f"data/quickstart_{seed}")


def rft(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "rft", *arguments], check=True)


def summary_of(run_dir: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((run_dir / "summary.json").read_text())
    return summary


def grpo_seconds(summary: dict[str, Any]) -> float:
    return sum(s for name, s in summary["seconds"].items() if name.startswith("grpo/"))


def demonstrated(seed: int) -> dict[str, float]:
    """Task -> main metric of the cold start's own demonstrations: what a perfect imitator would score."""
    values: dict[str, list[float]] = defaultdict(list)
    for row in read_rows([data_folder(seed) / "cold_start.jsonl"], None, list(TASKS)):
        task = TASKS[row.task]
        assert row.demonstration is not None
        values[row.task].append(task.measure(row.demonstration, task.target(row))[task.main_metric])
    return {task: sum(found) / len(found) for task, found in values.items()}


def figures(summary: dict[str, Any], shown: dict[str, float]) -> dict[str, Any]:
    """What the tables show of one run; `shown`: the values of its demonstrations."""
    tasks = {}
    for task, after in summary["eval"]["final"].items():
        metric = TASKS[task].main_metric
        before = summary["eval"]["cold_start"][task]
        tasks[task] = {
            "metric": metric,
            "rows": after["rows"],
            "demonstrations": shown[task],
            "blind": max(values[metric] for values in summary["baselines"][task].values() if metric in values),
            **{
                mode: {
                    "cold_start": before[mode][metric],
                    "final": after[mode][metric],
                    "final_interval": after["intervals"][mode][metric],
                    "change": summary["change"][task][mode][metric],
                }
                for mode in MODES
            },
        }
    return {"tasks": tasks, "seconds": summary["seconds"]}


def table(seeds: dict[str, Any], mode: Mode) -> str:
    lines = [
        "| task | metric | seed | best blind | demonstrations | cold start | GRPO | change, 95 % interval |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for task in TASKS:
        for seed, found in seeds.items():
            if task in found["tasks"]:
                one = found["tasks"][task]
                value, change = one[mode], one[mode]["change"]
                cells = [one["blind"], one["demonstrations"], value["cold_start"], value["final"]]
                numbers = " | ".join(f"{cell:.3f}" for cell in cells)
                interval = f"{change['change']:+.3f} [{change['low']:+.3f}, {change['high']:+.3f}]"
                lines.append(f"| {task} | {one['metric']} | {seed} | {numbers} | {interval} |")
    return "\n".join(lines)


def control_table(seed: dict[str, Any], control: dict[str, Any]) -> str:
    lines = ["| task | metric | mode | cold start | more supervised steps | GRPO |", "|---|---|---|---|---|---|"]
    for task, one in seed["tasks"].items():
        for mode in MODES:
            longer = control["eval"][task][mode][one["metric"]]
            lines.append(
                f"| {task} | {one['metric']} | {mode} | {one[mode]['cold_start']:.3f} | {longer:.3f} "
                f"| {one[mode]['final']:.3f} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
