"""Figures that VideoChat-R1 (arXiv:2504.06958, version 5) and others report, to compare with one's own."""

from dataclasses import dataclass

from rft.evaluation.evaluate import RowSet


@dataclass(frozen=True, slots=True)
class PublishedResult:
    """One model's figures on one data set, in the names of our metrics."""

    model: str
    source: str
    values: dict[str, float]
    """Metric -> value in [0, 1]; metrics that were not reported are missing."""


@dataclass(frozen=True, slots=True)
class PublishedSet:
    """Published results on one data set."""

    task: str
    num_rows: int
    """Number of rows in the split that was measured."""
    results: tuple[PublishedResult, ...]
    remark: str
    """What to know before comparing."""


def published_set(rows: RowSet) -> PublishedSet | None:
    """Published results on the data set and task of these rows; None: there are none."""
    published = PUBLISHED_SETS.get(rows.dataset or "")
    return published if published and published.task == rows.task else None


def why_not_comparable(rows: RowSet) -> str | None:
    """Why no published figure is comparable with `rows`; None where one is."""
    published = published_set(rows)
    if published is None:
        return "no published figures for these rows" if rows.dataset else "the rows name no data set"
    if published.num_rows != rows.num_rows:
        return f"the paper measured {published.num_rows:,} rows, these are {rows.num_rows:,}"
    return None


def comparable_results(rows: RowSet) -> tuple[PublishedResult, ...]:
    """The published results that are comparable with `rows`."""
    published = published_set(rows)
    return published.results if published and why_not_comparable(rows) is None else ()


def _results(
    metrics: tuple[str, ...], *lines: tuple[str, str, tuple[float | None, ...]]
) -> tuple[PublishedResult, ...]:
    """(model, source, percentages in the order of `metrics`) -> results."""
    return tuple(
        PublishedResult(
            model,
            source,
            {
                metric: round(percent / 100, 4)
                for metric, percent in zip(metrics, percents, strict=True)
                if percent is not None
            },
        )
        for model, source, percents in lines
    )


_BASE = "Qwen2.5-VL-7B"
_R1 = "VideoChat-R1"
_THINKING = "VideoChat-R1-thinking"

_SPAN_METRICS = ("mIoU", "R@0.3", "R@0.5", "R@0.7")

_CHARADES = PublishedSet(
    "temporal_grounding",
    3_720,
    _results(
        _SPAN_METRICS,
        (_BASE, "tables 1 and 3", (29.0, 44.7, 24.2, 11.1)),
        ("SFT, Charades-STA", "tables 1 and 3", (46.3, 63.9, 45.0, 25.3)),
        ("GRPO, Charades-STA", "table 3", (58.7, 80.9, 67.7, 45.4)),
        ("GRPO, Charades-STA, thinking", "table 3", (59.3, 81.7, 70.4, 46.0)),
        (_R1, "table 1", (60.8, None, 71.7, 50.2)),
        (_THINKING, "table 1", (59.9, None, 70.6, 47.2)),
        (f"{_R1}, measured by others", "issue 24 of its repository", (58.2, 80.5, 68.6, 45.8)),
    ),
    "the test split is also published as its validation split; true spans are not cut at the clips' ends",
)
_ACTIVITYNET = PublishedSet(
    "temporal_grounding",
    17_031,
    _results(
        _SPAN_METRICS,
        (_BASE, "tables 1 and 3", (21.1, 28.3, 15.8, 7.5)),
        ("SFT, Charades-STA", "tables 1 and 3", (20.6, 30.2, 16.7, 7.9)),
        ("GRPO, Charades-STA", "table 3", (31.9, 46.3, 28.8, 14.1)),
        ("GRPO, Charades-STA, thinking", "table 3", (30.7, 45.0, 27.5, 12.9)),
        (_R1, "table 1", (36.6, None, 33.4, 17.7)),
        (_THINKING, "table 1", (35.5, None, 33.3, 16.7)),
    ),
    "none of these models was trained on ActivityNet; the split is that published as val_2",
)
_NEXTGQA = PublishedSet(
    "grounded_qa",
    5_553,
    _results(
        ("mIoU", "accuracy"),
        (_BASE, "tables 1 and 5", (15.4, 59.5)),
        ("SFT, NExT-GQA", "tables 1 and 5", (28.2, 64.8)),
        ("GRPO, NExT-GQA", "table 5", (35.1, 68.7)),
        ("GRPO, NExT-GQA, thinking", "table 5", (32.9, 66.9)),
        (_R1, "table 1", (32.4, 70.6)),
        (_THINKING, "table 1", (36.1, 69.2)),
    ),
    "IoP and Acc@GQA were not reported",
)
_GOT10K = PublishedSet(
    "tracking",
    180,
    _results(
        ("overlap_with_start", "R@0.5_with_start", "R@0.7_with_start"),
        (_BASE, "tables 1 and 4", (12.6, 1.1, 0.0)),
        ("SFT, GOT-10k", "tables 1 and 4", (41.8, 29.5, 3.9)),
        ("GRPO, GOT-10k", "table 4", (42.5, 30.6, 3.9)),
        (_R1, "table 1", (43.8, 38.2, None)),
        (_THINKING, "table 1", (43.3, 33.9, None)),
    ),
    "the start box, which the prompt gives, is counted; some reported shares are no multiple of 1/180, so they may be "
    "means of unequal shards; overlap is not GOT-10k's own AO",
)
_QUALITY = PublishedSet(
    "quality",
    724,
    _results(
        ("accuracy",),
        (_BASE, "table 7", (70.7,)),
        ("SFT, 100 shots", "table 7", (71.7,)),
        ("GRPO, 100 shots", "table 7", (72.6,)),
    ),
    "half of the rows have each label",
)

PUBLISHED_SETS: dict[str, PublishedSet] = {
    "charades_sta/test": _CHARADES,
    "activitynet_captions/test": _ACTIVITYNET,
    "nextgqa/test": _NEXTGQA,
    "got10k/val": _GOT10K,
    "vidtab_quality/test": _QUALITY,
}
"""`dataset` of the rows -> its published results."""
