"""Published caption sets: DREAM-1K, VDC, CaReBench and Vript-HAL."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from rewards.statements import sentences
from rft.data.convert.source import Format, Published, SourceRequest, read_json

VDC_QUERIES = {
    "short": "Summarise the video in one sentence.",
    "background": "Describe the background of the video: place, objects, weather and time of day.",
    "main_object": "Describe the main subject of the video, its looks, actions and movements.",
    "camera": "Describe the camera work of the video: its angles, movements and cuts.",
    "detailed": "Describe the video in detail.",
}
"""Part of VDC, the name of its file -> our question; the released code draws one of 16 to 24 at random."""

Facts = tuple[tuple[str, str], ...]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class _ExtraInfo(_Record):
    duration: float = Field(gt=0)
    events: tuple[str, ...]


class _Message(_Record):
    role: str
    content: tuple[dict[str, Any], ...]


class DreamClip(_Record):
    """A line of DREAM-1k.jsonl: the events stand under `extra_info`, the text in the assistant's message."""

    dataset: str
    vid: int
    messages: tuple[_Message, ...]
    extra_info: _ExtraInfo

    @property
    def subset(self) -> str:
        return self.dataset.rpartition("/")[2]

    @property
    def reference(self) -> str:
        said = (message.content for message in self.messages if message.role == "assistant")
        return " ".join(str(part.get("reference") or "") for parts in said for part in parts).strip()


class CareClip(_Record):
    """{"video": "a.mp4", "caption": "..." or a list, "events": [...], "objects": [...]}; the lists may be missing."""

    video: str
    caption: str | tuple[str, ...]
    events: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()


class HalClip(_Record):
    """{"clip_id": "0wDuTuN6YxA-Scene-038", "content": ["...", ...] or "..."}."""

    clip_id: str
    content: str | tuple[str, ...]


def read_dream_1k(request: SourceRequest) -> Published:
    """All clips as dream_1k/test, or those of one of the five parts by --split; events and reference text."""
    clips = [
        clip
        for clip in read_json(request.source, tuple[DreamClip, ...])
        if request.split is None or clip.subset == request.split
    ]
    drafts = tuple(
        request.draft(
            f"dream_1k/{request.split or 'test'}",
            clip.vid,
            [f"{clip.vid}.mp4", f"DREAM-1K_videos/{clip.vid}.mp4"],
            duration_s=clip.extra_info.duration,
            target={"text": clip.reference, **_where_any(events=clip.extra_info.events)},
        )
        for clip in clips
    )
    events = [clip.extra_info.events for clip in clips]
    facts = (
        *_counts("clips by part", Counter(clip.subset for clip in clips)),
        ("events", f"{sum(map(len, events)):,}"),
        ("clips without events, judged by their text", f"{sum(not of_clip for of_clip in events):,}"),
        ("clips that state an event twice", f"{sum(len(set(of_clip)) < len(of_clip) for of_clip in events):,}"),
    )
    return Published(drafts, facts)


def read_vdc(request: SourceRequest) -> Published:
    """One part of VDC, named by its file: {"video id": [{"question", "answer", "category"}, ...]}, one line a clip."""
    part = request.split_among({name: name for name in VDC_QUERIES})
    lines = read_json(request.source, tuple[dict[str, tuple[dict[str, str], ...]], ...])
    by_video: dict[str, tuple[dict[str, str], ...]] = {}
    for line in lines:
        by_video |= line
    kept = {video: [one for one in asked if sentences(one["answer"])] for video, asked in by_video.items()}
    drafts = tuple(
        request.draft(
            f"vdc/{part}",
            video,
            [f"{video}{ending}" for ending in (".mp4", ".MP4", ".mkv")],
            query=VDC_QUERIES.get(part),
            target={"questions": [[one["question"], one["answer"]] for one in asked]},
        )
        for video, asked in kept.items()
    )
    stated = sum(map(len, by_video.values()))
    facts = (
        ("questions", f"{sum(map(len, kept.values())):,}"),
        ("questions whose answer holds no words, left out", f"{stated - sum(map(len, kept.values()))}"),
        ("clips stated again, of which the last line counts, as released", f"{len(lines) - len(by_video)}"),
    )
    return Published(drafts, facts)


def read_carebench(request: SourceRequest) -> Published:
    """Captions of CaReBench, and of MSR-VTT, MSVD and DiDeMo in its form; several captions are joined by blanks."""
    clips = read_json(request.source, tuple[CareClip, ...])
    drafts = tuple(
        request.draft(
            request.own_dataset,
            number,
            [clip.video],
            target={"text": _joined(clip.caption)}
            | _where_any(events=clip.events)
            | (_where_any(objects=clip.objects) if request.task == "caption_objects" else {}),
        )
        for number, clip in enumerate(clips)
    )
    facts = (
        ("clips with events", f"{sum(bool(clip.events) for clip in clips):,}"),
        ("clips with objects", f"{sum(bool(clip.objects) for clip in clips):,}"),
    )
    return Published(drafts, facts)


def read_vript_hal(request: SourceRequest) -> Published:
    """Vript-HAL's annotations: the texts of a clip are joined by line ends."""
    clips = read_json(request.source, tuple[HalClip, ...])
    drafts = tuple(
        request.draft(
            "vript_hal/test",
            clip.clip_id,
            [f"{clip.clip_id}.mp4"],
            target={"text": _joined(clip.content, "\n")},
        )
        for clip in clips
    )
    several = sum(not isinstance(clip.content, str) and len(clip.content) > 1 for clip in clips)
    return Published(drafts, (("clips with several texts, joined", f"{several:,}"),))


def _joined(texts: str | Sequence[str], between: str = " ") -> str:
    return texts if isinstance(texts, str) else between.join(texts)


def _where_any(**lists: Sequence[str]) -> dict[str, list[str]]:
    return {name: list(texts) for name, texts in lists.items() if texts}


def _counts(what: str, counts: Mapping[str, int]) -> Facts:
    return ((what, ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))),)


FORMATS = {
    "dream_1k": Format(("caption",), read_dream_1k),
    "vdc": Format(("caption_questions",), read_vdc),
    "carebench_captions": Format(("caption_objects", "caption"), read_carebench),
    "vript_hal": Format(("caption_words", "caption"), read_vript_hal),
}
