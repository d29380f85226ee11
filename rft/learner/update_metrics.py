"""The sums of optimizer updates -> the metrics of a step."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean


@dataclass(frozen=True, slots=True)
class Update:
    """What one optimizer update leaves for the metrics."""

    sums: dict[str, float]
    """Over its mini-batch, of all ranks."""
    grad_norm: float
    """Before clipping."""
    learning_rate: float


def update_metrics(updates: Sequence[Update]) -> dict[str, float]:
    """Metrics of one time over the rollouts: over all their tokens, the mean gradient norm, the last learning rate."""
    sums = {name: sum(update.sums[name] for update in updates) for name in updates[0].sums}
    norms = [update.grad_norm for update in updates]
    return _means(sums) | {
        "grad_norm": fmean(norms),
        "learning_rate": updates[-1].learning_rate,
        "skipped_updates": float(sum(not math.isfinite(norm) for norm in norms)),
    }


def _means(sums: dict[str, float]) -> dict[str, float]:
    """Counts stay, the loss is divided by its weight, all else by the number of tokens that it is about."""
    means = {name: value if name.startswith("num_") else value / sums["num_tokens"] for name, value in sums.items()}
    drawn = max(sums["num_sampled_tokens"], 1.0)
    means |= {name: value / drawn for name, value in sums.items() if name.startswith("logprob_gap")}
    means["loss"] = sums["loss"] / sums["weight"]
    del means["weight"]
    return means
