"""Sums over scored completions: means, quantiles, and counts of faults."""

import math
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rewards.types import FAULTS, Fault, Score
from rft.tables import TextTable

FAILURES = (*FAULTS, "truncated", "failed")
"""The taxonomy. A completion has at most one fault; it may be truncated besides."""

QUANTILES = (0.1, 0.5, 0.9)

_SHOWN = 60
"""Characters of an example."""
_DISTINCT = 1000
"""Most different examples that are counted of a kind; a text first met after these is not."""


class Tally:
    """The completions of one task. Keeps 8 bytes per value and no rows."""

    def __init__(self, names: Mapping[str, str], weights: Mapping[str, float], forms: Sequence[str]) -> None:
        """`names`: reward -> what its scores are called; `weights`: by reward; `forms`: the format rewards."""
        self._names = dict(names)
        self._weights = dict(weights)
        self._form = next((reward for reward in names if reward in forms), None)
        self._values = {reward: array("d") for reward in names}
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
        full = sum(max(0.0, weight) for weight in self._weights.values())
        form = self._values[self._form] if self._form else ()
        return {
            "rows": len(self),
            "reward": distribution(self._totals, full),
            "scores": {
                self._names[reward]: {"reward": reward, "weight": self._weights[reward], **distribution(values, 1.0)}
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

    def tables(self, task: str) -> tuple[TextTable, TextTable]:
        """The scores, and the failures with the most frequent example of each."""
        result = self.to_json()
        scores = [
            _cells(name if name == score["reward"] else f"{name} ({score['reward']})", f"{score['weight']:g}", score)
            for name, score in result["scores"].items()
        ]
        columns = ("score", "weight", "mean", *(f"{q:.0%}" for q in QUANTILES), "zero", "full")
        captions = []
        if result["well_formed"] is not None:
            captions.append(f"Well formed: {result['well_formed']:.1%}.")
        captions += [f"{number} an update would leave out: {kind}." for kind, number in result["left_out"].items()]
        first = TextTable(
            f"{task}: {len(self):,} completions",
            columns,
            (*scores, _cells("reward", "", result["reward"])),
            " ".join(captions),
        )
        return first, TextTable(
            f"{task}: what was wrong",
            ("failure", "completions", "share", "most frequent example", "why"),
            tuple(
                _failure(kind, number, len(self), result["examples"].get(kind, ()))
                for kind, number in result["faults"].items()
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
    numbers = (values["mean"], *values["quantiles"].values())
    shares = (values["zero"], values["full"])
    return (
        name,
        weight,
        *("-" if value is None else f"{value:.3f}" for value in numbers),
        *("-" if value is None else f"{value:.1%}" for value in shares),
    )


def _failure(kind: str, number: int, total: int, examples: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    example = f"{examples[0]['rows']:,} x {examples[0]['text']!a}" if examples else ""
    return (
        kind,
        f"{number:,}",
        f"{number / total:.1%}" if total else "-",
        example,
        ascii(examples[0]["note"])[1:-1] if examples else "",
    )
