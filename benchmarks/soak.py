"""Does a run that meets a random fault every half minute leak, and does it end with the same weights?

    python -m benchmarks.soak --steps 2000 --every 30      # about an hour on two idle cores
    python -m benchmarks.soak --steps 40 --every 20        # minutes

The tiny run of benchmarks/faults.py, longer: engines and learner are killed and hung, the run is killed and stopped.
`--resume` continues it where it ended, until all steps are done. Memory, open files, shared memory and temporary files
of all its processes are noted every few seconds. An undisturbed run comes first. Figures go to
benchmarks/results/soak.json.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import psutil  # type: ignore[import-untyped]

from benchmarks.compared_runs import RunSettings, differences, end_processes_of, train_command, undisturbed
from benchmarks.fault_injection import FAULTS, Fault, strike
from benchmarks.report import store
from rft.runs.run_dir import RunDir
from rft.tables import TextTable, plain

RESULTS = Path("benchmarks/results/soak.json")
SAMPLE_EVERY_S = 5.0
MOST_STARTS_PER_FAULT = 3
"""On a busy machine Ray does not always start at once."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What the processes of a run hold at one time."""

    at_s: float
    processes: int
    memory_mib: float
    """Resident, the parts that they share counted once per process."""
    open_files: int
    shared_mib: float
    """In /dev/shm, of all programs."""
    temporary_files: int


@dataclass(frozen=True, slots=True)
class Soak:
    """A run under faults."""

    samples: tuple[Sample, ...]
    faults: Counter[str]
    num_resumes: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/soak"))
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--every", type=float, default=30.0, help="seconds between two faults")
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    settings = RunSettings(args.steps, stall_timeout_s=90.0, max_restarts=args.steps)
    expected, run = undisturbed(args.folder, settings), RunDir(args.folder / "soaked")
    shutil.rmtree(run.path, ignore_errors=True)
    command = [sys.executable, "-m", "rft", *train_command(args.folder, settings, run), "--resume"]
    soak = under_faults(command, args.every, random.Random(args.seed))
    unequal = differences(run, expected, args.steps)
    found = {"faults": soak.faults, "resumes": soak.num_resumes, "differs": unequal}
    store(RESULTS, found | {"samples": [asdict(each) for each in soak.samples]})
    print(plain(table(soak)))
    print(f"differs from the undisturbed run in: {', '.join(unequal) or 'nothing'}")


def under_faults(command: Sequence[str], every_s: float, draw: random.Random) -> Soak:
    """Run `command` with a fault every `every_s` seconds, again whenever it ends by one, until it ends by itself."""
    samples: list[Sample] = []
    faults: Counter[str] = Counter()
    num_starts, began, coming = 0, time.monotonic(), in_turn(draw)
    next_fault_s = every_s
    with tempfile.TemporaryDirectory(prefix="f-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        status: int | None = None
        while status != 0:
            if num_starts > MOST_STARTS_PER_FAULT * (faults.total() + 1):
                raise RuntimeError(f"{' '.join(command)}: ends with status {status} without a fault")
            num_starts += 1
            process = subprocess.Popen(
                command,
                stdout=subprocess.DEVNULL,
                env=os.environ | {"TMPDIR": folder},
                start_new_session=True,
            )
            while (status := wait(process, SAMPLE_EVERY_S)) is None:
                at_s = time.monotonic() - began
                samples.append(sample(psutil.Process(process.pid), Path(folder), at_s))
                if at_s >= next_fault_s:
                    fault = next(coming)
                    faults[fault.name] += strike(fault, psutil.Process(process.pid)) > 0
                    next_fault_s = at_s + every_s
            end_processes_of(Path(folder))
    return Soak(tuple(samples), faults, num_starts - 1)


def in_turn(draw: random.Random) -> Iterator[Fault]:
    """Without end: every fault once, then all of them again in another order."""
    while True:
        yield from draw.sample(list(FAULTS.values()), len(FAULTS))


def wait(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """Its exit status; None: it runs on."""
    with suppress(subprocess.TimeoutExpired):
        return process.wait(seconds)
    return None


def sample(driver: psutil.Process, temporary: Path, at_s: float) -> Sample:
    family = [driver, *driver.children(recursive=True)]
    shared = sum(path.stat().st_size for path in files_below(Path("/dev/shm")))
    return Sample(
        at_s=round(at_s, 1),
        processes=len(family),
        memory_mib=sum(held(process, lambda p: p.memory_info().rss) for process in family) / 2**20,
        open_files=sum(held(process, lambda p: p.num_fds()) for process in family),
        shared_mib=shared / 2**20,
        temporary_files=sum(1 for _ in files_below(temporary)),
    )


def held(process: psutil.Process, number: Callable[[psutil.Process], float]) -> float:
    """A number of a process; 0 where it has ended meanwhile."""
    with suppress(psutil.Error):
        return number(process)
    return 0.0


def files_below(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def table(soak: Soak) -> TextTable:
    """Medians of each quarter of the time: what leaks grows from one to the next."""
    size = max(1, -(-len(soak.samples) // 4))
    quarters = [soak.samples[start : start + size] for start in range(0, len(soak.samples), size)]
    names = ("processes", "memory_mib", "open_files", "shared_mib", "temporary_files")
    return TextTable(
        f"{soak.faults.total()} faults, {soak.num_resumes} resumes",
        ("until (s)", *names),
        tuple(
            (f"{part[-1].at_s:.0f}", *(f"{median(getattr(each, name) for each in part):.0f}" for name in names))
            for part in quarters
        ),
        ", ".join(f"{name}: {number}" for name, number in sorted(soak.faults.items())),
    )


if __name__ == "__main__":
    main()
