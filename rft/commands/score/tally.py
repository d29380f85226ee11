"""Sums over scored completions: means, quantiles, and counts of faults."""

import math
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rewards.types import FAULTS, Fault, Score
from rft.commands.score.reward_choice import score_names
from rft.scoring.group import WeightedReward
from rft.tables import TextTable
from rft.tasks.types import FORMS

FAILURES = (*FAULTS, "truncated", "failed")
"""The taxonomy. A completion has at most one fault; it may be truncated besides."""

QUANTILES = (0.1, 0.5, 0.9)

_SHOWN = 60
"""Characters of an example."""
_DISTINCT = 1000
"""Most different examples that are counted of a kind; a text first met after these is not."""


class Tally:
    """The completions of one task. Keeps 8 bytes per value and no rows."""

    def __init__(self, task: str, rewards: Sequence[WeightedReward]) -> None:
        self.task = task
        self.rewards = rewards
        self.weights = {reward.name: reward.weight for reward in rewards}
        self.names = score_names(list(self.weights))
        """Reward -> what its scores are called."""
        self._form = next((name for name in self.weights if name in FORMS), None)
        self._values = {name: array("d") for name in self.weights}
        self._totals = array("d")
        self._failures: Counter[str] = Counter()
        self._examples: dict[str, Counter[tuple[str, str]]] = {kind: Counter() for kind in FAILURES}
        self._left_out: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._totals)

    def add(
        self,
        completion: str,
        finish_reason: str,
        scores: Mapping[str, Score],
        reward: float,
        fault: Fault | None,
        problem: str,
    ) -> None:
        """Count one more completion; `problem`: why an update would leave it out."""
        self._totals.append(reward)
        for name, score in scores.items():
            self._values[name].append(score.value)
        if fault is not None:
            faulty = next(score for score in scores.values() if score.fault == fault)
            self._fail(fault, completion if faulty.answer is None else faulty.answer, faulty.note)
        if finish_reason == "length":
            self._fail("truncated", completion, "")
        elif finish_reason == "error":
            self._fail("failed", completion, "")
        if problem:
            self._left_out[problem.partition(":")[0]] += 1

    def _fail(self, kind: str, text: str, note: str) -> None:
        self._failures[kind] += 1
        examples = self._examples[kind]
        # The end of a text: the answer, or where it should have been.
        example = (" ".join(text[-4 * _SHOWN :].split())[-_SHOWN:], note)
        if example in examples or len(examples) < _DISTINCT:
            examples[example] += 1

    def to_json(self) -> dict[str, Any]:
        """{"rows", "reward", "scores": {name: ..}, "well_formed", "faults": {kind: number}, "examples", "left_out"}."""
        full = sum(max(0.0, weight) for weight in self.weights.values())
        form = self._values[self._form] if self._form else ()
        return {
            "rows": len(self),
            "reward": distribution(self._totals, full),
            "scores": {
                self.names[reward]: {"reward": reward, "weight": self.weights[reward], **distribution(values, 1.0)}
                for reward, values in self._values.items()
            },
            "well_formed": sum(value == 1 for value in form) / len(form) if form else None,
            "faults": {kind: self._failures[kind] for kind in FAILURES},
            "examples": {
                kind: [{"text": text, "note": note, "rows": n} for (text, note), n in examples.most_common(3)]
                for kind, examples in self._examples.items()
                if examples
            },
            "left_out": dict(self._left_out),
        }

    def tables(self) -> tuple[TextTable, TextTable]:
        """The scores, and the failures with the most frequent example of each."""
        result = self.to_json()
        scores = [
            _cells(name if name == score["reward"] else f"{name} ({score['reward']})", f"{score['weight']:g}", score)
            for name, score in result["scores"].items()
        ]
        formed = result["well_formed"]
        captions = [] if formed is None else [f"Well formed: {formed:.1%}."]
        captions += [f"{number} an update would leave out: {kind}." for kind, number in result["left_out"].items()]
        failures = []
        for kind, number in result["faults"].items():
            share, example, why = f"{number / len(self):.1%}" if len(self) else "-", "", ""
            if kind in result["examples"]:
                first = result["examples"][kind][0]
                example, why = f"{first['rows']:,} x {first['text']!a}", ascii(first["note"])[1:-1]
            failures.append((kind, f"{number:,}", share, example, why))
        return (
            TextTable(
                f"{self.task}: {len(self):,} completions",
                ("score", "weight", "mean", *(f"{q:.0%}" for q in QUANTILES), "zero", "full"),
                (*scores, _cells("reward", "", result["reward"])),
                " ".join(captions),
            ),
            TextTable(
                f"{self.task}: what was wrong",
                ("failure", "completions", "share", "most frequent example", "why"),
                tuple(failures),
            ),
        )


def distribution(values: Sequence[float], full: float) -> dict[str, Any]:
    """Mean, quantiles (nearest rank), and the shares that are 0 and that reach `full`; None where there are none."""
    if not values:
        return {"mean": None, "quantiles": {f"{q:g}": None for q in QUANTILES}, "zero": None, "full": None}
    ordered = sorted(values)
    return {
        "mean": sum(values) / len(values),
        "quantiles": {f"{q:g}": ordered[max(0, math.ceil(q * len(ordered)) - 1)] for q in QUANTILES},
        "zero": values.count(0.0) / len(values),
        "full": sum(value >= full - 1e-9 for value in values) / len(values),
    }


def _cells(name: str, weight: str, values: Mapping[str, Any]) -> tuple[str, ...]:
    numbers = [(value, ".3f") for value in (values["mean"], *values["quantiles"].values())]
    shares = [(values["zero"], ".1%"), (values["full"], ".1%")]
    return (name, weight, *("-" if value is None else format(value, form) for value, form in numbers + shares))
