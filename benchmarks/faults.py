"""Does a run that was killed, stopped or hung end up where the undisturbed run does, bit for bit?

    python -m benchmarks.faults                                # tries what has not been tried, then prints the table
    python -m benchmarks.faults --only "kill run" --ahead 1    # some of it
    python -m benchmarks.faults --seeds 0 1 2 3 4              # other moments
    python -m benchmarks.faults --tables                       # only the table of what has been tried

Every fault is injected into `rft train` on a tiny policy, ten steps on the CPU, at each place of a step and at moments
that differ by seed. Where the run does not get over it by itself, `rft train --resume` continues. Metrics, stored
rollouts, evaluations, policy and optimizer are compared with those of a run that nothing disturbed; with `--ahead 2`,
which has `rollout.partial`, the prompts of each step, as no two such runs are equal. A try takes one to two minutes on
two idle cores. Figures go to benchmarks/results/faults.json.
"""

import argparse
import json
import shutil
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.compared_runs import (
    RunSettings,
    differences,
    end_of,
    prompt_differences,
    train_command,
    undisturbed,
)
from benchmarks.fault_injection import FAULTS, PLACES, Try
from benchmarks.report import store
from rft.runs.run_dir import RunDir
from rft.tables import TextTable, plain

RESULTS = Path("benchmarks/results/faults.json")
STEPS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/faults"))
    parser.add_argument("--only", nargs="+", choices=FAULTS, default=list(FAULTS), help="faults")
    parser.add_argument("--places", nargs="+", choices=PLACES, default=list(PLACES))
    parser.add_argument("--ahead", type=int, nargs="+", choices=(0, 1, 2), default=[0, 1])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the moments")
    parser.add_argument("--tables", action="store_true", help="try nothing")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    wanted = [Try(f, p, a, s) for s in args.seeds for a in args.ahead for f in args.only for p in args.places]
    for each in () if args.tables else wanted:
        stored = args.folder / f"{each.name}.result.json"
        if can_be_tried(each) and not stored.exists():
            outcome = asdict(each) | attempt(args.folder, each)
            stored.write_text(json.dumps(outcome))
            print(json.dumps(outcome), flush=True)
    tried = [json.loads(path.read_text()) for path in sorted(args.folder.glob("*.result.json"))]
    store(RESULTS, tried)
    print(plain(table(tried)))


def can_be_tried(each: Try) -> bool:
    """Before the steps nothing is sampled ahead."""
    return each.place != "cold start" or each.ahead == 0


def attempt(folder: Path, each: Try) -> dict[str, Any]:
    """How a run with this fault ended, and in what it differs from the undisturbed one."""
    settings = RunSettings(STEPS, each.ahead, has_cold_start=each.place == "cold start")
    expected, run = undisturbed(folder, settings), RunDir(folder / each.name)
    shutil.rmtree(run.path, ignore_errors=True)
    train, struck = train_command(folder, settings, run), folder / f"{each.name}.struck"
    first = end_of(each.command(struck, train), struck)
    stopped_at = run.latest_checkpoint()
    outcome: dict[str, Any] = {
        "status": first.status,
        "seconds": round(first.after_s, 1),
        "checkpoint": stopped_at.name if stopped_at else None,
        "left": first.left,
        "said": first.printed[-1000:],
    }
    if not struck.exists():
        return outcome | {"differs": ["the fault did not strike"]}
    if first.status != 0:
        resumed = end_of([sys.executable, "-m", "rft", *train, "--resume"])
        outcome |= {"resumed": resumed.status, "left": first.left + resumed.left}
        if resumed.status:
            return outcome | {"said": resumed.printed[-1000:], "differs": ["not finished"]}
    outcome["differs"] = (prompt_differences if each.ahead > 1 else differences)(run, expected, STEPS)
    if not outcome["differs"]:
        shutil.rmtree(run.path)
    return outcome


def table(tried: Sequence[Mapping[str, Any]]) -> TextTable:
    """A row per fault and setting of `rollout.ahead`: how often it was tried, and how often the run was the same."""
    of: defaultdict[tuple[str, int], list[Mapping[str, Any]]] = defaultdict(list)
    for each in tried:
        of[each["fault"], each["ahead"]].append(each)
    columns = ("fault", "ahead", "while", "tries", "same run", "went on", "exit status", "longest (s)", "left behind")
    return TextTable(
        "Faults in a run, and whether it ends as the undisturbed one",
        columns,
        tuple(
            (
                fault,
                str(ahead),
                ", ".join(place for place in PLACES if any(each["place"] == place for each in tries)),
                str(len(tries)),
                str(sum(not each["differs"] for each in tries)),
                str(sum(each["status"] == 0 for each in tries)),
                ", ".join(sorted({"hangs" if each["status"] is None else str(each["status"]) for each in tries})),
                f"{max(each['seconds'] for each in tries):.0f}",
                ", ".join(sorted({name for each in tries for name in each["left"]})) or "nothing",
            )
            for (fault, ahead), tries in of.items()
        ),
        "longest: from the fault to the end of that command. went on: without --resume.",
    )


if __name__ == "__main__":
    main()
