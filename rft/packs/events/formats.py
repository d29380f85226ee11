"""Published annotations of events: QVHighlights, dense captions, E.T. Bench; those of instructions.py and museg.py."""

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, FiniteFloat

from rewards.parsing import parse_words
from rewards.targets.choice import LETTERS
from rft.data.convert.dense_events import SUFFIXES, VideoEvents
from rft.data.convert.source import Anomaly, Draft, Format, Published, SourceRequest, read_json, value_counts
from rft.packs.events.instructions import INSTRUCTIONS, PART_S, quoted_event
from rft.packs.events.matching import Event
from rft.packs.events.museg import museg

FEWEST_ORDERED = 3
LETTERS_ORDERED = "ABCDE"
"""Names of the events to put in order: as many as there are letters at most."""

_TIMECHAT = ".caption_coco_format"
_Q_SPLITS = {f"highlight_{split}{end}": split for split in ("train", "val", "test") for end in ("_release", "_with_gt")}
_Q_SPLITS |= {f"{split}{_TIMECHAT}": f"timechat_{split}" for split in ("train", "val")}
_FORM = re.compile(r"\s*The format of your response")
_FIRST_OPTION = re.compile(r"\s*\(A\)")


class Highlights(BaseModel):
    """{"qid", "query", "vid", "duration", "relevant_windows", "relevant_clip_ids", "saliency_scores"}.

    TimeChat's copy says "id", "caption", "image_id" (a file's name) and "timestamp" for four of them.
    """

    model_config = ConfigDict(frozen=True)

    qid: int = Field(validation_alias=AliasChoices("qid", "id"))
    query: str = Field(validation_alias=AliasChoices("query", "caption"))
    vid: str = Field(validation_alias=AliasChoices("vid", "image_id"))
    duration: float = Field(gt=0, allow_inf_nan=False)
    relevant_windows: tuple[tuple[FiniteFloat, FiniteFloat], ...] = Field(
        validation_alias=AliasChoices("relevant_windows", "timestamp")
    )
    relevant_clip_ids: tuple[int, ...]
    saliency_scores: tuple[tuple[FiniteFloat, ...], ...]

    def saliency(self) -> list[list[float]]:
        """Scores of all parts of the clip, those of parts outside the relevant ones 0."""
        scores = dict(zip(self.relevant_clip_ids, self.saliency_scores, strict=True))
        nothing = (0.0,) * len(self.saliency_scores[0])
        return [list(scores.get(part, nothing)) for part in range(int(self.duration / PART_S))]

    def videos(self) -> list[str]:
        """Where the video may be; TimeChat's copy puts "v_" before the name."""
        if self.vid.endswith(".mp4"):
            return [self.vid, self.vid.removeprefix("v_")]
        return [f"{self.vid}{suffix}" for suffix in SUFFIXES]


class TimeChatHighlights(BaseModel):
    """The queries whose videos TimeChat had: {"annotations": [...]}."""

    model_config = ConfigDict(frozen=True)

    annotations: tuple[Highlights, ...]


def _qvhighlights(request: SourceRequest) -> Published:
    split = request.split_among(_Q_SPLITS)
    dataset = f"qvhighlights/{split}"
    if request.source.stem.endswith(_TIMECHAT):
        queries = read_json(request.source, TimeChatHighlights).annotations
    else:
        queries = read_json(request.source, tuple[Highlights, ...])
    drafts = []
    for query in queries:
        target: dict[str, Any] = {"part_s": PART_S, "saliency": query.saliency()}
        if request.task == "event_spans":
            target = {"spans": [list(window) for window in query.relevant_windows]}
        row = {"duration_s": query.duration, "query": query.query, "target": target}
        drafts.append(request.draft(dataset, query.qid, query.videos(), **row))
    levels = {least: sum(not _reaches(query, least) for query in queries) for least in (3, 4)}
    facts = (
        ("queries by number of windows", value_counts(str(len(query.relevant_windows)) for query in queries)),
        ("queries without a part of score 3 or more", f"{levels[3]:,}"),
        ("queries without a part of score 4", f"{levels[4]:,}"),
    )
    return Published(tuple(drafts), facts)


def _dense_captions(name: str, splits: Mapping[str, str]) -> Format:
    """Format of a set of videos with events; one row per video, to tell its events or to put some of them in order."""

    def read(request: SourceRequest) -> Published:
        dataset = f"{name}/{request.split_among(splits)}"
        videos = read_json(request.source, dict[str, VideoEvents])
        drafts, anomalies, asks_order = [], [], request.task == "event_order"
        for video, events in videos.items():
            told = sorted(zip(events.timestamps, events.sentences, strict=False), key=lambda event: event[0])
            row = events.problem or (
                _order_row(told, random.Random(f"{name} {video}")) if asks_order else _told_row(told)
            )
            if isinstance(row, str):
                anomalies.append(Anomaly("no_annotation", f"{dataset}/{video}", row))
                continue
            places = [f"{video}{suffix}" for suffix in SUFFIXES]
            drafts.append(request.draft(dataset, video, places, duration_s=events.duration, **row))
        counts = Counter(len(events.timestamps) for events in videos.values())
        left_out = value_counts(anomaly.detail for anomaly in anomalies)
        facts = (
            ("events", f"{sum(n * count for n, count in counts.items()):,}"),
            ("most events of a video", f"{max(counts, default=0)}"),
            *((("videos left out", left_out),) if left_out else ()),
        )
        return Published(tuple(drafts), facts, (), tuple(anomalies))

    return Format(("timed_captions", "event_order"), read)


def _told_row(told: Sequence[Event]) -> dict[str, Any]:
    return {"target": {"captions": [{"span": list(span), "text": text.strip()} for span, text in told]}}


