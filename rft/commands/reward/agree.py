"""`rft reward agree`: how far a reward, or a judge, agrees with labels."""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rft.commands.reward.judge import with_judge_of
from rft.commands.reward.page import TEXT, drawn, end_of, number
from rft.commands.reward.trial import Judged, fits, judge_rows
from rft.commands.score.stored_rows import StoredRow, StoredRows
from rft.errors import RewardError, refuse, shortened
from rft.evaluation.agreement import Values, auc, cohens_kappa, spearman
from rft.evaluation.intervals import Estimate, bootstrap_of
from rft.files import read_jsonl
from rft.scoring.group import WeightedReward
from rft.scoring.reward_worker import RewardWorker

NUM_WORST = 10

Indices = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Labelled:
    """A completion with the label that somebody gave it, in [0, 1]."""

    row: StoredRow
    label: float

    @property
    def prompt(self) -> object:
        """What the labels of one prompt share: they are drawn together."""
        stored = self.row.stored
        return stored.prompt_id or stored.id or self.row.line.where


@dataclass(frozen=True, slots=True)
class Agreement:
    """A reward beside N labels."""

    name: str
    labelled: tuple[Labelled, ...]
    """[N], those that the reward could judge."""
    judged: tuple[Judged, ...]
    """[N]"""
    threshold: float
    failed: tuple[tuple[Labelled, str], ...]
    """Completions that it could not judge, with the reason; they are in no figure."""
    figures: dict[str, Estimate | None]
    """Measure -> value with its interval; None: the labels or values do not vary."""

    @property
    def values(self) -> Values:
        return np.array([one.value for one in self.judged])

    @property
    def labels(self) -> Values:
        return np.array([one.label for one in self.labelled])


def agree(
    reward: WeightedReward,
    source: Path,
    task: str | None,
    threshold: float,
    seed: int,
    limit_s: float,
    as_json: bool,
    recipe: Path | None = None,
) -> str:
    """The agreement of a reward with a labelled file, as text or JSON.

    `recipe`: whose judge it asks, as of `with_judge_of`. Raises DataError with every line that is wrong, RewardError
    where the reward judges none of them.
    """
    labelled = read_labels(source, task)
    unfit = sorted({one.row.task for one in labelled if not fits(reward, one.row.task)})
    if unfit:
        raise RewardError(f"reward {reward.name} cannot score task {', '.join(unfit)}. Choose lines with --task.")
    with with_judge_of(recipe, source, [reward]) as (asking,):
        outcomes = judge_rows(asking, [one.row for one in labelled], limit_s, RewardWorker())
    found = compare(reward.name, labelled, outcomes, threshold, seed)
    return json.dumps(to_json(found), indent=1) if as_json else page(found, source)


def read_labels(source: Path, task: str | None) -> tuple[Labelled, ...]:
    """The lines of a file. Raises DataError with every line whose label or completion is wrong."""
    reader, labelled = StoredRows(task), []
    for line in read_jsonl(source, reader.problems):
        row, label = reader.read(line), line.value.get("label")
        if row is None:
            continue
        if isinstance(label, int | float) and 0 <= label <= 1:
            labelled.append(Labelled(row, float(label)))
        else:
            reader.problems.append(f"{line.where}: label: {shortened(repr(label), 60)} is no number in [0, 1]")
    if not labelled and not reader.problems:
        reader.problems.append(f"{source}: no labels{f' of task {task}' if task else ''}")
    refuse(reader.problems)
    return tuple(labelled)


def compare(
    name: str, labelled: Sequence[Labelled], outcomes: Sequence[Judged], threshold: float, seed: int
) -> Agreement:
    """The figures over those that could be judged. Raises RewardError where none could."""
    pairs = list(zip(labelled, outcomes, strict=True))
    kept = [(one, outcome) for one, outcome in pairs if outcome.value == outcome.value]
    failed = tuple((one, outcome.note) for one, outcome in pairs if outcome.value != outcome.value)
    if not kept:
        raise RewardError(f"reward {name} judged none of {len(pairs)} completions; the first: {failed[0][1]}")
    values, labels = np.array([one.value for _, one in kept]), np.array([one.label for one, _ in kept])
    says, said = values >= threshold, labels >= threshold
    measures: dict[str, Callable[[Indices], float | None]] = {
        "accuracy": lambda i: float((says[i] == said[i]).mean()),
        "spearman": lambda i: spearman(values[i], labels[i]),
    }
    if set(labels) <= {0.0, 1.0}:
        measures["kappa"] = lambda i: cohens_kappa(says[i], said[i])
        measures["auc"] = lambda i: auc(values[i], said[i])
    prompts: dict[object, list[int]] = defaultdict(list)
    for index, (one, _) in enumerate(kept):
        prompts[one.prompt].append(index)
    figures = {measure: bootstrap_of(of, list(prompts.values()), seed) for measure, of in measures.items()}
    labelled_kept, judged = zip(*kept, strict=True)
    return Agreement(name, labelled_kept, judged, threshold, failed, figures)


def worst(found: Agreement) -> list[tuple[float, float, str, str]]:
    """(label, value, completion, note) where reward and label are furthest apart."""
    apart = np.argsort(-np.abs(found.values - found.labels), kind="stable")[:NUM_WORST]
    return [
        (one.label, judged.value, one.row.stored.completion, judged.note)
        for one, judged in ((found.labelled[i], found.judged[i]) for i in apart)
        if one.label != judged.value
    ]


MEANING = {
    "accuracy": "same side of {threshold:g}",
    "kappa": "the same beyond chance: 0 as by chance, 1 always",
    "auc": "share of (good, bad) pairs in the right order; 0.5 by chance",
    "spearman": "rank correlation of value and label",
}


def page(found: Agreement, source: Path) -> str:
    """The figures with their intervals, and the worst disagreements."""
    rows = []
    for measure, meaning in MEANING.items():
        if measure in found.figures:
            estimate = found.figures[measure]
            interval = f"[{number(estimate.low)}, {number(estimate.high)}]" if estimate else ""
            rows.append(
                (
                    measure,
                    number(estimate.value if estimate else None),
                    interval,
                    meaning.format(threshold=found.threshold),
                )
            )
    good = float((found.labels >= found.threshold).mean())
    prompts = len({one.prompt for one in found.labelled})
    title = f"{found.name}: {len(found.labelled):,} labels of {source}, {prompts:,} prompts, {good:.1%} good"
    caption = [f"{len(found.failed)} could not be judged; the first: {found.failed[0][1]}"] if found.failed else []
    apart = [
        (number(label, ".2f"), number(value), end_of(text), shortened(ascii(note)[1:-1], 160))
        for label, value, text, note in worst(found)
    ]
    parts = [drawn(title, ("measure", "value", "95 % interval", "meaning"), rows, " ".join(caption))]
    if apart:
        parts.append(drawn("Furthest apart", ("label", "value", TEXT, "note"), apart))
    return "\n\n".join(parts)


def to_json(found: Agreement) -> dict[str, Any]:
    return {
        "reward": found.name,
        "labels": len(found.labelled),
        "threshold": found.threshold,
        "failed": [{"where": one.row.line.where, "why": why} for one, why in found.failed],
        "figures": {name: estimate and asdict(estimate) for name, estimate in found.figures.items()},
        "furthest_apart": [
            {"label": label, "value": value, "text": text, "note": note} for label, value, text, note in worst(found)
        ],
    }
