"""How well answered events fit true ones: each true event counts for one answered event at most."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from itertools import combinations, pairwise

from rewards.caption import harmonic_mean
from rewards.geometry import interval_iou, merged
from rewards.parsing import parse_words
from rewards.types import Span

Event = tuple[Span, str]
"""(span in seconds, caption)."""

Likeness = Callable[[str, str], float]
"""How alike an answered and a true caption are, in [0, 1]."""

DENSE_THRESHOLDS = (0.3, 0.5, 0.7, 0.9)
"""IoU thresholds of dense captioning."""
THRESHOLDS = (0.1, 0.3, 0.5, 0.7)
"""IoU thresholds of E.T. Bench."""


def ordered_f1(answered: Sequence[Event], true: Sequence[Event], similarity: Callable[[Event, Event], float]) -> float:
    """F1 of the best one-to-one matching that keeps the order of the starts, in [0, 1]: 2 S / (answered + true).

    S is the sum of the similarities, each in [0, 1], of the matched pairs. Repeats cost, as each counts as answered.
    No events on both sides: 1. Source: SODA, Fujita et al., ECCV 2020; with IoU as similarity its form d.
    """
    if not answered and not true:
        return 1.0
    answered, true = sorted(answered), sorted(true)
    best = [0.0] * (len(true) + 1)
    for event in answered:
        row = [0.0]
        for j, other in enumerate(true):
            row.append(max(best[j + 1], row[j], best[j] + similarity(event, other)))
        best = row
    return 2 * best[-1] / (len(answered) + len(true))


def pair_f1(answered: Sequence[str], true: Sequence[str]) -> float:
    """F1 of the pairs (earlier, later) of two lists of names, in [0, 1]; the true names differ from one another.

    A name that is answered again stands at its first place, and its pairs count as answered. For an order of the true
    names this is the share of pairs in the right order, (1 + Kendall's tau) / 2. Lists of one name have no pairs: 0.
    """
    places = {name: place for place, name in reversed(list(enumerate(answered)))}
    common = sum(first in places and places[first] < places.get(second, -1) for first, second in combinations(true, 2))
    num_pairs = sum(len(names) * (len(names) - 1) // 2 for names in (answered, true))
    return 2 * common / num_pairs if num_pairs else 0.0


def iou_of(event: Event, other: Event) -> float:
    """IoU of the spans, whatever the captions."""
    return interval_iou(event[0], other[0])


def iou_times(likeness: Likeness) -> Callable[[Event, Event], float]:
    """IoU of the spans times the likeness of the captions, as a similarity of events."""

    def similarity(event: Event, other: Event) -> float:
        iou = interval_iou(event[0], other[0])
        return iou * likeness(event[1], other[1]) if iou else 0.0

    return similarity


def caption_pairs(answered: Sequence[Event], true: Sequence[Event], threshold: float) -> list[tuple[str, str | None]]:
    """Each answered caption with every true one whose span it overlaps by that IoU, or with None where there is none.

    True events that are left out are in no pair. Source: the dense captioning evaluation of ActivityNet, densevid_eval.
    """
    pairs: list[tuple[str, str | None]] = []
    for span, text in answered:
        fitting = [(text, words) for other, words in true if interval_iou(span, other) >= threshold]
        pairs += fitting or [(text, None)]
    return pairs


def caption_score(answered: Sequence[Event], true: Sequence[Event], likeness: Likeness) -> float:
    """Mean likeness of captions whose spans fit, in [0, 1]; 0 for no events.

    Mean over the `caption_pairs`, 0 for one without a true caption, at each of `DENSE_THRESHOLDS`, then over these.
    """
    known = cache(likeness)
    means = []
    for threshold in DENSE_THRESHOLDS:
        pairs = caption_pairs(answered, true, threshold)
        values = [0.0 if words is None else known(text, words) for text, words in pairs]
        means.append(sum(values) / max(len(values), 1))
    return sum(means) / len(means)


def word_f1(text: str, other: str) -> float:
    """F1 of the words of two texts, repeats counted, in [0, 1]; 0 where one has none."""
    words, others = Counter(parse_words(text)), Counter(parse_words(other))
    common = (words & others).total()
    return 2 * common / (words.total() + others.total()) if common else 0.0


def seconds_f1(answered: Sequence[Span], true: Sequence[Span]) -> float:
    """F1 of the seconds that are answered and true, in [0, 1]; seconds named twice count once."""
    first, second = merged(answered), merged(true)
    common = sum(max(0.0, min(end, e) - max(start, s)) for start, end in first for s, e in second)
    total = sum(end - start for start, end in (*first, *second))
    return min(1.0, 2 * common / total) if total > 0 else 0.0


def covered_share(spans: Sequence[Span], others: Sequence[Span], threshold: float, strictly: bool = False) -> float:
    """Share of spans that any of the others overlaps by an IoU of the threshold, or strictly above it; 0 for none.

    Any-to-any, as the published F1 of events count: the same span ten times is as good as once.
    """
    best = (max((interval_iou(span, other) for other in others), default=0.0) for span in spans)
    hits = sum(iou > threshold if strictly else iou >= threshold for iou in best)
    return hits / len(spans) if spans else 0.0


def mean_f1(
    answered: Sequence[Span], true: Sequence[Span], thresholds: Sequence[float], strictly: bool = False
) -> float:
    """F1 of any-to-any precision and recall at each threshold, mean over the thresholds, in [0, 1]."""
    pairs = [
        (covered_share(answered, true, t, strictly), covered_share(true, answered, t, strictly)) for t in thresholds
    ]
    return sum(harmonic_mean(precision, recall) for precision, recall in pairs) / len(pairs)


def average_precision(relevant: Sequence[bool], scores: Sequence[float]) -> float:
    """AP of a ranking by score, as QVHighlights' released code computes it, in [0, 1].

    Precision is made non-increasing in recall, then averaged over the distinct levels of recall; items of equal score
    form one level. All relevant: 1; none: 0. Source: moment_detr, standalone_eval.
    """
    if all(relevant):
        return 1.0
    if not any(relevant):
        return 0.0
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    levels: list[tuple[int, float]] = []
    hits = 0
    for rank, (i, following) in enumerate(pairwise([*order, -1]), 1):
        hits += relevant[i]
        if following < 0 or scores[following] != scores[i]:
            levels.append((hits, hits / rank))
    precisions: dict[int, float] = {}
    highest = 0.0
    for recall, precision in reversed(levels):
        highest = max(highest, precision)
        precisions[recall] = highest
    reached = [precision for recall, precision in precisions.items() if recall]
    return sum(reached) / len(reached)


def recalls(iou: float) -> dict[str, float]:
    """Whether an IoU reaches each threshold of E.T. Bench, and the mean over these."""
    hits = {f"R@{t}": float(iou >= t) for t in THRESHOLDS}
    return {"R@0.1:0.7": sum(hits.values()) / len(hits), **hits}
