"""Judge a text against a target. Standard library only; every reward is in the table below."""

from collections.abc import Callable
from types import UnionType
from typing import Union, get_args, get_origin, get_type_hints

from rewards.caption import answer_length, distinct_ngrams, event_f1, event_precision, event_recall
from rewards.choice import choice_accuracy, label_match
from rewards.format import answer_format, think_format
from rewards.grounding import at_most_spans, endpoint_iou, generalised_iou, temporal_iou, union_iou
from rewards.published import PUBLISHED, PUBLISHED_EVAL
from rewards.tracking import mean_box_iou
from rewards.types import Fidelity, Score

__all__ = ["PUBLISHED", "PUBLISHED_EVAL", "REWARDS", "RewardFn", "accepted_targets", "rewards_of"]

RewardFn = Callable[..., Score]
"""`fn(completion, target, *, keyword...) -> Score`; the keywords are what a recipe may set under `args`."""

REWARDS: dict[str, RewardFn] = {
    "temporal_iou": temporal_iou,
    "union_iou": union_iou,
    "mean_box_iou": mean_box_iou,
    "choice_accuracy": choice_accuracy,
    "label_match": label_match,
    "event_recall": event_recall,
    "event_precision": event_precision,
    "event_f1": event_f1,
    "endpoint_iou": endpoint_iou,
    "generalised_iou": generalised_iou,
    "at_most_spans": at_most_spans,
    "answer_length": answer_length,
    "distinct_ngrams": distinct_ngrams,
    "think_format": think_format,
    "answer_format": answer_format,
}


def rewards_of(fidelity: Fidelity | None) -> dict[str, RewardFn]:
    """Reward name -> function; with "as_published", VideoChat-R1's released version of each reward that it has."""
    return REWARDS | PUBLISHED if fidelity == "as_published" else dict(REWARDS)


def accepted_targets(fn: RewardFn) -> tuple[type, ...]:
    """The target types that a reward scores, by the annotation of its `target`. Raises TypeError without one."""
    annotation = get_type_hints(fn).get("target")
    if isinstance(annotation, UnionType) or get_origin(annotation) is Union:
        return get_args(annotation)
    if isinstance(annotation, type):
        return (annotation,)
    name = getattr(fn, "__qualname__", repr(fn))
    raise TypeError(f"reward {name} does not say what it scores; annotate its parameter, e.g. `target: SpanTarget`")
