"""TimeLens (github.com/TencentARC/TimeLens): its training rows timelens-100k.jsonl, and its cleaned test sets."""

from collections import Counter
from collections.abc import Iterator, Mapping

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, field_validator, model_validator

from rft.data.convert.source import Anomaly, Draft, Format, Published, SourceRequest, read_json

TRAIN = "timelens-100k"

Span = tuple[FiniteFloat, FiniteFloat]


class Event(BaseModel):
    """{"query": "...", "span": [[3.0, 9.5]]}; the span may also stand alone."""

    model_config = ConfigDict(frozen=True)

    query: str
    span: tuple[Span, ...]

    @field_validator("span", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return [value] if isinstance(value, list) and not any(isinstance(part, list) for part in value) else value


class TrainVideo(BaseModel):
    """{"source": "cosmo_cap", "video_path": "cosmo_cap/a.mp4", "duration": 31.0, "events": [...]}."""

    model_config = ConfigDict(frozen=True)

    source: str
    video_path: str
    duration: float = Field(gt=0, allow_inf_nan=False)
    events: tuple[Event, ...]


class TestVideo(BaseModel):
    """{"duration": 30.7, "spans": [[0.0, 6.9], ...], "queries": ["a person ...", ...]}."""

    model_config = ConfigDict(frozen=True)

    duration: float = Field(gt=0, allow_inf_nan=False)
    spans: tuple[Span, ...]
    queries: tuple[str, ...]

    @model_validator(mode="after")
    def _paired(self) -> "TestVideo":
        if len(self.spans) != len(self.queries):
            raise ValueError(f"{len(self.spans)} spans but {len(self.queries)} queries")
        return self


def read(request: SourceRequest) -> Published:
    """One draft per query. DataError: the file has another shape."""
    if request.source.suffix == ".jsonl":
        return _train(request)
    dataset = f"{request.source.stem.replace('-', '_')}/{request.split or 'test'}"
    videos = read_json(request.source, dict[str, TestVideo])
    return Published(tuple(_test_drafts(request, dataset, videos)))


def _test_drafts(request: SourceRequest, dataset: str, videos: Mapping[str, TestVideo]) -> Iterator[Draft]:
    for name, video in videos.items():
        for number, (span, query) in enumerate(zip(video.spans, video.queries, strict=True)):
            places, target = [f"{name}.mp4"], {"span": list(span)}
            key = f"{name}/{number}"
            yield request.draft(dataset, key, places, duration_s=video.duration, query=query, target=target)


def _train(request: SourceRequest) -> Published:
    dataset = f"timelens/{request.split or 'train'}"
    videos = read_json(request.source, tuple[TrainVideo, ...])
    drafts, several = [], []
    for i, video in enumerate(videos):
        for number, event in enumerate(video.events):
            key, spans = f"{i}/{number}", event.span
            if len(spans) != 1:
                several.append(Anomaly("no_annotation", f"{dataset}/{key}", f"{len(spans)} spans"))
                continue
            length, target = video.duration, {"span": list(spans[0])}
            places = [video.video_path]
            drafts.append(request.draft(dataset, key, places, duration_s=length, query=event.query, target=target))
    sources = Counter(video.source for video in videos)
    named = ", ".join(f"{name} {count:,}" for name, count in sources.most_common())
    return Published(tuple(drafts), (("videos by source", named),), anomalies=tuple(several))


FORMAT = Format(("temporal_grounding",), read)
