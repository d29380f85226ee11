"""Metrics over a whole set of masks that are no mean over its rows."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean as mean

from rft.packs.masks.targets import Track

OVERALL = ("referring", "reasoning")
"""The two parts of ReVOS whose means count alike; rows without an object are left out of it."""


def corpus_figures(judged: Sequence[tuple[Track, Mapping[str, float]]]) -> dict[str, float]:
    """Metric -> value in [0, 1], from `intersection`, `union` (shares of the frames) and J&F of each row.

    cIoU: all intersections over all unions, in pixels. class_mIoU, where rows name a class: the same within each class,
    then the mean over the classes; also over those of each subset. overall_J&F, where a set has both parts of ReVOS:
    the mean of their two means.
    """
    figures = _ratio("cIoU", judged)
    by_class: dict[str, dict[str, list[tuple[Track, Mapping[str, float]]]]] = defaultdict(lambda: defaultdict(list))
    parts: dict[str, list[float]] = defaultdict(list)
    for track, values in judged:
        for subset in track.part.subsets:
            parts[subset].append(values["J&F"])
        if track.part.object_class:
            for group in ("", *(f"_{subset}" for subset in track.part.subsets)):
                by_class[group][track.part.object_class].append((track, values))
    for group, classes in by_class.items():
        ious = [iou for of_class in classes.values() for iou in _ratio("", of_class).values()]
        if ious:
            figures[f"class_mIoU{group}"] = mean(ious)
    if all(part in parts for part in OVERALL):
        figures["overall_J&F"] = mean(mean(parts[part]) for part in OVERALL)
    return figures


def _ratio(name: str, judged: Sequence[tuple[Track, Mapping[str, float]]]) -> dict[str, float]:
    """{name: all intersections over all unions}; {} where all masks are empty."""
    sizes = [len(track.rles) * track.size[0] * track.size[1] for track, _ in judged]
    union = sum(size * values["union"] for size, (_, values) in zip(sizes, judged, strict=True))
    common = sum(size * values["intersection"] for size, (_, values) in zip(sizes, judged, strict=True))
    return {name: min(1.0, common / union)} if union else {}
