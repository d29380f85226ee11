"""Time-R1's grounding rows (arXiv:2503.13377): train_2k5.json, and its benchmark tvgbench.json.

Where a row cuts a clip out of its video, times count from the start of the cut, and the stated length is the cut's.
"""

from collections import Counter

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from rft.data.convert.source import Anomaly, Format, Published, SourceRequest, read_json
from rft.errors import DataError

TRAIN, BENCH = "train_2k5", "tvgbench"
VIDEOS = "videos/"
"""Part of the published paths that the folder of the videos comes after."""


class TrainRow(BaseModel):
    """{"video", "duration", "timestamp": [34.9, 41.9], "sentence", "qid": "my|cosmo|.", "video_start", "video_end"}."""

    model_config = ConfigDict(frozen=True)

    video: str
    duration: float = Field(gt=0, allow_inf_nan=False)
    timestamp: tuple[FiniteFloat, FiniteFloat]
    sentence: str
    qid: str
    video_start: float | None
    video_end: float | None


class BenchRow(BaseModel):
    """{"path", "question", "answer": "13.4-28.1", "start", "end", "duration", "qsemtype": "Human Pose"}."""

    model_config = ConfigDict(frozen=True)

    path: str
    question: str
    answer: str
    start: float | None
    end: float | None
    duration: float = Field(gt=0, allow_inf_nan=False)
    qsemtype: str = "-"


def read(request: SourceRequest) -> Published:
    """One draft per row. DataError: a file of another name or shape."""
    if request.source.stem == TRAIN:
        return _train(request)
    if request.source.stem == BENCH:
        return _bench(request)
    raise DataError(f"{request.source}: is neither {TRAIN}.json nor {BENCH}.json.")


def _train(request: SourceRequest) -> Published:
    rows = read_json(request.source, tuple[TrainRow, ...])
    drafts = tuple(
        request.draft(
            "time_r1/train",
            i,
            _places(row.video),
            **_clip(row.video_start, row.video_end, row.duration),
            query=row.sentence,
            target={"span": list(row.timestamp)},
        )
        for i, row in enumerate(rows)
    )
    sources = Counter(row.qid.split("|")[1] if row.qid.count("|") else "-" for row in rows)
    return Published(drafts, _facts("rows by source", sources, sum(row.video_start is not None for row in rows)))


def _bench(request: SourceRequest) -> Published:
    rows = read_json(request.source, tuple[BenchRow, ...])
    drafts, unread = [], []
    for i, row in enumerate(rows):
        span = _span(row.answer)
        if span is None:
            unread.append(Anomaly("no_annotation", f"tvgbench/test/{i}", row.answer))
            continue
        clip, target = _clip(row.start, row.end, row.duration), {"span": list(span)}
        draft = request.draft("tvgbench/test", i, _places(row.path), **clip, query=row.question, target=target)
        drafts.append(draft)
    kinds = Counter(row.qsemtype for row in rows)
    facts = _facts("rows by kind", kinds, sum(row.start is not None for row in rows))
    return Published(tuple(drafts), facts, anomalies=tuple(unread))


def _places(path: str) -> list[str]:
    """Where the video may be below the video root."""
    return [path.rpartition(VIDEOS)[2], path.rpartition("/")[2]]


def _clip(start_s: float | None, end_s: float | None, duration_s: float) -> dict[str, float | None]:
    """A row's fields; of a video that a clip is cut out of, the whole length is not stated."""
    return {"duration_s": duration_s} if start_s is None else {"start_s": start_s, "end_s": end_s}


def _span(answer: str) -> tuple[float, float] | None:
    try:
        start, end = map(float, answer.split("-"))
    except ValueError:
        return None
    return start, end


def _facts(what: str, counts: Counter[str], num_cut: int) -> tuple[tuple[str, str], ...]:
    named = ", ".join(f"{name} {count:,}" for name, count in counts.most_common())
    return (what, named), ("rows that cut a clip out of their video", f"{num_cut:,}")


FORMAT = Format(("temporal_grounding",), read)
