"""Which groups of a run a page shows, out of all: the best, the worst, the most spread and those at fault."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

from jinja2.utils import htmlsafe_json_dumps

from rft.commands.report.groups import Record, faults, group_form
from rft.runs.rollout_files import read_rollouts
from rft.runs.run_dir import RunDir

NUM_STRETCHES = 24
"""Stretches of steps, equally long, that groups are chosen from."""

NUM_WHOLE = 300
"""A run of at most so many groups is shown whole."""

MAX_BYTES = 5 << 20
"""Most bytes of text that a page holds of its groups."""

NUM_BARS = 24
"""Bars of the histogram of rewards."""

KINDS = ("most spread", "best", "worst", "fault")
"""Why a group is shown, in the order in which room is given to them."""


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """What decides whether a group is shown."""

    step: int
    place: int
    """Number of the group in its file, from 0."""
    task: str
    rewards: tuple[float, ...]
    num_faults: int

    def rank(self, kind: str) -> float:
        """How much a group is of a kind; nothing of it: below or at 0 for "most spread" and "fault"."""
        if kind == "fault":
            return self.num_faults
        mean = fmean(self.rewards)
        if kind == "most spread":
            # Of equal rewards exactly 0, which their distance from a rounded mean need not be.
            return fmean([(r - mean) ** 2 for r in self.rewards]) if min(self.rewards) < max(self.rewards) else 0.0
        return mean if kind == "best" else -mean


def step_files(run: RunDir) -> list[Path]:
    """The files of rollouts, step by step."""
    return sorted(run.rollouts.glob("step_*.jsonl.zst"))


def groups_in(path: Path) -> Iterator[list[Record]]:
    """The records of a file, group by group."""
    for _, records in groupby(read_rollouts(path), key=lambda record: (record["task"], record["prompt_id"])):
        yield list(records)


def facts_of(path: Path) -> tuple[GroupFacts, ...]:
    """Facts of the groups of a file; read once for as long as the file does not change."""
    return _facts(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=1 << 14)
def _facts(path: Path, changed: int) -> tuple[GroupFacts, ...]:
    return tuple(
        GroupFacts(
            records[0]["step"],
            place,
            records[0]["task"],
            tuple(record["reward"] for record in records),
            sum(bool(faults(record)) for record in records),
        )
        for place, records in enumerate(groups_in(path))
    )


def chosen(facts: Iterable[GroupFacts]) -> dict[tuple[int, int], list[str]]:
    """(step, place) of each chosen group -> its kinds, in the order of their importance.

    Of each task and stretch of steps, the group that is most of each kind; the others too, where they are few.
    """
    stretches: dict[tuple[str, int], list[GroupFacts]] = defaultdict(list)
    facts = list(facts)
    steps = sorted({group.step for group in facts})
    number = {step: i * NUM_STRETCHES // max(len(steps), NUM_STRETCHES) for i, step in enumerate(steps)}
    for group in facts:
        stretches[group.task, number[group.step]].append(group)
    kinds: dict[tuple[int, int], list[str]] = {}
    for kind in KINDS:
        # From the last stretch to the first: where room is short, what the policy does now is worth more.
        for _, groups in sorted(stretches.items(), key=lambda item: -item[0][1]):
            most = max(groups, key=lambda group: (group.rank(kind), group.step))
            if kind in ("best", "worst") or most.rank(kind) > 0:
                kinds.setdefault((most.step, most.place), []).append(kind)
    if len(facts) <= NUM_WHOLE:
        for group in facts:
            kinds.setdefault((group.step, group.place), [])
    return kinds


def chosen_groups(run: RunDir) -> dict[str, Any]:
    """The groups of a page as JSON: {"groups", "num_groups", "num_rollouts", "num_steps", "steps", "histogram"}.

    At most MAX_BYTES of text, the most important ones first, then put in order of their steps.
    """
    files = {int(path.name[5:].partition(".")[0]): path for path in step_files(run)}
    facts = [group for path in files.values() for group in facts_of(path)]
    kinds = chosen(facts)
    by_step: dict[int, set[int]] = defaultdict(set)
    for step, place in kinds:
        by_step[step].add(place)
    forms = {
        (step, place): group_form(records) | {"kinds": kinds[step, place], "place": place}
        for step, places in by_step.items()
        for place, records in enumerate(groups_in(files[step]))
        if place in places
    }
    room, kept = MAX_BYTES, []
    for key in kinds:
        room -= len(htmlsafe_json_dumps(forms[key]))
        if room > 0:
            kept.append(forms[key])
    return {
        "groups": sorted(kept, key=lambda form: (form["step"], form["place"])),
        "num_groups": len(facts),
        "num_rollouts": sum(len(group.rewards) for group in facts),
        "num_steps": len(files),
        "steps": sorted(files),
        "histogram": histogram(facts),
    }


def histogram(facts: Sequence[GroupFacts]) -> dict[str, Any]:
    """How many rollouts earned how much: {"low", "high", "steps", "tasks": {task: counts [steps, NUM_BARS]}}.

    Steps are joined so that there are at most 200; each is named by its last.
    """
    rewards = [reward for group in facts for reward in group.rewards]
    low, high = (min(rewards), max(rewards)) if rewards else (0.0, 1.0)
    width = (high - low) / NUM_BARS or 1.0
    steps = sorted({group.step for group in facts})
    joined = -(-len(steps) // 200) or 1
    row = {step: i // joined for i, step in enumerate(steps)}
    counts: dict[str, Counter[tuple[int, int]]] = defaultdict(Counter)
    for group in facts:
        counts[group.task].update((row[group.step], min(NUM_BARS - 1, int((r - low) / width))) for r in group.rewards)
    num_rows = len(set(row.values()))
    return {
        "low": low,
        "high": high,
        "steps": [max(step for step in steps if row[step] == i) for i in range(num_rows)],
        "tasks": {
            task: [[of_task[i, bar] for bar in range(NUM_BARS)] for i in range(num_rows)]
            for task, of_task in sorted(counts.items())
        },
    }
