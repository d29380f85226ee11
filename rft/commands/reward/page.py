"""What `rft reward` prints: plain text of at most 100 columns."""

from collections.abc import Iterable, Sequence
from textwrap import wrap

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rft.commands.reward.figures import (
    NUM_BINS,
    Line,
    Side,
    faults_of,
    histogram,
    lines_of,
    notable,
    slowest,
)
from rft.commands.reward.trial import ITSELF, Trial
from rft.errors import shortened
from rft.tasks import TASKS

WIDTH = 100
BAR = 12
MOST_BARS = 4
TEXT = "end of the text"
"""Title of the column with ends of completions."""


def drawn(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """A table under its title, the caption below it; where it would be too wide, cells wrap, beside a text the last."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=TEXT in columns[:-1] and column != columns[-1])
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console(width=WIDTH, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(table)
    lines = [line.rstrip() for line in captured.get().splitlines()]
    return "\n".join([*wrap(title, WIDTH), *lines, *wrap(caption, WIDTH)])


def number(value: float | None, form: str = ".3f") -> str:
    # Rounded, so that rounding errors get no sign.
    return "-" if value is None or value != value else format(round(value, 9) + 0.0, form)


def end_of(text: str, most: int = 46) -> str:
    """The end of a completion, where the answer is, in ASCII: one line of at most `most` characters."""
    line = ascii(" ".join(text[-4 * most :].split()))[1:-1]
    return line if len(line) <= most else f"...{line[3 - most :]}"


def trial_page(task: str, trials: Sequence[Trial], side: Side, num_groups: int, source: str) -> str:
    """Everything about the tried rewards on one task."""
    taken = (
        f"{len(side.groups):,} of {num_groups:,} groups" if len(side.groups) < num_groups else f"{num_groups:,} groups"
    )
    parts = [
        _lines_table(f"{task}: {len(side.metric):,} completions in {taken} of {source}", task, trials, side),
        _histogram_table(trials, side),
        *_blind_tables(task, trials, side),
    ]
    for trial in trials:
        parts.append(_slowest_table(trial))
        parts.append(_notable_table(trial, side, task))
    return "\n\n".join(parts)


def _lines_table(title: str, task: str, trials: Sequence[Trial], side: Side) -> str:
    def cells(line: Line) -> tuple[str, ...]:
        shares = (number(line.zero, ".1%"), number(line.spread, ".1%"))
        ms = number(line.ms, ".2f")
        correlations = (number(value, "+.2f") for value in (line.agrees, line.metric, line.length))
        return (line.name, number(line.mean), *shares, number(line.best), *correlations, ms)

    metric = TASKS[task].main_metric
    caption = [
        "zero: share of values that are 0. spread: share of groups whose values differ; others teach nothing.",
        f"best: mean {metric} of the completions it values most in their group.",
        f"agrees: Kendall's tau with {side.yardstick_name(task)} within groups. metric, length: Spearman's correlation",
        f"with {metric} and with the number of tokens. ms: milliseconds per completion.",
    ]
    for trial in trials:
        faults = ", ".join(f"{number} {kind}" for kind, number in faults_of(trial).items())
        if faults:
            caption.append(f"{trial.name}: {faults}.")
        if trial.stopped:
            caption.append(f"{trial.name}: stopped after {len(trial.judged)} completions: {trial.stopped}.")
    columns = ("reward", "mean", "zero", "spread", "best", "agrees", "metric", "length", "ms")
    return drawn(title, columns, map(cells, lines_of(task, trials, side)), " ".join(caption))


def _histogram_table(trials: Sequence[Trial], side: Side) -> str:
    of_run = {f"run: {name}": values for name, values in side.of_run.items() if name != "reward"}
    shown = dict([*((trial.name, trial.values) for trial in trials), *of_run.items()][:MOST_BARS])
    counts = [histogram(values) for values in shown.values()]

    def bar(of_reward: Sequence[int], i: int) -> str:
        return f"{'#' * round(BAR * of_reward[i] / max(1, *of_reward)):<{BAR}} {of_reward[i]:,}"

    rows = [
        (f"{i / NUM_BINS:.1f} to {(i + 1) / NUM_BINS:.1f}", *(bar(one, i) for one in counts)) for i in range(NUM_BINS)
    ]
    return drawn("Values", ("value", *shown), rows)


def _blind_tables(task: str, trials: Sequence[Trial], side: Side) -> list[str]:
    tried = [trial for trial in trials if trial.blind]
    if not tried:
        return []
    first, metric = tried[0].blind, TASKS[task].main_metric
    rows = [
        (
            "the stored completions",
            *(number(float(np.nanmean(t.values))) for t in tried),
            number(float(side.metric.mean())),
        )
    ]
    rows += [(name, *(number(t.blind[name][0]) for t in tried), number(first[name][1])) for name in first]
    caption = [
        f"{trial.name} pays {name} more than the stored completions, {metric} does not: it can be hacked."
        for trial in tried
        for name, (value, measured) in trial.blind.items()
        if name != ITSELF and value > np.nanmean(trial.values) and measured < side.metric.mean()
    ]
    columns = ("answer", *(trial.name for trial in tried), metric)
    return [drawn("Answers written without the clip", columns, rows, " ".join(caption))]


def _slowest_table(trial: Trial) -> str:
    rows = [(f"{ms:.2f}", end_of(text)) for ms, text in slowest(trial)]
    return drawn(f"{trial.name}: slowest completions", ("ms", TEXT), rows)


def _notable_table(trial: Trial, side: Side, task: str) -> str:
    rows = [
        (one.why, number(one.value), number(one.yardstick), end_of(one.text), shortened(ascii(one.note)[1:-1], 160))
        for one in notable(trial, side)
    ]
    other = "run" if "reward" in side.of_run else TASKS[task].main_metric
    return drawn(f"{trial.name}: completions to look at", ("why", "value", other, TEXT, "note"), rows)