def _order_row(told: Sequence[Event], rng: random.Random) -> dict[str, Any] | str:
    """Three to five of a video's events, given in order of time, under letters in any order; or why there is no row."""
    if len(told) < FEWEST_ORDERED:
        return f"fewer than {FEWEST_ORDERED} events"
    spans = [span for span, _ in told]
    if any(end <= start for start, end in spans) or any(late[0] < early[1] for early, late in pairwise(spans)):
        return "events overlap, or end before they start"
    words = {parse_words(text) for _, text in told}
    if len(words) < len(told) or () in words:
        return "captions are alike or empty"
    happened = sorted(rng.sample(range(len(told)), rng.randint(FEWEST_ORDERED, min(len(LETTERS_ORDERED), len(told)))))
    shown = rng.sample(happened, len(happened))
    return {
        "names": list(LETTERS_ORDERED[: len(shown)]),
        "captions": [told[event][1].strip() for event in shown],
        "target": {"order": [LETTERS_ORDERED[shown.index(event)] for event in happened]},
    }


class ETSample(BaseModel):
    """One sample of E.T. Bench: times `src` of the prompt and `tgt` of the answer in seconds, captions `g`.

    `p` is the place of the right one of the options `o`, which are texts or spans.
    """

    model_config = ConfigDict(frozen=True)

    idx: int
    task: str
    source: str
    video: str
    duration: float = Field(gt=0, allow_inf_nan=False)
    q: str
    src: tuple[FiniteFloat, FiniteFloat] | None = None
    tgt: Any = None
    p: int | None = None
    o: tuple[str | tuple[FiniteFloat, FiniteFloat], ...] | None = None
    g: tuple[str, ...] | None = None


ET_TASKS = {
    **dict.fromkeys(("rar", "eca", "rvq"), "event_choice"),
    **dict.fromkeys(("tvg", "epm", "tem"), "event_matching"),
    **dict.fromkeys(("tal", "evs"), "event_spans"),
    **dict.fromkeys(("dvc", "slc"), "timed_captions"),
    "vhd": "event_moment",
    "gvq": "event_question",
}
"""Task of E.T. Bench -> task of its rows."""


def _et_bench(request: SourceRequest) -> Published:
    drafts: list[Draft] = []
    anomalies = []
    for sample in read_json(request.source, tuple[ETSample, ...]):
        key = f"{sample.task}/{sample.source}/{sample.idx}"
        if sample.task not in ET_TASKS:
            anomalies.append(Anomaly("no_annotation", f"et_bench/{key}", f"unknown task {sample.task!r}"))
            continue
        row = {"task": ET_TASKS[sample.task], "duration_s": sample.duration, **_et_fields(sample)}
        draft = request.draft("et_bench", key, [sample.video], **row)
        of_source = f"et_bench/{sample.task}/{sample.source}"
        drafts.append(Draft({**draft.fields, "dataset": of_source}, draft.other_places))
    counts = value_counts(draft.fields["dataset"].partition("/")[2] for draft in drafts)
    return Published(tuple(drafts), (("samples by task and source", counts),), (), tuple(anomalies))


def _et_fields(sample: ETSample) -> dict[str, Any]:
    """Question and target of a sample, in the fields of its task."""
    task, spans = ET_TASKS[sample.task], _pairs(sample.tgt)
    if task in ("event_choice", "event_question"):
        options = [one if isinstance(one, str) else f"{one[0]:g} - {one[1]:g}" for one in sample.o or ()]
        choice = {"choice": LETTERS[sample.p]} if sample.p is not None and 0 <= sample.p < len(LETTERS) else {}
        target = choice if task == "event_choice" else {**choice, "any_of": spans}
        return {"question": _FIRST_OPTION.split(sample.q)[0], "options": options, "target": target}
    if task == "timed_captions":
        captions = [{"span": span, "text": text} for span, text in zip(spans, sample.g or (), strict=False)]
        return {"query": _FORM.split(sample.q)[0], "target": {"captions": captions}}
    key = {"event_spans": "spans", "event_moment": "moments", "event_matching": "any_of"}[task]
    return {"query": _et_query(sample), "target": {key: spans}}


def _et_query(sample: ETSample) -> str:
    """What a prompt asks to find, without the form of the answer."""
    if sample.task == "evs":
        return "what sums the video up, in about 15 % of its length"
    if sample.task == "tem" and sample.src:
        return f"an event like that from {sample.src[0]:g} to {sample.src[1]:g} seconds, at another time"
    query = quoted_event(_FORM.split(sample.q)[0])
    return f'the answer to "{query}"' if sample.task == "epm" else query


def _pairs(times: Any) -> list[list[float]]:
    """Spans of one pair, of a list of pairs, or of a list of pairs for each annotator."""
    if not isinstance(times, list) or not times:
        return []
    if not isinstance(times[0], list):
        return [times]
    return [pair for part in times for pair in _pairs(part)]


def _reaches(query: Highlights, least: float) -> bool:
    return any(score >= least for part in query.saliency_scores for score in part)


FORMATS = {
    "qvhighlights": Format(("saliency", "event_spans"), _qvhighlights),
    "youcook2": _dense_captions("youcook2", {"yc2_train": "train", "yc2_val": "val"}),
    "activitynet_dense": _dense_captions(
        "activitynet_dense", {"train": "train", "val_1": "val_1", "val_2": "val_2", "val": "val_1"}
    ),
    "vidchapters": _dense_captions(
        "vidchapters", {f"chapters_dvc_{split}": split for split in ("train", "val", "test")}
    ),
    "et_bench": Format((), _et_bench),
    "museg": Format((), museg),
    **INSTRUCTIONS,
}
