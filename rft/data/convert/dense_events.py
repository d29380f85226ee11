"""The shape that the ActivityNet Captions and Charades-STA files share: events with times, by video."""

from collections import Counter
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from rft.data.convert.source import Anomaly, Format, Published, SourceRequest, read_json

SUFFIXES = (".mp4", ".mkv", ".webm", ".avi")
"""Endings of videos; most were published as .mp4."""


class VideoEvents(BaseModel):
    """{"duration": 30.7, "timestamps": [[0.0, 6.9], ...], "sentences": ["a person ...", ...]}."""

    model_config = ConfigDict(frozen=True)

    duration: float = Field(gt=0, allow_inf_nan=False)
    timestamps: tuple[tuple[FiniteFloat, FiniteFloat], ...]
    sentences: tuple[str, ...]

    @property
    def problem(self) -> str | None:
        """Why its sentences cannot be told by their times; None: they can."""
        spans, sentences = len(self.timestamps), len(self.sentences)
        return None if spans == sentences else f"{spans} timestamps but {sentences} sentences"


def dense_events_format(name: str, splits: Mapping[str, str], warning: str) -> Format:
    """Format of the set `name`. `splits`: file name -> split; `warning`: for all splits but train."""

    def read(request: SourceRequest) -> Published:
        """One draft per sentence. DataError: the file has another shape."""
        split = request.split_among(splits)
        found = read_json(request.source, dict[str, VideoEvents])
        videos = {video: events for video, events in found.items() if events.problem is None}
        drafts = tuple(
            request.draft(
                f"{name}/{split}",
                f"{video}/{number}",
                [f"{video}{suffix}" for suffix in SUFFIXES],
                duration_s=events.duration,
                query=sentence,
                target={"span": list(span)},
            )
            for video, events in videos.items()
            for number, (span, sentence) in enumerate(zip(events.timestamps, events.sentences, strict=True))
        )
        spans = Counter((video, span) for video, events in videos.items() for span in events.timestamps)
        shared = sum(count for count in spans.values() if count > 1)
        facts = (("queries that share their span with another of the video", f"{shared:,}"),)
        anomalies = tuple(
            Anomaly("no_annotation", f"{name}/{split}/{video}", events.problem)
            for video, events in found.items()
            if events.problem
        )
        return Published(drafts, facts, () if split == "train" else (warning,), anomalies)

    return Format(("temporal_grounding",), read)
